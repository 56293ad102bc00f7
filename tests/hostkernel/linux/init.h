/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOSTKERNEL_INIT_H
#define HOSTKERNEL_INIT_H

#define __init

#endif
