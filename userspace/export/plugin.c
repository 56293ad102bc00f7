// SPDX-License-Identifier: GPL-2.0-only
/*
 * nbdkit-blkship-plugin - a recovery point over NBD, read-only, or a branch, writable.
 *
 *	nbdkit blkship store=/srv/blkship group=erp point=latest
 *	nbdkit blkship store=/srv/blkship group=erp branch=test
 *
 * One server serves all volumes of the group at one point; the export's name is the
 * volume's. nbdkit does the protocol, sockets, threads and filters; this translates.
 * All requests may run at a time: export.c has a reader for each, up to a bound; of a branch
 * branch_server.c has the lock.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "../lib/home.h"
#include "../lib/segment_format.h"
#include "../lib/seq.h"
#include "branch_server.h"
#include "join.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* Also with fewer processors, as a reader waits for disks and clients as well (docs/EXPORT.md). */
#define READERS_DEFAULT 4

static char *store, *group, *point, *only, *branch, *key_file, *key_command;
static bool force, create;
static unsigned int readers = READERS_DEFAULT;
static struct export *export;
static struct branch_server *server;	/* in place of it, with branch= */
static struct join join;		/* with join=: the only export */

/* -- configuration -- */

static int take(char **field, const char *key, const char *value)
{
	if (*field) {
		nbdkit_error("%s= is given twice", key);
		return -1;
	}
	*field = strdup(value);
	if (!*field) {
		nbdkit_error("out of memory");
		return -1;
	}
	return 0;
}

static int blkship_config(const char *key, const char *value)
{
	if (strcmp(key, "store") == 0) {
		if (store) {
			nbdkit_error("store= is given twice");
			return -1;
		}
		if (home_valid(value))
			return take(&store, key, value);
		store = nbdkit_realpath(value);
		return store ? 0 : -1;
	}
	if (strcmp(key, "group") == 0)
		return take(&group, key, value);
	if (strcmp(key, "point") == 0)
		return take(&point, key, value);
	if (strcmp(key, "volume") == 0)
		return take(&only, key, value);
	if (strcmp(key, "branch") == 0)
		return take(&branch, key, value);
	if (strcmp(key, "join") == 0) {
		if (join_add(&join, value) == 0)
			return 0;
		nbdkit_error("join=%s: VOLUME:OFFSET:BYTES is wanted, in multiples of 512, at most %d times; behind stripe= of one length, a multiple of the stripe's",
			     value, JOIN_MAX_PIECES);
		return -1;
	}
	if (strcmp(key, "stripe") == 0) {
		if (join_stripe(&join, value) == 0)
			return 0;
		nbdkit_error("stripe=%s: NUMBER:BYTES is wanted, at least 2 and a multiple of 512, and so many join= behind it, of which there are %d at most",
			     value, JOIN_MAX_PIECES);
		return -1;
	}
	if (strcmp(key, "key-file") == 0) {
		if (key_file) {
			nbdkit_error("key-file= is given twice");
			return -1;
		}
		key_file = nbdkit_realpath(value);
		return key_file ? 0 : -1;
	}
	if (strcmp(key, "key-command") == 0)
		return take(&key_command, key, value);
	if (strcmp(key, "force") == 0 || strcmp(key, "create") == 0) {
		int yes = nbdkit_parse_bool(value);

		*(*key == 'f' ? &force : &create) = yes > 0;
		return yes < 0 ? -1 : 0;
	}
	if (strcmp(key, "readers") == 0) {
		if (nbdkit_parse_unsigned(key, value, &readers) < 0)
			return -1;
		if (readers >= 1 && readers <= EXPORT_MAX_READERS)
			return 0;
		nbdkit_error("readers=%s: from 1 to %d", value, EXPORT_MAX_READERS);
		return -1;
	}
	nbdkit_error("unknown parameter %s=; there are store=, group=, point=, branch=, create=, volume=, join=, stripe=, key-file=, key-command=, force= and readers=", key);
	return -1;
}

