// SPDX-License-Identifier: GPL-2.0-only
/* attach, detach: begin to capture a device, by the front end asked for, and end it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../userspace/lib/knl.h"
#include "../../userspace/lib/name.h"
#include "blockdev.h"
#include "cli.h"
#include "dm.h"
#include "insert.h"
#include "tap.h"

#define MIN_BYTES	(1u << 20)
#define SECTOR_SHIFT	9
#define RING_MIB_MAX	4096

/* -- attach -- */

struct attach {
	const char *group, *volume, *device;
	const char *front;
	const char *meta;		/* its metadata device, or NULL */
	char name[DM_NAME_BYTES];
	unsigned long ring_mib;
	bool named;		/* name was asked for: a device of its own */
	bool json;
};

static int attach_parse(const struct command *cmd, int argc, char **argv, struct attach *a)
{
	static const struct option longs[] = {
		{ "front", required_argument, NULL, 'f' },
		{ "meta", required_argument, NULL, 'm' },
		{ "name", required_argument, NULL, 'n' },
		{ "ring-mib", required_argument, NULL, 'r' },
		CLI_COMMON_OPTIONS
	};
	const char *name = NULL;
	char *end;
	int c;

	while ((c = cli_getopt(cmd, argc, argv, longs, &a->json)) != -1) {
		if (c == 'f') {
			a->front = optarg;
		} else if (c == 'n') {
			name = optarg;
		} else if (c == 'm') {
			a->meta = optarg;
		} else {
			a->ring_mib = strtoul(optarg, &end, 10);
			if (*end || a->ring_mib < 1 || a->ring_mib > RING_MIB_MAX)
				return cli_usage(cmd, "--ring-mib is a number from 1 to %d", RING_MIB_MAX);
		}
	}
	cli_check_args(cmd, argc, 3, 3);
	a->group = argv[optind];
	a->volume = argv[optind + 1];
	a->device = argv[optind + 2];
	a->named = name != NULL;
	if (strcmp(a->front, "dm") != 0 && strcmp(a->front, "tap") != 0)
		return cli_usage(cmd, "--front: there are tap and dm, not '%s'", a->front);
	if (name && strcmp(a->front, "dm") != 0)
		return cli_usage(cmd, "--name is for --front dm: a tap makes no device");
	if (!name_valid(a->group) || !name_valid(a->volume))
		return cli_usage(cmd, "names are 1 to 31 letters, digits, '_', '-', '.', the first a letter, digit or '_'");
	if (name ? snprintf(a->name, sizeof(a->name), "%s", name) >= DM_NAME_BYTES || !*name ||
		   strchr(name, '/') :
		   snprintf(a->name, sizeof(a->name), "%s-%s", a->group, a->volume) < 0)
		return cli_usage(cmd, "--name: '%s' is not a name for a device", name);
	return CLI_DONE;
}

static int device_check(const struct attach *a, struct blockdev *dev)
{
	char why[BLOCKDEV_TEXT_BYTES];
	int ret = blockdev_open(a->device, true, dev, why);

	if (ret == -EBUSY)
		return cli_fail(CLI_REFUSED, "device %s: %s; nothing was changed; unmount or release it first, then use /dev/mapper/%s in its place",
				a->device, why, a->name);
	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "device %s: %s; nothing was changed; name a block device that exists",
				a->device, why);
	if (dev->size_bytes >= MIN_BYTES)
		return CLI_DONE;
	blockdev_close(dev);
	return cli_fail(CLI_REFUSED, "device %s: device too small: %llu bytes, at least %u are wanted; nothing was changed; name a larger one",
			a->device, (unsigned long long)dev->size_bytes, MIN_BYTES);
}

/* Its number; the module, or device-mapper, opens it for itself. */
static int meta_find(const struct attach *a, uint32_t number[2])
{
	char why[BLOCKDEV_TEXT_BYTES];
	struct blockdev dev;
	int ret;

	ret = blockdev_open(a->meta, true, &dev, why);
	if (ret < 0)
		return cli_fail(ret == -EBUSY ? CLI_REFUSED : cli_exit_of(ret),
				"metadata device %s: %s; nothing was changed; name a small device that nobody uses",
				a->meta, why);
	number[0] = dev.major;
	number[1] = dev.minor;
	blockdev_close(&dev);
	return CLI_DONE;
}

