// SPDX-License-Identifier: GPL-2.0-only
/*
 * copy_record [BYTES [TIMES]] - nanoseconds to copy a record and take its CRC here.
 *
 * What the capture does with preemption off, done with the module's own code on this
 * machine: words of pages that were long not used go to memory like that. Prints the
 * median; default is the largest record there is.
 */
#define CONFIG_X86_64
#include "../../kmod/payload_crc.c"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../uapi/linux/blkship.h"

#define PAGE_BYTES	4096
#define ROOM_BYTES	(256u << 20)	/* more than a last-level cache */

static u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/* As the compiler makes it of the kernel's memcpy() of a page. */
static void page_copy(void *to, const void *from)
{
	size_t words = PAGE_BYTES / 8;

	asm volatile("rep movsq" : "+D" (to), "+S" (from), "+c" (words) : : "memory");
}

static int by_size(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	u32 bytes = argc > 1 ? atoi(argv[1]) : (int)BLKSHIP_MAX_RECORD_BYTES;
	u32 times = argc > 2 ? atoi(argv[2]) : 301, slots, at, want;
	u8 *from, *to;
	u64 *took;

	if (bytes < PAGE_BYTES || bytes % PAGE_BYTES || bytes > ROOM_BYTES || !times) {
		fprintf(stderr, "usage: copy_record [BYTES [TIMES]]; whole pages\n");
		return 2;
	}
	slots = ROOM_BYTES / bytes;
	from = aligned_alloc(PAGE_BYTES, ROOM_BYTES);
	to = aligned_alloc(PAGE_BYTES, ROOM_BYTES);
	took = calloc(times, sizeof(*took));
	if (!from || !to || !took) {
		fprintf(stderr, "copy_record: no memory\n");
		return 1;
	}
	memset(from, 0x5a, ROOM_BYTES);
	memset(to, 0, ROOM_BYTES);
	blkship_payload_crc_init();
	want = ~crc32c(~0U, from, bytes);
	for (u32 i = 0; i < times; i++) {
		size_t slot = i % slots * (size_t)bytes;
		u64 begin = now_ns();

		for (at = 0; at < bytes; at += PAGE_BYTES)
			page_copy(to + slot + at, from + slot + at);
		if (blkship_payload_crc(to + slot, bytes) != want) {
			fprintf(stderr, "copy_record: a wrong CRC\n");
			return 1;
		}
		took[i] = now_ns() - begin;
	}
	qsort(took, times, sizeof(*took), by_size);
	printf("%llu\n", (unsigned long long)took[times / 2]);
	return 0;
}
