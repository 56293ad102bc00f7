// SPDX-License-Identifier: GPL-2.0-only
#include "content.h"

#include <blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../userspace/store/array.h"

#define SECTOR_BYTES	512	/* libblkid's, whatever the disk's is */
#define MAX_CONTENTS	1024

static void type_at(int fd, struct content *c)
{
	blkid_probe probe = blkid_new_probe();
	const char *type = NULL;

	if (probe && blkid_probe_set_device(probe, fd, c->offset_bytes, c->length_bytes) == 0) {
		blkid_probe_enable_superblocks(probe, 1);
		blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE);
		if (blkid_do_safeprobe(probe) == 0)
			blkid_probe_lookup_value(probe, "TYPE", &type, NULL);
		if (type)
			snprintf(c->type, sizeof(c->type), "%s", type);
	}
	blkid_free_probe(probe);
}

/* All there is, in the order in which it was found. */
struct contents {
	struct content *items;
	size_t nr, max;
};

static int add(struct contents *all, int fd, const struct content *c)
{
	if (all->nr == MAX_CONTENTS)
		return 0;
	if (!array_reserve(&all->items, &all->max, all->nr + 1))
		return -ENOMEM;
	all->items[all->nr] = *c;
	if (!c->why_not)
		type_at(fd, &all->items[all->nr]);
	all->nr++;
	return 0;
}

/* -- logical volumes -- */

static int read_all(int fd, void *buf, size_t bytes, uint64_t offset)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t got = pread(fd, (char *)buf + done, bytes - done, offset + done);

		if (got <= 0)
			return got < 0 ? -EIO : -EBADMSG;
		done += got;
	}
	return 0;
}

/* The text in a metadata area; it may go on at the area's begin. */
static int text_read(int fd, uint64_t area, uint64_t area_bytes, const struct lvm_text *where,
		     char *text)
{
	uint64_t first = area_bytes - where->offset;
	int ret;

	if (first > where->bytes)
		first = where->bytes;
	ret = read_all(fd, text, first, area + where->offset);
	return ret ? ret : read_all(fd, text + first, where->bytes - first, area + LVM_AREA_BYTES);
}

/* 0; -ENOMEM; -ENODATA there is none here; -EBADMSG, -E2BIG, -EIO: it cannot be understood. */
static int group_read(int fd, const struct content *pv, struct lvm_label *label,
		      struct lvm_group *group)
{
	uint8_t head[LVM_LABEL_BYTES], area[LVM_AREA_BYTES];
	struct lvm_text where;
	char *text;
	int ret = read_all(fd, head, sizeof(head), pv->offset_bytes);

	if (!ret)
		ret = lvm_label_find(head, label);
	if (!ret)
		ret = read_all(fd, area, sizeof(area), pv->offset_bytes + label->area_offset);
	if (!ret)
		ret = lvm_text_find(area, label, &where);
	if (ret)
		return ret;
	text = malloc(where.bytes);
	ret = text ? text_read(fd, pv->offset_bytes + label->area_offset, label->area_bytes,
			       &where, text) : -ENOMEM;
	if (!ret)
		ret = lvm_group_parse(text, &where, group);
	free(text);
	return ret;
}

static const char *type_why_not(const char *type)
{
	static const struct { const char *type, *why; } known[] = {
		{ "thin", "a thin logical volume, and only its pool's own metadata say where it lies" CONTENT_BY_LVM },
		{ "thin-pool", "a pool of thin logical volumes" CONTENT_BY_LVM },
		{ "raid1", "a mirror of which a part is rebuilt, moved or split off" CONTENT_BY_LVM },
		{ "mirror", "a mirror of the kind that notes nowhere which image is whole" CONTENT_BY_LVM },
		{ "snapshot", "a snapshot, or a logical volume into which one is being merged" CONTENT_BY_LVM },
		{ "stacked", "a logical volume that lies in another one, as while it is being moved" CONTENT_BY_LVM },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(type, known[i].type) == 0)
			return known[i].why;
	return "a logical volume that is neither linear nor striped" CONTENT_BY_LVM;
}

static const char *lv_why_not(const struct lvm_volume *lv, const struct content *pv)
{
	const struct lvm_piece *p = lv->pieces;

	if (lv->type[0])
		return type_why_not(lv->type);
	if (lv->nr_pieces > 1 || lv->nr_metas)
		return "a logical volume in several pieces, or a mirror, and there are too many of those" CONTENT_BY_LVM;
	if (p->offset_bytes > pv->length_bytes ||
	    p->length_bytes > pv->length_bytes - p->offset_bytes)
		return "a logical volume that goes on behind the end of its disk";
	return NULL;
}

/* Those that begin in this physical volume. */
static int add_volumes(struct contents *all, int fd, const struct content *pv,
		       const struct lvm_label *label, struct lvm_group *group)
{
	int ret = 0;

	for (size_t i = 0; i < group->nr_volumes && !ret; i++) {
		struct lvm_volume *lv = &group->volumes[i];
		struct content c = { .partition = pv->partition };

		if (lv->nr_pieces && memcmp(lv->pieces[0].pv, label->id, LVM_ID_BYTES) != 0)
			continue;
		snprintf(c.lv, sizeof(c.lv), "%s/%s", group->name, lv->name);
		c.why_not = lv_why_not(lv, pv);
		if (!lv->type[0] && (lv->nr_pieces > 1 || lv->nr_metas)) {
			c.pieces = lv->pieces;		/* taken over */
			c.nr_pieces = lv->nr_pieces;
			c.metas = lv->metas;
			c.nr_metas = lv->nr_metas;
			lv->pieces = lv->metas = NULL;
		} else if (!c.why_not) {
			c.offset_bytes = pv->offset_bytes + lv->pieces[0].offset_bytes;
			c.length_bytes = lv->pieces[0].length_bytes;
		}
		ret = add(all, fd, &c);
		if (all->nr == 0 || all->items[all->nr - 1].pieces != c.pieces) {
			free(c.pieces);		/* there was no room */
			free(c.metas);
		}
	}
	return ret;
}

