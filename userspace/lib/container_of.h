/* SPDX-License-Identifier: GPL-2.0-only */
/* container_of - the struct that a member lies in: from a handle to its owner. */
#ifndef BLKSHIP_CONTAINER_OF_H
#define BLKSHIP_CONTAINER_OF_H

#include <stddef.h>

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

#endif