static int group_make(struct knl *nl, const struct attach *a, bool *made)
{
	char why[KNL_TEXT_BYTES];
	int ret;

	if (!a->ring_mib)
		return CLI_DONE;	/* the table makes it, with a ring of the default size */
	ret = knl_group_new(nl, a->group, (uint64_t)a->ring_mib << 20, why);
	if (ret == -EEXIST)
		return cli_fail(CLI_FAILED, "group %s: it exists, with a ring; nothing was changed; leave out --ring-mib",
				a->group);
	if (ret < 0)
		return cli_fail(CLI_FAILED, "group %s: %s; nothing was changed; try a smaller --ring-mib",
				a->group, why);
	*made = true;
	return CLI_DONE;
}

/* Under the name of a device-mapper device, which may be in use. */
static int attach_insert(struct knl *nl, const struct attach *a, const struct insert *in)
{
	char size[32], why[DM_TEXT_BYTES], ignored[KNL_TEXT_BYTES];
	bool made = false;
	int ret = group_make(nl, a, &made);

	if (ret != CLI_DONE)
		return ret;
	if (insert_put(in, a->group, a->volume, why) < 0) {
		if (made)
			knl_group_del(nl, a->group, ignored);
		return cli_fail(CLI_FAILED, "attach %s to %s/%s: %s; it is used as before; see `dmesg`",
				a->device, a->group, a->volume, why);
	}
	if (a->json)
		return cli_print_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "group", a->group,
						"volume", a->volume, "device", a->device, "front", "dm",
						"name", in->name, "size_bytes",
						(json_int_t)in->size_bytes));
	cli_bytes(in->size_bytes, size, sizeof(size));
	printf("%s/%s: /dev/mapper/%s, used as before, captures its writes (%s)\n", a->group, a->volume,
	       in->name, size);
	printf("next: blkshipd ships it when it runs; a table that others load, as LVM does, ends it with an alarm\n");
	return CLI_DONE;
}

static int attach_dm(struct knl *nl, const struct attach *a)
{
	char params[128], why[DM_TEXT_BYTES], ignored[KNL_TEXT_BYTES];
	struct blockdev dev;
	struct insert in;
	bool made = false;
	uint32_t meta[2];
	int ret;

	/* A list is for a device that is ours from its beginning. */
	if (!a->named && !a->meta && insert_applies(a->device)) {
		ret = insert_prepare(a->device, &in, why);
		if (ret == 0) {
			ret = attach_insert(nl, a, &in);
			insert_fini(&in);
			return ret;
		}
		if (in.in_use)
			return cli_fail(ret == -EOPNOTSUPP ? CLI_REFUSED : cli_exit_of(ret),
					"device %s: it is in use, and %s; nothing was changed; release it first, or use --front tap",
					a->device, why);
	}
	ret = device_check(a, &dev);
	if (ret != CLI_DONE)
		return ret;
	/* device-mapper claims it for itself: let go first. */
	blockdev_close(&dev);
	snprintf(params, sizeof(params), "%u:%u 0 %s %s", dev.major, dev.minor, a->group, a->volume);
	if (a->meta) {
		size_t used = strlen(params);

		ret = meta_find(a, meta);
		if (ret != CLI_DONE)
			return ret;
		snprintf(params + used, sizeof(params) - used, " meta %u:%u", meta[0], meta[1]);
	}
	ret = group_make(nl, a, &made);
	if (ret != CLI_DONE)
		return ret;
	ret = dmdev_create(a->name, dev.size_bytes >> SECTOR_SHIFT, params, why);
	if (ret < 0) {
		if (made)
			knl_group_del(nl, a->group, ignored);
		return cli_fail(ret == -EEXIST ? CLI_REFUSED : CLI_FAILED,
				"attach %s to %s/%s: %s; nothing was changed; %s", a->device, a->group,
				a->volume, why, ret == -EEXIST ? "choose another --name, or detach that one" :
				"see `dmesg`");
	}
	if (a->json)
		return cli_print_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "group", a->group,
						"volume", a->volume, "device", a->device, "front", "dm",
						"name", a->name, "size_bytes",
						(json_int_t)dev.size_bytes));
	cli_bytes(dev.size_bytes, params, sizeof(params));
	printf("%s/%s: /dev/mapper/%s captures the writes to %s (%s)\n", a->group, a->volume, a->name,
	       a->device, params);
	printf("next: use /dev/mapper/%s in place of %s; blkshipd ships it when it runs\n", a->name,
	       a->device);
	return CLI_DONE;
}

