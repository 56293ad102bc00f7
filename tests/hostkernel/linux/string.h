/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOSTKERNEL_STRING_H
#define HOSTKERNEL_STRING_H

#include <string.h>

#endif
