/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mapping - a recovery point that is served: an nbdkit, and what stands on it.
 *
 * Stage [9 export], on the machine that looks into a point. A mapping is a directory
 * below /run/blkship/map, which no restart of the machine survives:
 *	lock		held while it is made or taken down
 *	state.json	what it is; written before anything is started
 *	nbdkit.*	the server (helper.h), nbd.sock its socket; or, where they can be
 *			written, one for each: VOLUME.nbdkit.*, VOLUME.sock
 *	VOLUME.fuse.*	nbdfuse, where a device is wanted and the kernel's NBD client is not taken
 *	ID/VOLUME.fuse/	the volume as a file, by that
 * A device of the kernel's NBD client has the name DIR/ID/VOLUME (nbddev.h). The kernel shows
 * devices of all containers alike, and more than one may have a /run/blkship with the same names
 * in it: ID is random.
 *
 * Promise: whatever was made is found again from the directory alone, so that
 * mapping_destroy() leaves nothing behind even if who made it, or nbdkit, was killed;
 * and nothing is touched that does not belong to it.
 */
#ifndef BLKSHIP_MAPPING_H
#define BLKSHIP_MAPPING_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "helper.h"
#include "nbddev.h"
#include "point.h"

#define MAPPING_RUN_DIR		"/run/blkship"
#define MAPPING_NAME_BYTES	48
#define MAPPING_PATH_BYTES	512
#define MAPPING_URI_BYTES	2048
#define MAPPING_TEXT_BYTES	(HELPER_TEXT_BYTES + 512)

/* How volumes become files of this machine. */
enum mapping_via {
	MAPPING_VIA_NOTHING,	/* they need not */
	MAPPING_VIA_AUTO,	/* by the kernel's NBD client if it can be used, else by FUSE */
	MAPPING_VIA_NBD,
	MAPPING_VIA_FUSE,
};

struct mapping {
	char name[MAPPING_NAME_BYTES];	/* GROUP-N */
	char dir[MAPPING_PATH_BYTES];
	char own[MAPPING_PATH_BYTES];	/* DIR/ID; "": it has no state, so nothing was started */
	char socket[MAPPING_PATH_BYTES];
	json_t *state;
	int lock;
};

struct mapping_request {
	const char *run_dir;
	const char *store;
	struct key_source keys;
	const struct point_named *named;
	const char *socket;	/* NULL: in its directory */
	const char *mount_dir;	/* NULL: it is not for a mount */
	enum mapping_via via;
	bool writable;		/* what is written is dropped in the end */
	const char *branch;	/* NULL: none; else it is made, if it is not there, and served */
	bool drop_branch;	/* in the end */
	bool force;		/* although the point is known to be damaged */
};

/**
 * mapping_create - a new mapping, with its server running
 * @why: MAPPING_TEXT_BYTES, filled on failure
 * Return: 0; -errno, then nothing is left of it. mapping_close() is due on success.
 */
int mapping_create(const struct mapping_request *request, struct mapping *m, char *why);

/** mapping_open - one that is there, locked; -ENOENT; -EBUSY somebody works on it; -errno */
int mapping_open(const char *run_dir, const char *name, struct mapping *m);

/** mapping_close - let go of it; it stays */
void mapping_close(struct mapping *m);

/** mapping_save - write its state; 0 or -errno */
int mapping_save(const struct mapping *m);

/** mapping_uri - of a volume */
void mapping_uri(const struct mapping *m, const char *volume, char *uri);

/** mapping_via_parse - "auto", "nbd" or "fuse"; false: something else */
bool mapping_via_parse(const char *text, enum mapping_via *via);

/** mapping_is_nbd - what mapping_file() gives are block devices */
bool mapping_is_nbd(const struct mapping *m);

/**
 * mapping_file - have a volume as a file, or as a block device
 * @path: out, MAPPING_PATH_BYTES
 * Return: 0 or -errno.
 */
int mapping_file(const struct mapping *m, const char *volume, char *path, char *why);

#define MAPPING_MAX_PARAMETERS 256

/**
 * mapping_file_joined - the same of something new: ranges of volumes, end to end or in stripes
 * @name: of it; not one that a volume can have
 * @ranges: the plugin's join= and stripe=, at most MAPPING_MAX_PARAMETERS; then NULL
 */
int mapping_file_joined(const struct mapping *m, const char *name, char *const *ranges,
			char *path, char *why);

/**
 * mapping_destroy - take down all that belongs to it: mounts, devices, processes, files
 * Closes it. Return: 0; -EBUSY something of it is in use, it stays as far as it does;
 * -errno.
 */
int mapping_destroy(struct mapping *m, char *why);

/** mapping_names - of all there are, by name; *names is freed with its strings; -errno */
int mapping_names(const char *run_dir, char ***names, size_t *nr);

/** mapping_of_mount - the name of the mapping that is mounted at @dir; -ENOENT */
int mapping_of_mount(const char *dir, char *name);

/**
 * mapping_mount_source - what the kernel shows as the source of its tree of mounts
 * @source: out, MAPPING_NAME_BYTES + 16
 */
void mapping_mount_source(const char *name, char *source);

#endif
