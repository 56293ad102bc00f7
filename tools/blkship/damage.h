/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * damage - the ranges of a restore that could not be read, in whose place zeroes are.
 *
 * Beside an image of which they are part, in FILE.damage.json, so that who finds it later is told.
 */
#ifndef BLKSHIP_DAMAGE_H
#define BLKSHIP_DAMAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DAMAGE_FILE_BYTES 64

struct damage_range {
	size_t output;
	uint64_t offset_bytes, length_bytes;
	bool at_source;		/* where it was not readable then; else: */
	int error;		/* as of view_read() */
	char file[DAMAGE_FILE_BYTES];	/* segment or pack, as far as it is known */
};

struct damage {
	struct damage_range *ranges;
	size_t nr, max;
};

void damage_fini(struct damage *d);

/**
 * damage_add - one more, at any place
 * What touches the last one, for the same reason, becomes part of it. So does anything once there
 * are @max_ranges: too much is listed then, never too little.
 * Return: 0 or -ENOMEM.
 */
int damage_add(struct damage *d, const struct damage_range *range, size_t max_ranges);

/** damage_has - whether one of them holds all of this */
bool damage_has(const struct damage *d, size_t output, uint64_t offset_bytes, uint64_t length_bytes);

/** damage_join - all of @other behind those of @d; 0 or -ENOMEM */
int damage_join(struct damage *d, const struct damage *other);

/** damage_sort - by output and place */
void damage_sort(struct damage *d);

/** damage_json - of one output, an array; NULL: no memory */
json_t *damage_json(const struct damage *d, size_t output);

/** damage_is_of_store - whether any of such an array was readable at the source */
bool damage_is_of_store(const json_t *ranges);

/** damage_tell - the first of them on standard error, and how many there are */
void damage_tell(const char *volume, const json_t *ranges);

/** damage_save - beside an image that gets its name later; durable; 0 or -errno */
int damage_save(const char *path, const char *group, const char *seq, const char *volume,
		const json_t *ranges);

/** damage_load - the ranges of such a file; NULL: it is not there */
json_t *damage_load(const char *path);

#endif
