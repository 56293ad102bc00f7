// SPDX-License-Identifier: GPL-2.0-only
/*
 * restore: write volumes as they were at a point.
 *
 * Everything is looked at before anything is written: names, sizes, what is on
 * the devices. A file gets its name only when it is whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../userspace/store/view.h"
#include "blockdev.h"
#include "cli.h"
#include "pin.h"
#include "point.h"
#include "progress.h"
#include "qcow2.h"
#include "restore_copy.h"

#define MAX_OUTPUTS	256
#define HOLD_SECONDS	(7 * 86400)	/* longer than any restore takes */
#define DEFAULT_JOBS	4
#define MAX_PART_MIB	(1u << 20)
#define CHUNK_BYTES	(1u << 20)
#define COMPARE_BYTES	(64ull << 20)	/* of a device, before a restore to it goes on */

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
	struct output outputs[MAX_OUTPUTS];
	size_t nr_outputs;
	uint64_t total_bytes;
	struct progress progress;
};

/* -- what is to be written where -- */

static const char *device_for(const struct restore *r, const char *volume)
{
	size_t len = strlen(volume);

	for (size_t i = 0; i < r->nr_devices; i++)
		if (strncmp(r->devices[i], volume, len) == 0 && r->devices[i][len] == '=')
			return r->devices[i] + len + 1;
	return NULL;
}

static int add_output(struct restore *r, const struct timeline_volume *v, uint64_t size_bytes)
{
	struct output *o = &r->outputs[r->nr_outputs];

	if (r->nr_outputs == MAX_OUTPUTS)
		return cli_fail(CLI_FAILED, "group %s has more than %d volumes; restore them one by one with --volume",
				r->named.name.group, MAX_OUTPUTS);
	memset(o, 0, sizeof(*o));
	o->volume = v->id;
	o->name = v->name;
	o->size_bytes = size_bytes;
	o->fd = o->dev.fd = -1;
	o->device = device_for(r, v->name);
	if (!o->device) {
		snprintf(o->path, sizeof(o->path), "%.500s/%.32s.%s", r->dir, v->name,
			 r->qcow2 ? "qcow2" : "img");
		snprintf(o->part, sizeof(o->part), "%.500s/%.32s.%s.part", r->dir, v->name,
			 r->qcow2 ? "qcow2" : "img");
	}
	r->nr_outputs++;
	return CLI_DONE;
}

static int choose_outputs(struct restore *r)
{
	const struct timeline_volume *volumes;
	size_t nr = timeline_volumes(r->named.list.tl, &volumes), found = 0;

	for (size_t i = 0; i < nr; i++) {
		uint64_t size_bytes = view_size(r->view, volumes[i].id);
		bool named = r->only && strcmp(r->only, volumes[i].name) == 0;
		int ret;

		if (!size_bytes || (r->only && !named))
			continue;
		if (device_for(r, volumes[i].name))
			found++;
		else if (!r->dir)
			continue;	/* only those for which a device was named */
		ret = add_output(r, &volumes[i], size_bytes);
		if (ret != CLI_DONE)
			return ret;
	}
	if (found < r->nr_devices || !r->nr_outputs)
		return cli_fail(CLI_NOT_FOUND, "group %s has no such volume at this point; nothing was written; `blkship points %s --store %s --json` names them",
				r->named.name.group, r->named.name.group, r->store);
	return CLI_DONE;
}

/* What it holds is not overwritten unasked. */
static int check_signature(const struct restore *r, const struct output *o)
{
	char what[128];
	int ret = blockdev_signature(&o->dev, what, sizeof(what));

	if (ret < 0)
		return cli_fail(CLI_FAILED, "device %s: cannot be read: %s; nothing was written", o->device,
				strerror(-ret));
	if (ret == 0 || r->dry_run)
		return CLI_DONE;
	if (!r->force)
		return cli_fail(CLI_REFUSED, "device %s holds %s; nothing was written; --force overwrites it",
				o->device, what);
	fprintf(stderr, "blkship: OVERWRITES %s (%s)\n", o->device, what);
	return CLI_DONE;
}