static int blkship_config_complete(void)
{
	if (!store || !group) {
		nbdkit_error("%s= is missing: store=DIR group=NAME [point=WHEN] are wanted",
			     store ? "group" : "store");
		return -1;
	}
	if (create && !branch) {
		nbdkit_error("create= is for a branch; name it with branch=NAME");
		return -1;
	}
	if (join.nr && (branch || !only)) {
		nbdkit_error("join= is of a point, and wants a name: volume=NAME");
		return -1;
	}
	if (join.nr_wanted) {
		nbdkit_error("stripe= wants %u more join= behind it", join.nr_wanted);
		return -1;
	}
	if (branch && point && !create) {
		nbdkit_error("a branch knows its point; point= is for create=true");
		return -1;
	}
	return 0;
}

static void blkship_cleanup(void)
{
	int ret = branch_server_close(server);

	if (ret < 0)
		nbdkit_error("branch %s of group %s: what was written since the last flush may be lost: %s",
			     branch, group, strerror(-ret));
	server = NULL;
	export_close(export);
	export = NULL;
}

static void blkship_unload(void)
{
	free(store);
	free(group);
	free(point);
	free(only);
	free(branch);
	free(key_file);
	free(key_command);
}

/* -- exports -- */

/* All members of the group, or the one that was asked for. */
static const struct export_volume *volumes;
static size_t nr_volumes;

static const struct export_volume *volume_by_name(const char *name)
{
	for (size_t i = 0; i < nr_volumes; i++)
		if (strcmp(volumes[i].name, name) == 0)
			return &volumes[i];
	return NULL;
}

static int no_volume(const char *name)
{
	char names[256] = "";
	size_t used = 0;

	for (size_t i = 0; i < nr_volumes && used < sizeof(names); i++)
		used += snprintf(names + used, sizeof(names) - used, " %s", volumes[i].name);
	nbdkit_error("group %s has no volume '%.64s' at this point; it has%s", group, name, names);
	nbdkit_set_error(ENOENT);
	return -1;
}

/* One export, which all the pieces are. */
static int choose_joined(void)
{
	for (size_t i = 0; i < join.nr; i++) {
		struct join_piece *p = &join.pieces[i];

		p->volume = volume_by_name(p->name);
		if (!p->volume)
			return no_volume(p->name);
		if (p->offset_bytes + p->length_bytes > p->volume->size_bytes) {
			nbdkit_error("join=%s:%" PRIu64 ":%" PRIu64 ": volume %s has only %" PRIu64 " bytes at this point; nothing is exported",
				     p->name, p->offset_bytes, p->length_bytes, p->name,
				     p->volume->size_bytes);
			return -1;
		}
	}
	join.whole.name = only;
	volumes = &join.whole;
	nr_volumes = 1;
	return 0;
}

static int choose_volumes(void)
{
	nr_volumes = server ? branch_server_volumes(server, &volumes) :
			      export_volumes(export, &volumes);
	if (!only)
		return 0;
	if (join.nr)
		return choose_joined();
	if (!volume_by_name(only))
		return no_volume(only);
	volumes = volume_by_name(only);
	nr_volumes = 1;
	return 0;
}

static int open_point(void)
{
	const struct key_source keys = { key_file, key_command };
	char text[512], why[POINT_TEXT_BYTES];

	if ((size_t)snprintf(text, sizeof(text), "%s@%s", group, point ? point : "latest") >=
	    sizeof(text)) {
		nbdkit_error("group= and point= are too long");
		return -1;
	}
	if (export_open(store, text, &keys, force, readers, &export, why) < 0) {
		nbdkit_error("%s; nothing is exported", why);
		return -1;
	}
	return 0;
}

static int open_branch(void)
{
	const struct key_source keys = { key_file, key_command };
	char why[POINT_TEXT_BYTES];

	if (branch_server_open(store, group, branch, create ? point ? point : "latest" : NULL,
			       &keys, force, readers, &server, why) == 0)
		return 0;
	nbdkit_error("%s; nothing is exported", why);
	return -1;
}

static int open_all(void)
{
	if ((branch ? open_branch() : open_point()) < 0)
		return -1;
	return choose_volumes();
}

/* Before nbdkit goes into the background: what is wrong is said where it was started. */
static int blkship_get_ready(void)
{
	return home_is_forkable(store) ? open_all() : 0;
}