static int attach_run(struct knl *nl, const struct attach *a)
{
	uint32_t meta[2];
	const struct tap_attach tap = {
		.group = a->group,
		.volume = a->volume,
		.device = a->device,
		.meta = a->meta ? meta : NULL,
		.ring_mib = a->ring_mib,
		.json = a->json,
	};
	int ret = a->meta && strcmp(a->front, "dm") != 0 ? meta_find(a, meta) : CLI_DONE;

	if (ret != CLI_DONE)
		return ret;
	return strcmp(a->front, "dm") == 0 ? attach_dm(nl, a) : tap_attach(nl, &tap);
}

int cmd_attach(const struct command *cmd, int argc, char **argv)
{
	struct attach a = { .front = "tap" };
	char why[KNL_TEXT_BYTES];
	struct knl *nl;
	int ret = attach_parse(cmd, argc, argv, &a);

	if (ret != CLI_DONE)
		return ret;
	if (knl_open(&nl, why) < 0)
		return cli_fail(CLI_FAILED, "attach %s: %s; nothing was changed", a.device, why);
	ret = attach_run(nl, &a);
	knl_close(nl);
	return ret;
}

/* -- detach -- */

/*
 * Refused before anything is changed: in use, or part of somebody else's table. Where
 * device-mapper feeds nothing it may be missing altogether.
 */
static int dm_check(const char *group, const char *volume, bool fed, char *name,
		    bool *has_device, bool *inserted)
{
	char why[DM_TEXT_BYTES];
	bool alone = false;
	int ret = dmdev_find(group, volume, name, &alone, why);

	*has_device = ret == 0;
	if (ret == -ENOENT || (ret < 0 && !fed))
		return CLI_DONE;
	if (ret < 0)
		return cli_fail(CLI_FAILED, "detach %s/%s: %s; nothing was changed", group, volume, why);
	if (!alone)
		return cli_fail(CLI_REFUSED, "detach %s/%s: /dev/mapper/%s has other targets besides; nothing was changed; load a table without blkship with dmsetup, then detach",
				group, volume, name);
	*inserted = insert_is_at(name, group, volume);
	ret = *inserted ? 0 : dmdev_open_count(name, why);
	if (ret > 0)
		return cli_fail(CLI_REFUSED, "detach %s/%s: device busy: /dev/mapper/%s is open %d times; nothing was changed; unmount or stop what uses it first",
				group, volume, name, ret);
	return CLI_DONE;
}

/* @front as the module names it. */
static int detach_one(struct knl *nl, const char *group, const char *volume, const char *front)
{
	char name[DM_NAME_BYTES], why[DM_TEXT_BYTES], reason[KNL_TEXT_BYTES];
	bool has_device = false, inserted = false;
	int ret = CLI_DONE;

	if (strcmp(front, "tap") != 0)
		ret = dm_check(group, volume, strcmp(front, "dm") == 0, name, &has_device,
			       &inserted);
	if (ret != CLI_DONE)
		return ret;
	/* On purpose: said first, so that the end of the device is no alarm. */
	ret = knl_volume_del(nl, group, volume, reason);
	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "detach %s/%s: %s; nothing was changed; `blkship ls` shows what there is",
				group, volume, reason);
	if (inserted)
		ret = insert_take_away(name, group, volume, why);
	else if (has_device)
		ret = dmdev_remove(name, why);
	else if (strcmp(front, "tap") != 0)
		insert_clean_up(group, volume);
	if (ret < 0 && ret != -ENOENT)
		return cli_fail(ret == -EBUSY ? CLI_REFUSED : CLI_FAILED,
				"detach %s/%s: %s; it still captures; stop what uses /dev/mapper/%s and detach again",
				group, volume, why, name);
	return CLI_DONE;
}

