/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel names that the *_core.c of kmod/ use, for the host. */
#ifndef HOSTKERNEL_TYPES_H
#define HOSTKERNEL_TYPES_H

#include_next <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#endif
