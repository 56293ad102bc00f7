// SPDX-License-Identifier: GPL-2.0-only
/*
 * mount, umount: all filesystems of a point below one directory.
 *
 * A point is what a power cut would have left: its filesystems have journals to replay,
 * and skipping that shows something that never was. So they are mounted writable, over
 * nbdkit's cow filter: what journals and people write goes to a temporary file, which is
 * dropped at umount. The store is only read.
 *
 * The directories are on a small tmpfs of their own: nothing is made on the disk below
 * DIR, and one look at the mount table tells whose tree it is.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../userspace/store/view.h"
#include "cli.h"
#include "content.h"
#include "loopdev.h"
#include "lv_join.h"
#include "mapping.h"

/* Somebody else's disk: its programs and devices are none of ours. */
#define FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)

struct mount {
	const char *store, *run_dir;
	struct key_source keys;
	char dir[PATH_MAX];
	enum mapping_via via;
	bool force, json;
	struct point_named named;
	struct mapping m;
	struct lv_join join;
	unsigned int nr_mounted, nr_failed;
};

/* -- one filesystem -- */

static int mount_device(const char *device, const struct content *c, const char *path, char *why)
{
	int ret = 0;

	if (mkdir(path, 0755) < 0 && (errno != EEXIST || c->partition || c->lv[0]))
		ret = errno == EEXIST ? -ENOTUNIQ : -errno;
	else if (mount(device, path, c->type, FLAGS, content_mount_options(c->type)) < 0)
		ret = -errno;
	if (ret < 0)
		snprintf(why, MAPPING_TEXT_BYTES, "%s cannot be mounted: %s", c->type, ret == -ENODEV ?
			 "this kernel does not know it" : ret == -EEXIST ?
			 "the same filesystem is mounted already, and its kind cannot be mounted twice" :
			 ret == -ENOTUNIQ ? "another one on this volume has the same name" :
			 strerror(-ret));
	return ret;
}

/* A file, or a part of one or of a device, needs a device of its own. */
static int mount_content(const struct mount *mt, const char *file, const struct content *c,
			 const char *path, char *why)
{
	struct loopdev_range range = { c->offset_bytes, c->length_bytes };
	char device[SYSBLOCK_BYTES];
	int ret, fd;

	if (mapping_is_nbd(&mt->m) && !c->partition && !c->offset_bytes)
		return mount_device(file, c, path, why);
	fd = loopdev_attach(file, &range, LOOPDEV_UNTIL_CLOSED, device);
	if (fd < 0) {
		snprintf(why, MAPPING_TEXT_BYTES, "no loop device: %s", strerror(-fd));
		return fd;
	}
	ret = mount_device(device, c, path, why);
	close(fd);	/* the mount keeps the device */
	return ret;
}

/* "/GROUP-NAME" of GROUP/NAME, as device-mapper has it: what were dashes are two. */
static void mapper_name(const char *lv, char *out, size_t bytes)
{
	size_t nr = 0;

	out[nr++] = '/';
	for (; *lv && nr + 3 < bytes; lv++) {
		if (*lv == '-')
			out[nr++] = '-';
		out[nr++] = *lv == '/' ? '-' : *lv;
	}
	out[nr] = 0;
}

/* Mount it, and say in @row how that went. */
static void try_content(struct mount *mt, json_t *row, const char *volume, const char *file,
			const struct content *c)
{
	char path[PATH_MAX + 64 + 2 * CONTENT_LV_BYTES], why[MAPPING_TEXT_BYTES] = "";
	bool mounted = false;

	snprintf(path, sizeof(path), "%s/%s", mt->dir, volume);
	if (c->lv[0])
		mapper_name(c->lv, path + strlen(path), sizeof(path) - strlen(path));
	else if (c->partition)
		snprintf(path + strlen(path), 16, "/p%u", c->partition);
	if (c->why_not || !content_mount_options(c->type)) {
		snprintf(why, sizeof(why), "%s", content_why_not(c));
	} else if (mount_content(mt, file, c, path, why) == 0) {
		mounted = true;
		mt->nr_mounted++;
	} else {
		mt->nr_failed++;
		fprintf(stderr, "blkship: volume %s: %s; the others are mounted\n", volume, why);
	}
	json_object_set_new(row, "type", json_string(c->type));
	json_object_set_new(row, "path", mounted ? json_string(path) : json_null());
	json_object_set_new(row, "why_not", mounted ? json_null() : json_string(why));
}

