/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOSTKERNEL_BITOPS_H
#define HOSTKERNEL_BITOPS_H

#define hweight64(x) ((unsigned int)__builtin_popcountll(x))

#endif