/* Whether a stretch of it holds what the point has there; 0, 1 or -errno. */
static int differs(const struct restore *r, const struct output *o, uint64_t offset, size_t bytes,
		   uint8_t *want, uint8_t *have)
{
	int ret = view_read(r->view, o->volume, offset, want, bytes);
	ssize_t n;

	if (ret)
		return ret;
	n = pread(o->fd, have, bytes, offset);
	if (n < 0)
		return -errno;
	return (size_t)n < bytes || memcmp(want, have, bytes) != 0;
}

/*
 * A name may mean another device than it did. What is said to be done has to be there; where
 * nothing is, it is a device like any other.
 */
static int check_resumed(const struct restore *r, const struct output *o)
{
	uint8_t *buf = malloc(2 * CHUNK_BYTES);
	uint64_t seen = 0;
	bool any = false;
	int ret = buf ? 0 : -ENOMEM;

	for (size_t i = 0; i < r->parts.nr && !ret && seen < COMPARE_BYTES; i++) {
		const struct restore_part *part = &r->parts.items[i];

		if (&r->outputs[part->output] != o || !part->done)
			continue;
		any = true;
		for (uint64_t at = part->start_bytes; at < part->end_bytes && !ret &&
						      seen < COMPARE_BYTES;) {
			uint64_t left = part->end_bytes - at;
			size_t n = left < CHUNK_BYTES ? left : CHUNK_BYTES;

			ret = differs(r, o, at, n, buf, buf + CHUNK_BYTES);
			at += n;
			seen += n;
		}
	}
	free(buf);
	if (ret == 1)
		return cli_fail(CLI_REFUSED, "device %s does not hold what was restored to it: it is another one, or was written to; nothing was written; begin anew without --resume",
				o->device);
	if (ret && !r->force)
		return cli_fail(CLI_FAILED, "device %s: what was restored to it cannot be compared: %s; nothing was written; begin anew without --resume",
				o->device, strerror(-ret));
	return any ? CLI_DONE : check_signature(r, o);
}

static int check_device(const struct restore *r, struct output *o)
{
	char why[BLOCKDEV_TEXT_BYTES];
	int ret = blockdev_open(o->device, true, &o->dev, why);

	if (ret == -EBUSY)
		return cli_fail(CLI_REFUSED, "device %s: %s; nothing was written; choose another, or release it",
				o->device, why);
	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "device %s: %s; nothing was written", o->device, why);
	o->fd = o->dev.fd;
	if (o->dev.size_bytes < o->size_bytes)
		return cli_fail(CLI_REFUSED, "device %s: device too small: volume %s has %llu bytes, the device %llu; nothing was written",
				o->device, o->name, (unsigned long long)o->size_bytes,
				(unsigned long long)o->dev.size_bytes);
	return r->resume ? check_resumed(r, o) : check_signature(r, o);
}

static int check_file(const struct restore *r, const struct output *o)
{
	if (access(o->path, F_OK) < 0 || r->dry_run || r->parts.complete)
		return CLI_DONE;
	if (!r->force)
		return cli_fail(CLI_REFUSED, "%s exists; nothing was written; --force overwrites it, or choose another --output",
				o->path);
	fprintf(stderr, "blkship: OVERWRITES %s\n", o->path);
	return CLI_DONE;
}

static int check_outputs(struct restore *r)
{
	for (size_t i = 0; i < r->nr_outputs; i++) {
		struct output *o = &r->outputs[i];
		int ret = o->device ? check_device(r, o) : check_file(r, o);

		if (ret != CLI_DONE)
			return ret;
		r->total_bytes += o->size_bytes;
	}
	return CLI_DONE;
}

static int print_plan(const struct restore *r)
{
	char size[16], what[128];

	for (size_t i = 0; i < r->nr_outputs; i++) {
		const struct output *o = &r->outputs[i];

		cli_bytes(o->size_bytes, size, sizeof(size));
		if (o->device && blockdev_signature(&o->dev, what, sizeof(what)) == 1)
			printf("%s (%s) would OVERWRITE %s, which holds %s%s\n", o->name, size, o->device,
			       what, r->force ? "" : "; needs --force");
		else if (o->device)
			printf("%s (%s) would OVERWRITE %s\n", o->name, size, o->device);
		else
			printf("%s (%s) would %s %s\n", o->name, size,
			       access(o->path, F_OK) == 0 ? "OVERWRITE" : "become", o->path);
	}
	return CLI_DONE;
}