static int add_content(struct mount *mt, json_t *parts, const char *volume, const char *file,
		       struct content *c)
{
	json_t *row = json_pack("{s:i, s:s?}", "partition", c->partition, "lv",
				c->lv[0] ? c->lv : NULL);

	json_array_append_new(parts, row);
	try_content(mt, row, volume, file, c);
	return lv_join_note(&mt->join, volume, file, c, row);
}

/* -- logical volumes in several pieces, and mirrors -- */

static int add_joined(struct mount *mt, const struct lv_join_lv *lv, unsigned int number)
{
	char name[NAME_BYTES], file[MAPPING_PATH_BYTES], why[MAPPING_TEXT_BYTES];
	struct content c = { .partition = 0 };
	char **ranges = lv_join_parameters(&mt->join, lv, &c.why_not);
	int ret = 0;

	if (ranges) {
		snprintf(name, sizeof(name), "+lv%u", number);	/* no volume begins like that */
		ret = mapping_file_joined(&mt->m, name, ranges, file, why);
		if (ret == 0 && (ret = content_whole(file, &c)) < 0)
			snprintf(why, sizeof(why), "%s", strerror(-ret));
	}
	free(ranges);
	if (ret < 0)
		return cli_fail(CLI_FAILED, "volume %s: logical volume %s: it cannot be had as a file: %s; nothing stays mounted",
				lv->volume, lv->lv, why);
	snprintf(c.lv, sizeof(c.lv), "%s", lv->lv);
	try_content(mt, lv->row, lv->volume, file, &c);
	return CLI_DONE;
}

/* -- a volume, all volumes -- */

static int add_volume(struct mount *mt, const char *volume, uint64_t size_bytes)
{
	char file[MAPPING_PATH_BYTES], why[MAPPING_TEXT_BYTES], path[PATH_MAX + 40];
	json_t *parts = json_array();
	struct content *found;
	size_t nr;
	int ret;

	json_array_append_new(json_object_get(mt->m.state, "volumes"), json_pack("{s:s, s:I, s:o}",
		"volume", volume, "size_bytes", (json_int_t)size_bytes, "contents", parts));
	ret = mapping_file(&mt->m, volume, file, why);
	if (ret < 0)
		return cli_fail(CLI_FAILED, "volume %s: it cannot be had as a file: %s; nothing stays mounted",
				volume, why);
	ret = content_find(file, &found, &nr);
	if (ret < 0)
		return cli_fail(CLI_FAILED, "volume %s: it cannot be read: %s; nothing stays mounted; %s/nbdkit.log says more while it is there",
				volume, strerror(-ret), mt->m.dir);
	snprintf(path, sizeof(path), "%s/%s", mt->dir, volume);
	if (mkdir(path, 0755) < 0)
		ret = cli_fail(CLI_FAILED, "%s: %s; nothing stays mounted", path, strerror(errno));
	for (size_t i = 0; ret == 0 && i < nr; i++)
		if (add_content(mt, parts, volume, file, &found[i]) < 0)
			ret = cli_fail(CLI_FAILED, "out of memory; nothing stays mounted");
	content_free(found, nr);
	return ret;
}

static int add_volumes(struct mount *mt, struct view *view)
{
	const struct timeline_volume *volumes;
	size_t nr = timeline_volumes(mt->named.list.tl, &volumes);
	int ret = CLI_DONE;

	for (size_t i = 0; i < nr && ret == CLI_DONE; i++) {
		uint64_t size_bytes = view_size(view, volumes[i].id);

		if (size_bytes)
			ret = add_volume(mt, volumes[i].name, size_bytes);
	}
	for (size_t i = 0; i < mt->join.nr_lvs && ret == CLI_DONE; i++)
		ret = add_joined(mt, &mt->join.lvs[i], i + 1);
	if (ret == CLI_DONE && !mt->nr_mounted)
		ret = cli_fail(mt->nr_failed ? CLI_FAILED : CLI_NOT_FOUND, "group %s: nothing of this point can be mounted; nothing stays mounted; `blkship map --device` gives the volumes as devices",
			       mt->named.name.group);
	return ret;
}

