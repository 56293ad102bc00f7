/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat - the only place that tests for kernel versions.
 *
 * The module is written for the newest kernel; what older ones lack appears
 * here under its newer name.
 */
#ifndef BLKSHIP_COMPAT_H
#define BLKSHIP_COMPAT_H

#include <linux/mm.h>
#include <linux/version.h>
#include <net/genetlink.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
/* The mapping is not visible to anybody else yet: mmap holds mmap_lock. */
static inline void vm_flags_clear(struct vm_area_struct *vma,
				  unsigned long flags)
{
	vma->vm_flags &= ~flags;
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
static inline struct nlattr **blkship_dump_attrs(struct netlink_callback *cb)
{
	return genl_dumpit_info(cb)->attrs;
}
#else
static inline struct nlattr **blkship_dump_attrs(struct netlink_callback *cb)
{
	return genl_info_dump(cb)->attrs;
}
#endif

#endif
