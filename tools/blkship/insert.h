/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * insert - the dm front end under the name of a device-mapper device, in use or not.
 *
 * NAME's table moves to a hidden device, NAME-blkship, and NAME gets a table of one
 * blkship target on that. Whoever has NAME open notices nothing but one pause.
 */
#ifndef BLKSHIP_INSERT_H
#define BLKSHIP_INSERT_H

#include "dm.h"

struct insert {
	char name[DM_NAME_BYTES];	/* of the device */
	bool in_use;			/* also when it cannot be prepared */
	uint64_t size_bytes;
	struct dmdev_table old;
};

/** insert_applies - whether this is a device-mapper device */
bool insert_applies(const char *path);

/**
 * insert_prepare - look at the device at @path, change nothing
 * @why: out on failure, DM_TEXT_BYTES
 * Return: 0, then insert_fini() is due; -EOPNOTSUPP its table cannot be moved; -errno.
 */
int insert_prepare(const char *path, struct insert *in, char *why);
void insert_fini(struct insert *in);

/** insert_put - do it. On failure the old table is in use, and nothing else is left. */
int insert_put(const struct insert *in, const char *group, const char *volume, char *why);

/** insert_is_at - whether the device that feeds this volume had its table moved so */
bool insert_is_at(const char *name, const char *group, const char *volume);

/**
 * insert_take_away - give NAME its own table back, under load
 * On failure the volume is still fed.
 */
int insert_take_away(const char *name, const char *group, const char *volume, char *why);

/**
 * insert_above - the device whose table moved to this one
 * @name: out, DM_NAME_BYTES
 * Return: whether this is such a hidden device.
 */
bool insert_above(uint32_t major, uint32_t minor, char *name);

/** insert_clean_up - remove a hidden device that nothing refers to any more */
void insert_clean_up(const char *group, const char *volume);

#endif
