/* SPDX-License-Identifier: GPL-2.0-only */
/* dm - the dm front end's devices, through libdevmapper, with udev and without. */
#ifndef BLKSHIP_TOOL_DM_H
#define BLKSHIP_TOOL_DM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../uapi/linux/blkship.h"

#define DM_NAME_BYTES	128
#define DM_TEXT_BYTES	256

/**
 * dmdev_create - make and resume a device of one blkship target
 * @params: of the target
 * @why: out on failure, DM_TEXT_BYTES: the kernel's own sentence where it gave one
 * Return: 0; -EEXIST the name is taken; -errno.
 */
int dmdev_create(const char *name, uint64_t sectors, const char *params, char *why);

/* A table, line by line. */
struct dmdev_line {
	uint64_t start, sectors;
	char *type, *params;
};

struct dmdev_table {
	struct dmdev_line *lines;
	size_t nr;
};

/** dmdev_table_read - the table in use; -ENOENT no such device */
int dmdev_table_read(const char *name, struct dmdev_table *table, char *why);
void dmdev_table_free(struct dmdev_table *table);

struct dmdev_info {
	char name[DM_NAME_BYTES];
	uint32_t major, minor;
	int open_count;
	bool suspended, read_only, next_table;
};

/** dmdev_info - of the device of this name, or (NULL) of this uuid; -ENOENT */
int dmdev_info(const char *name, const char *uuid, struct dmdev_info *info, char *why);
int dmdev_info_of_number(uint32_t major, uint32_t minor, struct dmdev_info *info, char *why);

/**
 * dmdev_create_hidden - make and resume a device that udev's rules leave alone
 * Return: 0; -errno.
 */
int dmdev_create_hidden(const char *name, const char *uuid, const struct dmdev_table *table,
			char *why);

/** dmdev_load - load a table to be switched to; the one in use stays in use */
int dmdev_load(const char *name, const struct dmdev_table *table, char *why);

/** dmdev_clear - drop a table that was loaded and is not in use */
void dmdev_clear(const char *name);

/**
 * dmdev_switch - to the loaded table, under load: one call to the kernel that suspends
 * the device, changes the table and resumes it. Filesystems are not frozen; what is
 * written meanwhile waits for the end of what was written before. Without a loaded
 * table: just resume. -EINTR: a signal came before the change, and nothing happened.
 */
int dmdev_switch(const char *name, char *why);

/** dmdev_remove - 0; -EBUSY somebody has it open; -ENOENT; -errno */
int dmdev_remove(const char *name, char *why);

/** dmdev_remove_unused - now, or when the last one who has it open lets go */
int dmdev_remove_unused(const char *name, char *why);

/** dmdev_open_count - how many have it open; -ENOENT; -errno */
int dmdev_open_count(const char *name, char *why);

/**
 * dmdev_find - the device that feeds a volume
 * @name: out, DM_NAME_BYTES
 * @alone: out: it has no other target
 * Return: 0; -ENOENT there is none; -errno.
 */
int dmdev_find(const char *group, const char *volume, char *name, bool *alone, char *why);

#endif