static int hold_point(void)
{
	char why[POINT_TEXT_BYTES];
	int ret = export_hold(export, why);

	if (*why)
		nbdkit_error("%s%s", why, ret < 0 ? "; nothing is exported; take another point" : "");
	return ret;
}

/* Threads do not survive a fork. */
static int blkship_after_fork(void)
{
	int ret = export || server ? 0 : open_all();

	if (ret == 0 && export)
		ret = hold_point();
	if (ret == 0 && server) {
		ret = branch_server_start(server);
		if (ret < 0)
			nbdkit_error("branch %s of group %s: its threads cannot be started: %s",
				     branch, group, strerror(-ret));
	}
	return ret < 0 ? -1 : 0;
}

/* "erp at 2026-11-22T13:03:07.250000000Z (seq:1:4711)" */
static void describe(char *text, size_t bytes)
{
	const char *name = group;
	const struct point *p = server ? branch_server_point(server) : export_point(export, &name);
	char when[40];

	when_utc(p->time_ns, when, sizeof(when));
	snprintf(text, bytes, "%s%s%s%s at %s (seq:%u:%" PRIu64 ")%s", server ? "branch " : "",
		 server ? branch : "", server ? " of " : "", name, when,
		 seq_incarnation(p->seq), seq_number(p->seq),
		 p->degraded ? "; degraded: some sectors are unreadable" : "");
}

static int blkship_list_exports(int readonly, int is_tls, struct nbdkit_exports *exports)
{
	char text[256];

	describe(text, sizeof(text));
	for (size_t i = 0; i < nr_volumes; i++)
		if (nbdkit_add_export(exports, volumes[i].name, text) < 0)
			return -1;
	return 0;
}

/* With several volumes there is none that "" could mean; NULL says so. */
static const char *blkship_default_export(int readonly, int is_tls)
{
	return nr_volumes == 1 ? volumes[0].name : NULL;
}

static void *blkship_open(int readonly)
{
	const char *name = nbdkit_export_name();
	const struct export_volume *found;

	if (!name)
		return NULL;
	found = !*name && nr_volumes == 1 ? &volumes[0] : volume_by_name(name);
	if (!found)
		no_volume(name);
	return (void *)found;
}

static const char *blkship_export_description(void *handle)
{
	char text[256];

	describe(text, sizeof(text));
	return nbdkit_strdup_intern(text);
}

static int64_t blkship_get_size(void *handle)
{
	const struct export_volume *v = handle;

	return v->size_bytes;
}

/* Any size is served; whole units are what costs least. */
static int blkship_block_size(void *handle, uint32_t *minimum, uint32_t *preferred,
			      uint32_t *maximum)
{
	*minimum = 1;
	*preferred = 65536;
	*maximum = UINT32_MAX;
	return 0;
}

/*
 * A point never changes: what one connection reads, all do. Of a branch there is one copy, and
 * a flush is for what all have written.
 */
static int blkship_can_multi_conn(void *handle)
{
	return 1;
}

/* -- reading -- */

static int read_failed(const struct export_volume *v, const struct export_fault *fault, int ret)
{
	if (ret == -EBADMSG)
		nbdkit_error("group %s volume %s at byte %" PRIu64 ": a checksum is wrong or the segment is damaged: %s; nothing of it is handed out; restore the file from a copy of the store, or take another point",
			     group, v->name, fault->offset_bytes,
			     *fault->segment ? fault->segment : "which one is not known");
	else if (ret == -ESTALE)
		nbdkit_error("group %s volume %s at byte %" PRIu64 ": %s; the reader gets an I/O error; take another point",
			     group, v->name, fault->offset_bytes, view_error_text(ret));
	else if (ret == -EIO)
		nbdkit_error("group %s volume %s at byte %" PRIu64 ": could not be read at the source then; take a point that is not degraded",
			     group, v->name, fault->offset_bytes);
	else
		nbdkit_error("group %s volume %s at byte %" PRIu64 ": %s: %s; the reader gets an I/O error",
			     group, v->name, fault->offset_bytes, fault->segment, strerror(-ret));
	nbdkit_set_error(ret == -ENOMEM ? ENOMEM : EIO);
	return -1;
}

static int read_volume(const struct export_volume *v, void *buf, size_t bytes, uint64_t offset)
{
	struct export_fault fault;
	int ret = export_read(export, v, offset, buf, bytes, &fault);

	return ret < 0 ? read_failed(v, &fault, ret) : 0;
}

