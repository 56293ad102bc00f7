// SPDX-License-Identifier: GPL-2.0-only
/* restore_state - where it is kept what of a restore is done, and whose that is. */
#include "restore.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_PATIENCE_MS	10000
#define LOCK_STEP_MS		20

static bool state_path(const struct restore *r, char *path, size_t bytes)
{
	if (r->state)
		snprintf(path, bytes, "%s", r->state);
	else if (r->dir)
		snprintf(path, bytes, "%.500s/.blkship-restore", r->dir);
	return r->state || r->dir;
}

/* What is restored to where: a file of another restore is not gone on with. */
static char *state_head(const struct restore *r)
{
	const uint8_t *id = timeline_id(r->named.list.tl);
	char *text = NULL, seq[40], dir[PATH_MAX] = "";
	size_t bytes;
	FILE *f = open_memstream(&text, &bytes);

	if (!f)
		return NULL;
	if (r->dir && !realpath(r->dir, dir))
		dir[0] = 0;
	cli_seq(r->named.point->seq, seq, sizeof(seq));
	fprintf(f, "blkship restore 1\ngroup %s\ntimeline ", r->named.name.group);
	for (int i = 0; i < 16; i++)
		fprintf(f, "%02x", id[i]);
	fprintf(f, "\nseq %s\npart-bytes %llu\n", seq, (unsigned long long)r->parts.part_bytes);
	if (r->qcow2)
		fputs("format qcow2\n", f);
	for (size_t i = 0; i < r->nr_outputs; i++)
		fprintf(f, "output %llu %s %s\n", (unsigned long long)r->outputs[i].size_bytes,
			r->outputs[i].name, r->outputs[i].device ? r->outputs[i].device : dir);
	fputs(".\n", f);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

/*
 * One at a time. Of an image that is until its qemu-nbd has ended, too, which takes a moment when
 * we are killed: its last writes must not come after what is written then.
 */
static int state_lock(const struct restore_parts *parts)
{
	for (int waited_ms = 0; flock(parts->fd, LOCK_EX | LOCK_NB) < 0; waited_ms += LOCK_STEP_MS) {
		if (errno != EWOULDBLOCK)
			return cli_fail(CLI_FAILED, "%s: %s; nothing was written", parts->path,
					strerror(errno));
		if (waited_ms >= LOCK_PATIENCE_MS)
			return cli_fail(CLI_REFUSED, "%s is of a restore that goes on; nothing was written; wait until it ends, or end it",
					parts->path);
		poll(NULL, 0, LOCK_STEP_MS);
	}
	return CLI_DONE;
}

int state_begin(struct restore *r)
{
	char path[CLI_PATH_BYTES + 32], *head;
	int ret;

	if (!state_path(r, path, sizeof(path)))
		return CLI_DONE;
	head = state_head(r);
	if (!head)
		return cli_fail(CLI_FAILED, "out of memory; nothing was written");
	ret = r->resume ? restore_parts_resume(&r->parts, path, head) :
			  restore_parts_begin(&r->parts, path, head);
	free(head);
	if (ret == -ESTALE)
		return cli_fail(CLI_REFUSED, "%s is of another restore; nothing was written; give the same group, point, volumes and places as then, or begin anew without --resume",
				path);
	if (ret == -ENOENT)
		return cli_fail(CLI_NOT_FOUND, "%s: no restore was interrupted there; nothing was written; leave --resume away",
				path);
	if (ret)
		return cli_fail(CLI_FAILED, "%s: %s; nothing was written", path, strerror(-ret));
	return state_lock(&r->parts);
}

/* Before anything is overwritten: somebody may want to go on. */
int state_check(const struct restore *r)
{
	char path[CLI_PATH_BYTES + 32];

	if (r->resume || r->force || !state_path(r, path, sizeof(path)) || access(path, F_OK) < 0)
		return CLI_DONE;
	return cli_fail(CLI_REFUSED, "a restore was interrupted, %s knows how far it was; nothing was written; --resume goes on with it, --force begins anew",
			path);
}