/* A group without volumes holds nothing but its ring. */
static void group_remove_if_empty(struct knl *nl, const char *group)
{
	struct knl_volume *left;
	char why[KNL_TEXT_BYTES];
	size_t nr;
	int ret;

	if (knl_volume_list(nl, group, &left, &nr, why) < 0)
		return;
	free(left);
	ret = nr ? 0 : knl_group_del(nl, group, why);
	if (ret == -EBUSY)
		fprintf(stderr, "blkship: group %s has no volumes any more; its ring stays until blkshipd lets go of it\n",
			group);
}

static int detach_named(struct knl *nl, const char *group, const char *volume)
{
	const char *front = "none";
	struct knl_volume *volumes;
	char why[KNL_TEXT_BYTES];
	size_t nr;
	int ret = knl_volume_list(nl, group, &volumes, &nr, why);

	if (ret < 0)
		return cli_fail(CLI_FAILED, "list: %s; nothing was changed", why);
	for (size_t i = 0; i < nr; i++)
		if (strcmp(volumes[i].name, volume) == 0)
			front = volumes[i].front;
	ret = detach_one(nl, group, volume, front);
	if (ret == CLI_DONE)
		group_remove_if_empty(nl, group);
	free(volumes);
	return ret;
}

struct group_list {
	char (*names)[BLKSHIP_NAME_BYTES];
	size_t nr;
};

static int group_remember(void *arg, const struct knl_group *g)
{
	struct group_list *list = arg;
	char (*names)[BLKSHIP_NAME_BYTES];

	names = realloc(list->names, (list->nr + 1) * sizeof(*names));
	if (!names)
		return -ENOMEM;
	list->names = names;
	snprintf(names[list->nr++], BLKSHIP_NAME_BYTES, "%s", g->name);
	return 0;
}

static int detach_all(struct knl *nl, unsigned int *nr_detached)
{
	struct group_list groups = { .nr = 0 };
	struct knl_volume *volumes = NULL;
	char why[KNL_TEXT_BYTES];
	int ret, worst = CLI_DONE;
	size_t nr = 0;

	ret = knl_volume_list(nl, NULL, &volumes, &nr, why);
	if (ret == 0)
		ret = knl_groups(nl, group_remember, &groups, why);
	if (ret < 0)
		worst = cli_fail(CLI_FAILED, "list: %s; nothing was changed", why);
	for (size_t i = 0; ret == 0 && i < nr; i++) {
		int one = detach_one(nl, volumes[i].group, volumes[i].name, volumes[i].front);

		if (one == CLI_DONE)
			++*nr_detached;
		else
			worst = one;	/* the others go all the same */
	}
	for (size_t i = 0; ret == 0 && i < groups.nr; i++)
		group_remove_if_empty(nl, groups.names[i]);
	free(groups.names);
	free(volumes);
	return worst;
}

int cmd_detach(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "all", no_argument, NULL, 'a' },
		CLI_COMMON_OPTIONS
	};
	bool all = false, json = false;
	char why[KNL_TEXT_BYTES];
	unsigned int nr = 0;
	struct knl *nl;
	int ret;

	while (cli_getopt(cmd, argc, argv, longs, &json) != -1)
		all = true;
	cli_check_args(cmd, argc, all ? 0 : 2, all ? 0 : 2);
	ret = knl_open(&nl, why);
	if (ret == -ENOENT && all) {
		ret = CLI_DONE;		/* without the module nothing is attached */
	} else if (ret < 0) {
		return cli_fail(cli_exit_of(ret), "detach: %s; nothing was changed", why);
	} else if (all) {
		ret = detach_all(nl, &nr);
		knl_close(nl);
	} else {
		ret = detach_named(nl, argv[optind], argv[optind + 1]);
		nr = ret == CLI_DONE;
		knl_close(nl);
	}
	if (json && ret == CLI_DONE)
		return cli_print_json(json_pack("{s:i}", "detached", (int)nr));
	if (ret == CLI_DONE)
		printf("%u volume%s detached\n", nr, nr == 1 ? "" : "s");
	return ret;
}
