// SPDX-License-Identifier: GPL-2.0-only
/*
 * restore_damage - what a restore with --force left out, told and kept.
 *
 * An image with zeroes in place of data looks like any other. So beside it lies a file that says
 * where they are, from before it has its name until it is overwritten.
 */
#include "restore.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES	(sizeof(((struct output *)0)->part) + 16)

static void path_of(const char *image, char *path)
{
	snprintf(path, PATH_BYTES, "%s.damage.json", image);
}

static int note(const struct restore *r, const struct output *o)
{
	char path[PATH_BYTES], seq[40];
	int ret;

	if (o->device)
		return CLI_DONE;
	path_of(o->part, path);
	if (!json_array_size(o->damage)) {
		unlink(path);
		return CLI_DONE;
	}
	cli_seq(r->named.point->seq, seq, sizeof(seq));
	ret = damage_save(path, r->named.name.group, seq, o->name, o->damage);
	return ret ? cli_fail(CLI_FAILED, "%s: %s; make room there and restore again with --resume", path, strerror(-ret)) :
		     CLI_DONE;
}

int damage_note(struct restore *r, struct damage *found)
{
	int ret = CLI_DONE;

	damage_sort(found);
	for (size_t i = 0; i < r->nr_outputs && ret == CLI_DONE; i++) {
		struct output *o = &r->outputs[i];

		o->damage = damage_json(found, i);
		if (!o->damage)
			return cli_fail(CLI_FAILED, "out of memory; %s is not whole", o->name);
		damage_tell(o->name, o->damage);
		ret = note(r, o);
	}
	return ret;
}

void damage_again(struct output *o, bool named)
{
	char path[PATH_BYTES];

	path_of(named ? o->path : o->part, path);
	o->damage = damage_load(path);
	damage_tell(o->name, o->damage);
}

void damage_name(const struct output *o)
{
	char from[PATH_BYTES], to[PATH_BYTES];

	path_of(o->part, from);
	path_of(o->path, to);
	/* What there is may be of the image that is overwritten. */
	if (rename(from, to) < 0 && errno == ENOENT)
		unlink(to);
}

void damage_forget(const struct output *o)
{
	char path[PATH_BYTES];

	path_of(o->part, path);
	unlink(path);
}