static int read_whole(const struct export_volume *v, void *buf, size_t bytes, uint64_t offset)
{
	int ret = 0;

	if (v != &join.whole)
		return read_volume(v, buf, bytes, offset);
	for (size_t done = 0; done < bytes && ret == 0;) {
		uint64_t at = offset + done, part = bytes - done;
		const struct join_piece *p = join_at(&join, &at, &part);

		ret = read_volume(p->volume, (uint8_t *)buf + done, part, at);
		done += part;
	}
	return ret;
}

static int read_branch(const struct export_volume *v, void *buf, size_t bytes, uint64_t offset)
{
	struct export_fault fault;
	int ret = branch_server_read(server, v, offset, buf, bytes, &fault);

	return ret < 0 ? read_failed(v, &fault, ret) : 0;
}

/* A part of one sector. */
static int read_part(const struct export_volume *v, uint8_t *buf, size_t bytes, uint64_t offset)
{
	uint8_t sector[SECTOR_BYTES];

	if (read_whole(v, sector, SECTOR_BYTES, offset - offset % SECTOR_BYTES) < 0)
		return -1;
	memcpy(buf, sector + offset % SECTOR_BYTES, bytes);
	return 0;
}

static int blkship_pread(void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
	const struct export_volume *v = handle;
	uint8_t *at = buf;
	size_t part = offset % SECTOR_BYTES ? SECTOR_BYTES - offset % SECTOR_BYTES : 0;

	if (server)
		return read_branch(v, buf, count, offset);
	if (part > count)
		part = count;
	if (part && read_part(v, at, part, offset) < 0)
		return -1;
	at += part;
	offset += part;
	count -= part;
	part = count - count % SECTOR_BYTES;
	if (part && read_whole(v, at, part, offset) < 0)
		return -1;
	count -= part;
	return count ? read_part(v, at + part, count, offset + part) : 0;
}

struct extents_request {
	struct nbdkit_extents *extents;
	bool one, failed;
	bool told;		/* one was added */
	/* Of a piece: where what is asked of it ends, and how much more its places there are than here. */
	uint64_t end_bytes, shift_bytes;
};

/* What cannot be read counts as data: a client that asks gets the error. */
static int add_extent(void *arg, const struct view_extent *e)
{
	struct extents_request *request = arg;
	bool zero = e->kind == EXTENT_ZERO || e->kind == EXTENT_DISCARD;
	uint64_t bytes = e->length_bytes;

	if (bytes > request->end_bytes - e->offset_bytes)
		bytes = request->end_bytes - e->offset_bytes;
	request->told = true;
	if (nbdkit_add_extent(request->extents, e->offset_bytes - request->shift_bytes, bytes,
			      zero ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0) < 0)
		request->failed = true;
	return request->failed || request->one;
}

static int extents_joined(struct extents_request *request, uint64_t offset, uint64_t count)
{
	int ret = 0;

	for (uint64_t end = offset + count; offset < end && ret == 0;) {
		uint64_t at = offset, part = end - offset;
		const struct join_piece *p = join_at(&join, &at, &part);

		request->shift_bytes = at - offset;	/* modulo 2^64 */
		request->end_bytes = at + part;
		ret = export_extents(export, p->volume, at, part, add_extent, request);
		offset += part;
		if (request->failed || (request->one && request->told))
			break;
	}
	return ret;
}

static int blkship_extents(void *handle, uint32_t count, uint64_t offset, uint32_t flags,
			   struct nbdkit_extents *extents)
{
	struct extents_request request = {
		.extents = extents, .one = flags & NBDKIT_FLAG_REQ_ONE, .end_bytes = UINT64_MAX,
	};
	int ret = server ?
		branch_server_extents(server, handle, offset, count, add_extent, &request) :
		handle == &join.whole ? extents_joined(&request, offset, count) :
		export_extents(export, handle, offset, count, add_extent, &request);

	if (ret < 0) {
		nbdkit_error("group %s: extents at byte %" PRIu64 ": %s", group, offset,
			     view_error_text(ret));
		nbdkit_set_error(EIO);
	}
	return ret < 0 || request.failed ? -1 : 0;
}