/* -- writing -- */

static int write_failed(const struct output *o, int ret)
{
	return cli_fail(CLI_FAILED, "%s: %s; it is not whole; %s", o->device ? o->device : o->part,
			strerror(-ret), ret == -ENOSPC ? "make room and restore again" :
			"check the disk and restore again");
}

static bool any_done(const struct restore *r, size_t output)
{
	for (size_t i = 0; i < r->parts.nr; i++)
		if (r->parts.items[i].output == output && r->parts.items[i].done)
			return true;
	return false;
}

/* One of which parts are done has to be the one they were written to. */
static int file_again(struct restore *r, size_t output)
{
	struct output *o = &r->outputs[output];
	struct stat st;

	o->fd = open(o->part, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (o->fd >= 0 && fstat(o->fd, &st) == 0 && (uint64_t)st.st_size == o->size_bytes &&
	    restore_parts_is_file(&r->parts, output, st.st_dev, st.st_ino))
		return CLI_DONE;
	return cli_fail(CLI_REFUSED, "%s is gone or another file than the one that was written; nothing was written; begin anew with --force and without --resume",
			o->part);
}

static int file_begin(struct restore *r, size_t output)
{
	struct output *o = &r->outputs[output];
	struct stat st;
	int ret;

	if (any_done(r, output))
		return file_again(r, output);
	unlink(o->part);
	o->fd = open(o->part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (o->fd < 0 || ftruncate(o->fd, o->size_bytes) < 0 || fstat(o->fd, &st) < 0)
		return write_failed(o, -errno);
	ret = restore_parts_file(&r->parts, output, st.st_dev, st.st_ino);
	return ret ? write_failed(o, ret) : CLI_DONE;
}

static bool is_raw(const struct restore *r, const struct output *o)
{
	return o->device || !r->qcow2;
}

static int file_end(const struct restore *r, const struct output *o)
{
	int dir, ret = CLI_DONE;

	if (rename(o->part, o->path) < 0)
		return write_failed(o, -errno);
	dir = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fsync(dir) < 0)
		ret = write_failed(o, -errno);
	if (dir >= 0)
		close(dir);
	return ret;
}

static int count_data(struct restore *r, struct output *o)
{
	for (uint64_t offset = 0; offset < o->size_bytes;) {
		struct view_extent e;
		int ret = view_next(r->view, o->volume, offset, &e);

		if (ret < 0)
			return cli_fail(CLI_FAILED, "volume %s at byte %llu: %s; nothing was written of it; try another point",
					o->name, (unsigned long long)offset, ret == -EBADMSG ?
					"the store is damaged, a checksum is wrong" : strerror(-ret));
		offset += e.length_bytes;
		if (e.kind == EXTENT_DATA)
			o->data_bytes += e.length_bytes;
	}
	return CLI_DONE;
}

static int write_qcow2(struct restore *r, struct output *o)
{
	const struct qcow2_request request = {
		.store = r->store, .keys = r->keys, .group = r->named.name.group, .seq = r->named.point->seq,
		.volume = o->name, .path = o->part, .force = r->force,
	};
	int ret = count_data(r, o);

	return ret == CLI_DONE ? qcow2_write(&request) : ret;
}

/* It has its name already: who goes on was interrupted while they were given. */
static bool is_named(const struct restore *r, size_t output)
{
	struct stat st;

	return r->resume && stat(r->outputs[output].path, &st) == 0 &&
	       restore_parts_is_file(&r->parts, output, st.st_dev, st.st_ino);
}

/* All or nothing: the volumes of a group belong together. */
static int name_files(struct restore *r)
{
	int ret = restore_parts_complete(&r->parts);

	if (ret)
		return cli_fail(CLI_FAILED, "%s: %s; make room there and restore again with --resume",
				r->parts.path, strerror(-ret));
	for (size_t i = 0; ret == CLI_DONE && i < r->nr_outputs; i++)
		if (!r->outputs[i].device && !is_named(r, i))
			ret = file_end(r, &r->outputs[i]);
	return ret;
}

/* Half of an image is of no use and takes space. */
static void remove_parts(const struct restore *r)
{
	for (size_t i = 0; i < r->nr_outputs; i++)
		if (!r->outputs[i].device)
			unlink(r->outputs[i].part);
}

/* -- what is done, for who goes on -- */

static bool state_path(const struct restore *r, char *path, size_t bytes)
{
	if (r->state)
		snprintf(path, bytes, "%s", r->state);
	else if (r->dir)
		snprintf(path, bytes, "%.500s/.blkship-restore", r->dir);
	return (r->state || r->dir) && !r->qcow2;
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

static int state_begin(struct restore *r)
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
	return ret ? cli_fail(CLI_FAILED, "%s: %s; nothing was written", path, strerror(-ret)) :
		     CLI_DONE;
}

/* Before anything is overwritten: somebody may want to go on. */
static int state_check(const struct restore *r)
{
	char path[CLI_PATH_BYTES + 32];

	if (r->resume || r->force || !state_path(r, path, sizeof(path)) || access(path, F_OK) < 0)
		return CLI_DONE;
	return cli_fail(CLI_REFUSED, "a restore was interrupted, %s knows how far it was; nothing was written; --resume goes on with it, --force begins anew",
			path);
}

/* -- all of it -- */

static int write_raw(struct restore *r, bool *again)
{
	struct restore_output *outputs = calloc(r->nr_outputs, sizeof(*outputs));
	struct restore_copy copy = {
		.store = r->store, .keys = r->named.keys, .name = &r->named.name, .seq = r->named.point->seq,
		.force = r->force, .outputs = outputs, .parts = &r->parts, .view = r->view,
		.nr_jobs = r->nr_jobs, .progress = &r->progress,
	};
	int ret = outputs ? CLI_DONE : cli_fail(CLI_FAILED, "out of memory; nothing was written");

	for (size_t i = 0; ret == CLI_DONE && i < r->nr_outputs; i++) {
		struct output *o = &r->outputs[i];

		if (!o->device && is_raw(r, o))
			ret = file_begin(r, i);
		outputs[i] = (struct restore_output){
			.volume = o->volume, .name = o->name, .size_bytes = o->size_bytes,
			.where = o->device ? o->device : o->part, .fd = o->fd, .device = o->device,
		};
	}
	for (size_t i = 0; i < r->parts.nr; i++)
		if (r->parts.items[i].done)
			progress_skip(&r->progress, r->parts.items[i].end_bytes -
						    r->parts.items[i].start_bytes);
	if (ret == CLI_DONE)
		ret = restore_copy_run(&copy, again);
	for (size_t i = 0; i < r->parts.nr; i++)
		r->outputs[r->parts.items[i].output].data_bytes += r->parts.items[i].data_bytes;
	free(outputs);
	return ret;
}

static int cut_parts(struct restore *r)
{
	for (size_t i = 0; i < r->nr_outputs; i++)
		if (is_raw(r, &r->outputs[i]) &&
		    restore_parts_cut(&r->parts, i, r->outputs[i].size_bytes))
			return cli_fail(CLI_FAILED, "out of memory; nothing was written");
	return CLI_DONE;
}

static int write_volumes(struct restore *r, bool *again)
{
	int ret = r->parts.complete ? CLI_DONE : write_raw(r, again);

	for (size_t i = 0; ret == CLI_DONE && i < r->nr_outputs; i++)
		if (!is_raw(r, &r->outputs[i]))
			ret = write_qcow2(r, &r->outputs[i]);
	if (ret != CLI_DONE)
		return ret;
	*again = true;
	return name_files(r);
}

static int write_outputs(struct restore *r)
{
	bool again = false;
	int ret;

	if (r->dir && mkdir(r->dir, 0700) < 0 && errno != EEXIST)
		return cli_fail(CLI_FAILED, "directory %s: %s; nothing was written", r->dir,
				strerror(errno));
	ret = r->resume ? CLI_DONE : state_begin(r);
	if (ret != CLI_DONE)
		return ret;
	progress_begin(&r->progress, r->total_bytes);
	ret = write_volumes(r, &again);
	progress_end(&r->progress);
	/* Who went on keeps what he had, whatever it was that failed. */
	if (ret != CLI_DONE && r->parts.path && restore_parts_any(&r->parts) &&
	    (again || r->resume)) {
		fprintf(stderr, "blkship: what was done is kept; the same command with --resume goes on; without it, remove %s and the .part files\n",
			r->parts.path);
		return ret;
	}
	if (ret != CLI_DONE)
		remove_parts(r);
	restore_parts_forget(&r->parts);
	return ret;
}

/* -- the command -- */

static int report(const struct restore *r)
{
	double seconds = progress_seconds(&r->progress);
	json_t *volumes = r->json ? json_array() : NULL;
	char when[64], seq[40], size[16], data[16];
	uint64_t data_bytes = 0;

	when_local(r->named.point->time_ns, when, sizeof(when));
	cli_seq(r->named.point->seq, seq, sizeof(seq));
	if (!r->json)
		printf("%s@%s (seq:%s)\n", r->named.name.group, when, seq);
	for (size_t i = 0; i < r->nr_outputs; i++) {
		const struct output *o = &r->outputs[i];

		data_bytes += o->data_bytes;
		cli_bytes(o->size_bytes, size, sizeof(size));
		cli_bytes(o->data_bytes, data, sizeof(data));
		if (r->json)
			json_array_append_new(volumes, json_pack("{s:s, s:s, s:I, s:I}", "volume",
				o->name, "path", o->device ? o->device : o->path, "size_bytes",
				(json_int_t)o->size_bytes, "data_bytes",
				(json_int_t)o->data_bytes));
		else
			printf("%s: %s, %s of it data\n", o->device ? o->device : o->path, size, data);
	}
	if (r->json)
		return cli_print_json(json_pack("{s:s, s:o, s:o, s:o, s:I, s:f}", "group", r->named.name.group,
			"seq", cli_json_seq(r->named.point->seq), "time", cli_json_time(r->named.point->time_ns),
			"volumes", volumes, "data_bytes", (json_int_t)data_bytes, "seconds", seconds));
	cli_bytes(data_bytes, data, sizeof(data));
	printf("%s in %.1f s (%.0f MB/s), every block checked\n", data, seconds,
	       seconds > 0 ? data_bytes / seconds / 1e6 : 0.0);
	return CLI_DONE;
}

static int parse(const struct command *cmd, int argc, char **argv, struct restore *r)
{
	static const struct option longs[] = {
		{ "store", required_argument, NULL, 's' },
		{ "output", required_argument, NULL, 'o' },
		{ "to-device", required_argument, NULL, 'd' },
		{ "volume", required_argument, NULL, 'v' },
		{ "format", required_argument, NULL, 'F' },
		{ "force", no_argument, NULL, 'f' },
		{ "dry-run", no_argument, NULL, 'n' },
		CLI_KEY_OPTIONS,
		{ "resume", no_argument, NULL, 'r' },
		{ "state", required_argument, NULL, 'S' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "part-mib", required_argument, NULL, 'p' },
		CLI_COMMON_OPTIONS
	};
	unsigned long long part_mib = RESTORE_PART_BYTES >> 20;
	int c;

	while ((c = cli_getopt(cmd, argc, argv, longs, &r->json)) != -1) {
		if (c == 's') {
			r->store = optarg;
		} else if (c == 'o') {
			r->dir = optarg;
		} else if (c == 'v') {
			r->only = optarg;
		} else if (c == 'F') {
			r->qcow2 = strcmp(optarg, "qcow2") == 0;
			if (!r->qcow2 && strcmp(optarg, "raw") != 0)
				return cli_usage(cmd, "--format: '%s' is not raw or qcow2", optarg);
		} else if (c == 'f') {
			r->force = true;
		} else if (c == 'n') {
			r->dry_run = true;
		} else if (cli_key_option(c, optarg, &r->keys)) {
			continue;
		} else if (c == 'r') {
			r->resume = true;
		} else if (c == 'S') {
			r->state = optarg;
		} else if (c == 'j') {
			r->nr_jobs = strtoul(optarg, NULL, 10);
			if (r->nr_jobs == 0 || r->nr_jobs > RESTORE_MAX_JOBS)
				return cli_usage(cmd, "--jobs: '%s' is not 1 to %d", optarg,
						 RESTORE_MAX_JOBS);
		} else if (c == 'p') {
			part_mib = strtoull(optarg, NULL, 10);
			if (part_mib == 0 || part_mib > MAX_PART_MIB)
				return cli_usage(cmd, "--part-mib: '%s' is not 1 to %u", optarg,
						 MAX_PART_MIB);
		} else if (!strchr(optarg, '=') || *optarg == '=' || r->nr_devices == MAX_OUTPUTS) {
			return cli_usage(cmd, "--to-device: '%s' is not VOLUME=DEVICE", optarg);
		} else {
			r->devices[r->nr_devices++] = optarg;
		}
	}
	cli_check_args(cmd, argc, 1, 1);
	r->point_text = argv[optind];
	if (!r->dir && !r->nr_devices)
		return cli_usage(cmd, "where to? --output DIR or --to-device VOLUME=DEVICE");
	if (r->resume && r->qcow2)
		return cli_usage(cmd, "--resume: a qcow2 image is made anew");
	if (r->resume && !r->dir && !r->state)
		return cli_usage(cmd, "--resume: which one? --state FILE as then");
	restore_parts_init(&r->parts, part_mib << 20);
	return CLI_DONE;
}

static int restore_run(struct restore *r)
{
	char why[TIMELINE_TEXT_BYTES] = "";
	int ret = r->dry_run ? CLI_DONE : state_check(r);

	if (ret != CLI_DONE)
		return ret;
	if (r->named.point->degraded && !r->force && !r->dry_run)
		return cli_fail(CLI_REFUSED, "group %s: this point is degraded: some sectors could not be read at the source; nothing was written; --force leaves zeroes there, or choose another point",
				r->named.name.group);
	/* qemu-img would leave zeroes as well where a checksum is wrong. */
	if (r->named.point->degraded && r->qcow2 && !r->dry_run)
		return cli_fail(CLI_REFUSED, "group %s: this point is degraded: some sectors could not be read at the source, which no qcow2 image can tell; nothing was written; restore it raw, or choose another point",
				r->named.name.group);
	ret = view_open(r->named.list.tl, r->named.point->seq, &r->view, why);
	if (ret < 0)
		return cli_fail(CLI_FAILED, "group %s: %s; nothing was written; try another point", r->named.name.group,
				*why ? why : strerror(-ret));
	ret = choose_outputs(r);
	if (ret == CLI_DONE)
		ret = cut_parts(r);
	if (ret == CLI_DONE && r->resume)
		ret = state_begin(r);
	if (ret == CLI_DONE)
		ret = check_outputs(r);
	if (ret == CLI_DONE && r->dry_run)
		return print_plan(r);
	if (ret == CLI_DONE)
		ret = write_outputs(r);
	return ret == CLI_DONE ? report(r) : ret;
}

int cmd_restore(const struct command *cmd, int argc, char **argv)
{
	struct restore *r = calloc(1, sizeof(*r));
	uint64_t pin = 0;
	int ret;

	if (!r)
		return cli_fail(CLI_FAILED, "out of memory; nothing was written");
	r->store = CLI_STORE_DEFAULT;
	r->nr_jobs = sysconf(_SC_NPROCESSORS_ONLN);
	if (r->nr_jobs > DEFAULT_JOBS)
		r->nr_jobs = DEFAULT_JOBS;
	restore_parts_init(&r->parts, RESTORE_PART_BYTES);
	ret = parse(cmd, argc, argv, r);
	if (ret == CLI_DONE)
		ret = point_named_open(cmd, r->store, &r->keys, r->point_text, r->force,
				       "nothing was written", &r->named);
	if (ret == CLI_DONE && !r->dry_run)
		pin = pin_point(r->store, &r->named, "restore", HOLD_SECONDS);
	if (ret == CLI_DONE)
		ret = restore_run(r);
	pin_drop(r->store, r->named.name.group, pin);
	for (size_t i = 0; i < r->nr_outputs; i++)
		if (r->outputs[i].fd >= 0)
			close(r->outputs[i].fd);
	if (r->view)
		view_close(r->view);
	point_named_close(&r->named);
	restore_parts_fini(&r->parts);
	free(r);
	return ret;
}
