/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOSTKERNEL_CACHE_H
#define HOSTKERNEL_CACHE_H

#define __ro_after_init

#endif
