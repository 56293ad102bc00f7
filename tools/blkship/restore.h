/* SPDX-License-Identifier: GPL-2.0-only */
/* restore - what the files of the restore command share: what goes where, checked, then written. */
#ifndef BLKSHIP_RESTORE_H
#define BLKSHIP_RESTORE_H

#include "blockdev.h"
#include "cli.h"
#include "point.h"
#include "progress.h"
#include "restore_copy.h"

#define MAX_OUTPUTS	256

/* Where one volume goes. */
struct output {
	uint16_t volume;
	const char *name;
	uint64_t size_bytes;
	const char *device;		/* or NULL: a file */
	char path[CLI_PATH_BYTES * 2];	/* of the file in the end */
	char part[CLI_PATH_BYTES * 2 + 8];
	struct blockdev dev;
	int fd;
	uint64_t data_bytes;
	json_t *damage;			/* once all is written; NULL: not known yet */
};

struct restore {
	const char *store, *dir, *only;
	struct key_source keys;
	const char *point_text;		/* GROUP@WHEN */
	const char *devices[MAX_OUTPUTS];	/* VOLUME=DEVICE */
	size_t nr_devices;
	bool force, dry_run, json, qcow2, resume;
	unsigned int nr_jobs;
	const char *state;		/* of --state */
	struct restore_parts parts;
	struct point_named named;
	struct view *view;
	struct lease_keeper *lease;	/* NULL: none */
	struct output outputs[MAX_OUTPUTS];
	size_t nr_outputs;
	uint64_t total_bytes;
	struct progress progress;
};

/* Of all that follows: an exit code, after complaining. */

/* -- restore_plan.c -- */

/** choose_outputs - from the command line and what was a member at the point */
int choose_outputs(struct restore *r);

/** cut_parts - of all outputs */
int cut_parts(struct restore *r);

/** check_outputs - whether they may be overwritten; opens devices */
int check_outputs(struct restore *r);

/** print_plan - for --dry-run */
int print_plan(const struct restore *r);

/* -- restore_state.c -- */

/** state_check - before anything is overwritten: whether somebody may want to go on */
int state_check(const struct restore *r);

/** state_begin - make the file that says what is done, or read it */
int state_begin(struct restore *r);

/* -- restore_damage.c -- */

/** damage_note - tell of what could not be read, and keep it beside the images; durable */
int damage_note(struct restore *r, struct damage *found);

/** damage_again - of one that goes on, when all was written: what was noted then */
void damage_again(struct output *o, bool named);

/** damage_name - an image is about to get its name: what is noted gets its own */
void damage_name(const struct output *o);

/** damage_forget - there will be no image */
void damage_forget(const struct output *o);

/* -- restore_write.c -- */

/** write_outputs - all of it, or as much as can be gone on with */
int write_outputs(struct restore *r);

#endif