/* -- writing, to a branch -- */

static int blkship_is_branch(void *handle)
{
	return server != NULL;
}

static int blkship_can_fua(void *handle)
{
	return server ? NBDKIT_FUA_NATIVE : NBDKIT_FUA_NONE;
}

static int write_failed(const struct export_volume *v, const char *what, uint64_t offset, int ret)
{
	nbdkit_error("group %s branch %s volume %s: %s at byte %" PRIu64 ": %s", group, branch,
		     v->name, what, offset, strerror(-ret));
	nbdkit_set_error(ret == -ENOSPC || ret == -ENOMEM ? -ret : EIO);
	return -1;
}

static int flush(const struct export_volume *v)
{
	int ret = branch_server_flush(server);

	return ret < 0 ? write_failed(v, "flush", 0, ret) : 0;
}

static int blkship_flush(void *handle, uint32_t flags)
{
	return flush(handle);
}

static int blkship_pwrite(void *handle, const void *buf, uint32_t count, uint64_t offset,
			  uint32_t flags)
{
	int ret = branch_server_write(server, handle, offset, buf, count);

	if (ret < 0)
		return write_failed(handle, "write", offset, ret);
	return flags & NBDKIT_FLAG_FUA ? flush(handle) : 0;
}

static int blkship_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	int ret = branch_server_zero(server, handle, offset, count, true);

	if (ret < 0)
		return write_failed(handle, "trim", offset, ret);
	return flags & NBDKIT_FLAG_FUA ? flush(handle) : 0;
}

/* Zeroes cost what a trim costs, so the client's leave to trim is not needed. */
static int blkship_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	int ret = branch_server_zero(server, handle, offset, count, false);

	if (ret < 0)
		return write_failed(handle, "zero", offset, ret);
	return flags & NBDKIT_FLAG_FUA ? flush(handle) : 0;
}

static struct nbdkit_plugin plugin = {
	.name = "blkship",
	.longname = "blkship recovery points and branches",
	.description = "a group of volumes as it was at a recovery point, read-only, or a branch of one",
	.config = blkship_config,
	.config_complete = blkship_config_complete,
	.config_help =
		"store=DIR      (required) a target's store, or a copy of it; or rados:POOL/NAMESPACE\n"
		"group=NAME     (required) of the group\n"
		"point=WHEN     latest (the default), -5m, 14:03:07, seq:1:4711, ...\n"
		"branch=NAME    a branch of the group, writable; only one process can serve it\n"
		"create=BOOL    make the branch of point= if it is not there\n"
		"volume=NAME    only this one; needed with filters that keep data, such as cow\n"
		"join=VOLUME:OFFSET:BYTES  again and again: these, end to end, are the only export,\n"
		"               and volume= is its name\n"
		"stripe=NUMBER:BYTES  the next so many of join= are laid in stripes of BYTES\n"
		"key-file=FILE  keys of an encrypted store; or key-command=PROGRAM ..., which\n"
		"               prints them (default: key_file of the store's targetd.conf)\n"
		"force=BOOL     also a point that is known to be damaged\n"
		"readers=N      how many reads at a time (default: 4); each takes memory: an index\n"
		"               and up to 40 MiB\n",
	.get_ready = blkship_get_ready,
	.after_fork = blkship_after_fork,
	.cleanup = blkship_cleanup,
	.unload = blkship_unload,
	.list_exports = blkship_list_exports,
	.default_export = blkship_default_export,
	.export_description = blkship_export_description,
	.open = blkship_open,
	.get_size = blkship_get_size,
	.block_size = blkship_block_size,
	.can_multi_conn = blkship_can_multi_conn,
	.pread = blkship_pread,
	.extents = blkship_extents,
	.can_write = blkship_is_branch,
	.can_flush = blkship_is_branch,
	.can_trim = blkship_is_branch,
	.can_zero = blkship_is_branch,
	.can_fast_zero = blkship_is_branch,
	.can_fua = blkship_can_fua,
	.pwrite = blkship_pwrite,
	.flush = blkship_flush,
	.trim = blkship_trim,
	.zero = blkship_zero,
};

NBDKIT_REGISTER_PLUGIN(plugin)