static const char *pv_why_not(int error)
{
	switch (error) {
	case 0:
		return "a physical volume; its logical volumes are told of where they begin";
	case -ENODATA:
		return "a physical volume; what is on it is said on another one of its group" CONTENT_BY_LVM;
	case -E2BIG:
		return "a physical volume whose metadata have more in them than is looked at" CONTENT_BY_LVM;
	case -EIO:
		return "a physical volume whose metadata cannot be read";
	default:
		return "a physical volume whose metadata are damaged";
	}
}

/* What is found; and what is in it, if it is a physical volume: what that lacks is its own affair. */
static int add_nested(struct contents *all, int fd, const struct content *c)
{
	struct lvm_group group = { .nr_volumes = 0 };
	size_t at = all->nr;
	struct lvm_label label;
	struct content pv;
	int ret = add(all, fd, c);

	if (ret || all->nr == at || strcmp(all->items[at].type, "LVM2_member") != 0)
		return ret;
	pv = all->items[at];
	ret = group_read(fd, &pv, &label, &group);
	if (ret == -ENOMEM)
		return ret;
	if (!ret || ret == -ENODATA)
		memcpy(all->items[at].pv, label.id, sizeof(label.id));
	all->items[at].why_not = pv_why_not(ret);
	ret = ret ? 0 : add_volumes(all, fd, &pv, &label, &group);
	lvm_group_fini(&group);
	return ret;
}

/* -- partitions, and the whole -- */

static int find_partitions(int fd, struct contents *all)
{
	blkid_probe probe = blkid_new_probe();
	blkid_partlist list = NULL;
	int ret = 0;

	if (probe && blkid_probe_set_device(probe, fd, 0, 0) == 0) {
		blkid_probe_enable_partitions(probe, 1);
		list = blkid_probe_get_partitions(probe);
	}
	for (int i = 0; list && i < blkid_partlist_numof_partitions(list) && !ret; i++) {
		blkid_partition p = blkid_partlist_get_partition(list, i);
		struct content c;

		/* An extended partition is only a place for others. */
		if (!p || blkid_partition_is_extended(p))
			continue;
		c = (struct content){
			.partition = blkid_partition_get_partno(p),
			.offset_bytes = blkid_partition_get_start(p) * (uint64_t)SECTOR_BYTES,
			.length_bytes = blkid_partition_get_size(p) * (uint64_t)SECTOR_BYTES,
		};
		ret = add_nested(all, fd, &c);
	}
	blkid_free_probe(probe);
	return ret;
}

static int whole_of(int fd, struct content *out)
{
	off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

	if (end < 0)
		return -errno;
	*out = (struct content){ .length_bytes = end };
	return 0;
}

static int find(int fd, struct contents *all)
{
	struct content whole;
	int ret = whole_of(fd, &whole);

	if (!ret)
		ret = add_nested(all, fd, &whole);
	if (ret || all->items[0].type[0])
		return ret;
	ret = find_partitions(fd, all);
	if (!ret && all->nr > 1)
		memmove(all->items, all->items + 1, --all->nr * sizeof(*all->items));
	return ret;
}

int content_find(const char *path, struct content **out, size_t *nr)
{
	struct contents all = { .nr = 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret = find(fd, &all);

	if (fd >= 0)
		close(fd);
	if (ret) {
		content_free(all.items, all.nr);
		return ret;
	}
	*out = all.items;
	*nr = all.nr;
	return 0;
}

int content_whole(const char *path, struct content *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret = whole_of(fd, out);

	if (!ret)
		type_at(fd, out);
	if (fd >= 0)
		close(fd);
	return ret;
}

void content_free(struct content *found, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		free(found[i].pieces);
		free(found[i].metas);
	}
	free(found);
}

/*
 * The superblock may say that the kernel is to panic when the filesystem is found
 * damaged: that was meant for another machine. The original, or another point of it,
 * may be mounted here, too.
 */
const char *content_mount_options(const char *type)
{
	if (strcmp(type, "ext4") == 0 || strcmp(type, "ext3") == 0 || strcmp(type, "ext2") == 0)
		return "errors=remount-ro";
	if (strcmp(type, "xfs") == 0)
		return "nouuid";
	if (strcmp(type, "btrfs") == 0 || strcmp(type, "vfat") == 0)
		return "";
	return NULL;
}

const char *content_why_not(const struct content *c)
{
	static const struct { const char *type, *why; } known[] = {
		{ "", "nothing that is known" },
		{ "swap", "swap space" },
		{ "crypto_LUKS", "encrypted; map it with --device and open it with cryptsetup" },
		{ "linux_raid_member", "part of an md array; map it with --device and assemble it" },
	};

	if (c->why_not)
		return c->why_not;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(c->type, known[i].type) == 0)
			return known[i].why;
	return "not a filesystem that is mounted here; map it with --device and mount it by hand";
}