/* -- showing -- */

static int show(const struct mount *mt)
{
	static const char *const headings[] = { "VOLUME", "PARTITION", "TYPE", "MOUNTED" };
	const json_t *volume, *content;
	struct table *t;
	size_t i, j;

	if (mt->json)
		return cli_print_json(json_incref(mt->m.state));
	t = table_create(headings, ARRAY_SIZE(headings));
	json_array_foreach(json_object_get(mt->m.state, "volumes"), i, volume)
		json_array_foreach(json_object_get(volume, "contents"), j, content) {
			const char *path = json_string_value(json_object_get(content, "path"));
			int partition = json_integer_value(json_object_get(content, "partition"));
			const char *lv = json_string_value(json_object_get(content, "lv"));

			table_cell(t, "%s", json_string_value(json_object_get(volume, "volume")));
			if (lv)
				table_cell(t, "%s", lv);
			else
				table_cell(t, partition ? "%d" : "-", partition);
			table_cell(t, "%s", json_string_value(json_object_get(content, "type")));
			if (path)
				table_cell(t, "%s", path);
			else
				table_cell(t, "no: %s", json_string_value(json_object_get(content, "why_not")));
		}
	table_print(t);
	if (isatty(STDOUT_FILENO))
		printf("what is written there is dropped at umount\nnext: look, then `blkship umount %s`\n",
		       mt->dir);
	return CLI_DONE;
}

/* -- mount -- */

static bool is_empty(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	bool empty = dir;

	while (dir && empty && (entry = readdir(dir)))
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	if (dir)
		closedir(dir);
	return empty;
}

static int check_dir(struct mount *mt, const char *dir, bool *made)
{
	*made = mkdir(dir, 0755) == 0;
	if (!realpath(dir, mt->dir))
		return cli_fail(CLI_FAILED, "directory %s: %s; nothing was mounted", dir, strerror(errno));
	if (is_empty(mt->dir))
		return CLI_DONE;
	return cli_fail(CLI_REFUSED, "directory %s: not an empty directory; nothing was mounted; what is in it would be hidden",
			dir);
}

static int mount_tree(struct mount *mt, bool made)
{
	char source[MAPPING_NAME_BYTES + 16];

	json_object_set_new(mt->m.state, "made_dir", json_boolean(made));
	mapping_mount_source(mt->m.name, source);
	if (mapping_save(&mt->m) < 0 || mount(source, mt->dir, "tmpfs", FLAGS, "size=1m,mode=0755") < 0)
		return cli_fail(CLI_FAILED, "directory %s: no mount: %s; nothing was mounted", mt->dir,
				strerror(errno));
	return CLI_DONE;
}

static int mount_point(struct mount *mt, struct view *view, bool made)
{
	struct mapping_request request = {
		.run_dir = mt->run_dir, .store = mt->store, .keys = mt->keys, .named = &mt->named,
		.mount_dir = mt->dir, .via = mt->via, .writable = true, .force = mt->force,
	};
	char why[MAPPING_TEXT_BYTES];
	int ret = mapping_create(&request, &mt->m, why);

	if (ret < 0)
		return cli_fail(CLI_FAILED, "group %s: its point cannot be served: %s; nothing was mounted; the packages nbdkit, nbdkit-blkship and libnbd-bin are needed",
				mt->named.name.group, why);
	ret = mount_tree(mt, made);
	if (ret == CLI_DONE)
		ret = add_volumes(mt, view);
	if (ret == CLI_DONE && mapping_save(&mt->m) < 0)
		ret = cli_fail(CLI_FAILED, "%s: its state cannot be written; nothing stays mounted", mt->m.dir);
	if (ret == CLI_DONE)
		ret = show(mt);
	if (ret == CLI_DONE)
		mapping_close(&mt->m);
	else if (mapping_destroy(&mt->m, why) < 0)
		cli_fail(CLI_FAILED, "%s; `blkship unmap %s` tries again", why, mt->m.name);
	return ret == CLI_DONE && mt->nr_failed ? CLI_FAILED : ret;
}

