/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOSTKERNEL_MM_H
#define HOSTKERNEL_MM_H

static const char hostkernel_zero_page[4096];
#define ZERO_PAGE(address) hostkernel_zero_page
#define page_address(page) ((const void *)(page))

#endif
