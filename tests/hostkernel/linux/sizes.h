/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOSTKERNEL_SIZES_H
#define HOSTKERNEL_SIZES_H

#define SZ_64K 0x10000

#endif