static int mount_checked(struct mount *mt, const char *dir)
{
	char why[TIMELINE_TEXT_BYTES] = "";
	struct view *view = NULL;
	bool made;
	int ret;

	if (geteuid() != 0)
		return cli_fail(CLI_FAILED, "only root can mount; nothing was mounted; `blkship map` serves points to others");
	if (view_open(mt->named.list.tl, mt->named.point->seq, &view, why) < 0)
		return cli_fail(CLI_FAILED, "group %s: %s; nothing was mounted; try another point",
				mt->named.name.group, why);
	ret = check_dir(mt, dir, &made);
	if (ret == CLI_DONE)
		ret = mount_point(mt, view, made);
	if (ret != CLI_DONE && made)
		rmdir(mt->dir);		/* stays if it is in use */
	view_close(view);
	return ret;
}

int cmd_mount(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "store", required_argument, NULL, 's' },
		{ "run-dir", required_argument, NULL, 'r' },
		{ "force", no_argument, NULL, 'f' },
		{ "via", required_argument, NULL, 'v' },
		CLI_KEY_OPTIONS,
		CLI_COMMON_OPTIONS
	};
	struct mount mt = { .store = CLI_STORE_DEFAULT, .run_dir = MAPPING_RUN_DIR };
	const char *via = "auto";
	int c, ret;

	while ((c = cli_getopt(cmd, argc, argv, longs, &mt.json)) != -1) {
		if (c == 's')
			mt.store = optarg;
		else if (c == 'r')
			mt.run_dir = optarg;
		else if (c == 'v')
			via = optarg;
		else if (!cli_key_option(c, optarg, &mt.keys))
			mt.force = true;
	}
	cli_check_args(cmd, argc, 2, 2);
	if (!mapping_via_parse(via, &mt.via))
		return cli_usage(cmd, "--via %s: nbd, fuse or auto is wanted", via);
	ret = point_named_open(cmd, mt.store, &mt.keys, argv[optind], mt.force, "nothing was mounted", &mt.named);
	if (ret == CLI_DONE)
		ret = mount_checked(&mt, argv[optind + 1]);
	lv_join_fini(&mt.join);
	point_named_close(&mt.named);
	return ret;
}

/* -- umount -- */

int cmd_umount(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "run-dir", required_argument, NULL, 'r' },
		CLI_COMMON_OPTIONS
	};
	char dir[PATH_MAX], name[MAPPING_NAME_BYTES], why[MAPPING_TEXT_BYTES];
	const char *run_dir = MAPPING_RUN_DIR;
	struct mapping m;
	bool json = false;
	int ret;

	while (cli_getopt(cmd, argc, argv, longs, &json) != -1)
		run_dir = optarg;
	cli_check_args(cmd, argc, 1, 1);
	if (!realpath(argv[optind], dir))
		return cli_fail(CLI_NOT_FOUND, "directory %s: %s", argv[optind], strerror(errno));
	ret = mapping_of_mount(dir, name);
	if (ret == 0)
		ret = mapping_open(run_dir, name, &m);
	if (ret == -EBUSY)
		return cli_fail(CLI_FAILED, "directory %s: another command is mounting or unmounting it; try again when that has ended",
				dir);
	if (ret < 0)
		return cli_fail(CLI_NOT_FOUND, "directory %s: no point is mounted there; `blkship map` lists what there is; `blkship unmap NAME` ends what is half unmounted",
				dir);
	if (mapping_destroy(&m, why) < 0)
		return cli_fail(CLI_FAILED, "%s", why);
	return json ? cli_print_json(json_object()) : CLI_DONE;
}
