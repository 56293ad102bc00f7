// SPDX-License-Identifier: GPL-2.0-only
/* sim_disk - the files and directory entries of sim_env; see there. */
#include "sim_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DROPPED UINT64_MAX	/* a sync failed on it: clean to the cache, not on disk */
#define NO_CUT UINT64_MAX
#define SPARE_MAX_BYTES (1u << 20)

void *sim_realloc(void *old, size_t bytes)
{
	void *new = realloc(old, bytes);

	if (!new) {
		fprintf(stderr, "sim_env: out of memory\n");
		abort();
	}
	return new;
}

void *sim_alloc(size_t bytes)
{
	return memset(sim_realloc(NULL, bytes), 0, bytes);
}

/* splitmix64 */
uint64_t sim_disk_random(struct sim_disk *disk, uint64_t bound)
{
	uint64_t z = disk->random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31) % bound;
}

static bool coin(struct sim_disk *disk)
{
	return sim_disk_random(disk, 2);
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* -- inodes -- */

static uint64_t nr_sectors(uint64_t bytes)
{
	return (bytes + SIM_SECTOR_BYTES - 1) / SIM_SECTOR_BYTES;
}

static void *grow_zeroed(void *old, size_t old_bytes, size_t bytes)
{
	uint8_t *new = sim_realloc(old, bytes);

	memset(new + old_bytes, 0, bytes - old_bytes);
	return new;
}

static void inode_grow(struct sim_inode *inode, uint64_t bytes)
{
	uint64_t old = inode->max_bytes, max = old ? old : 16384;

	if (bytes <= old)
		return;
	while (max < bytes)
		max *= 2;
	inode->data = grow_zeroed(inode->data, old, max);
	inode->disk = grow_zeroed(inode->disk, old, max);
	inode->stamps = grow_zeroed(inode->stamps, nr_sectors(old) * sizeof(uint64_t),
				    nr_sectors(max) * sizeof(uint64_t));
	inode->max_bytes = max;
}

static void inode_free(struct sim_inode *inode)
{
	free(inode->data);
	free(inode->disk);
	free(inode->stamps);
	free(inode);
}

static void inode_set_clean(struct sim_inode *inode)
{
	inode->low = UINT64_MAX;
	inode->high = 0;
	inode->cut = NO_CUT;
}

struct sim_inode *sim_inode_create(struct sim_disk *disk, bool is_dir)
{
	struct sim_inode *inode = disk->spare;

	if (inode)
		disk->spare = inode->next;
	else
		inode = sim_alloc(sizeof(*inode));
	inode->is_dir = is_dir;
	inode->locked = false;
	inode->refs = 0;
	inode->size = inode->disk_size = 0;
	inode_set_clean(inode);
	return inode;
}

void sim_inode_put(struct sim_disk *disk, struct sim_inode *inode)
{
	uint64_t used;

	if (!inode || --inode->refs)
		return;
	disk->used_bytes -= inode->size;
	if (inode->max_bytes > SPARE_MAX_BYTES) {
		inode_free(inode);
		return;
	}
	used = inode->size > inode->disk_size ? inode->size : inode->disk_size;
	if (inode->max_bytes) {
		memset(inode->data, 0, used);
		memset(inode->disk, 0, used);
		memset(inode->stamps, 0, nr_sectors(inode->max_bytes) * sizeof(uint64_t));
	}
	inode->next = disk->spare;
	disk->spare = inode;
}

bool sim_disk_fits(struct sim_disk *disk, const struct sim_inode *inode, uint64_t size)
{
	uint64_t more = size > inode->size ? size - inode->size : 0;

	return !disk->limit_bytes || more == 0 ||
	       disk->used_bytes + more <= disk->limit_bytes;
}

static void set_size(struct sim_disk *disk, struct sim_inode *inode, uint64_t size)
{
	disk->used_bytes += size - inode->size;
	inode->size = size;
}

static void stamp_sector(struct sim_inode *inode, uint64_t sector, uint64_t stamp)
{
	uint64_t *at = &inode->stamps[sector];

	/* An older one stays: a sync after it must bring the sector over. */
	if (*at == 0 || *at == DROPPED)
		*at = stamp + 1;
	if (sector < inode->low)
		inode->low = sector;
	if (sector >= inode->high)
		inode->high = sector + 1;
}

void sim_inode_write(struct sim_disk *disk, struct sim_inode *inode, const void *buf,
		     size_t bytes, uint64_t offset, uint64_t stamp)
{
	if (bytes == 0)
		return;
	inode_grow(inode, offset + bytes);
	memcpy(inode->data + offset, buf, bytes);
	for (uint64_t s = offset / SIM_SECTOR_BYTES; s < nr_sectors(offset + bytes); s++)
		stamp_sector(inode, s, stamp);
	if (offset + bytes > inode->size)
		set_size(disk, inode, offset + bytes);
}

/* Sector by sector it happens or not; the size grows as far as something did. */
void sim_inode_write_torn(struct sim_disk *disk, struct sim_inode *inode, const void *buf,
			  size_t bytes, uint64_t offset, uint64_t stamp)
{
	uint64_t odds = sim_disk_random(disk, 5);
	size_t part;

	for (size_t done = 0; done < bytes; done += part) {
		part = SIM_SECTOR_BYTES - (offset + done) % SIM_SECTOR_BYTES;
		if (part > bytes - done)
			part = bytes - done;
		if (sim_disk_random(disk, 4) < odds)
			sim_inode_write(disk, inode, (const uint8_t *)buf + done, part,
					offset + done, stamp);
	}
}

int64_t sim_inode_read(struct sim_inode *inode, void *buf, size_t bytes, uint64_t offset,
		       bool direct)
{
	if (offset >= inode->size)
		return 0;
	bytes = min_u64(bytes, inode->size - offset);
	memcpy(buf, inode->data + offset, bytes);
	if (!direct || inode->low >= inode->high)
		return bytes;
	for (uint64_t s = offset / SIM_SECTOR_BYTES; s < nr_sectors(offset + bytes); s++) {
		uint64_t at = s * SIM_SECTOR_BYTES;

		/* A direct reader starts on a sector. */
		if (inode->stamps[s] == DROPPED)
			memcpy((uint8_t *)buf + (at - offset), inode->disk + at,
			       min_u64(SIM_SECTOR_BYTES, offset + bytes - at));
	}
	return bytes;
}

void sim_inode_truncate(struct sim_disk *disk, struct sim_inode *inode, uint64_t size,
			uint64_t stamp)
{
	inode_grow(inode, size);
	if (size < inode->size) {
		memset(inode->data + size, 0, inode->size - size);
		for (uint64_t s = nr_sectors(size); s < nr_sectors(inode->size); s++)
			inode->stamps[s] = 0;
		inode->cut = min_u64(inode->cut, size);
	}
	set_size(disk, inode, size);
}

/* The truncations reach the disk. */
static void inode_cut(struct sim_inode *inode)
{
	if (inode->cut < inode->disk_size) {
		memset(inode->disk + inode->cut, 0, inode->disk_size - inode->cut);
		inode->disk_size = inode->cut;
	}
	inode->cut = NO_CUT;
}

static void sector_to_disk(struct sim_inode *inode, uint64_t sector)
{
	uint64_t at = sector * SIM_SECTOR_BYTES;

	memcpy(inode->disk + at, inode->data + at, SIM_SECTOR_BYTES);
	inode->stamps[sector] = 0;
}

void sim_inode_sync(struct sim_disk *disk, struct sim_inode *inode, uint64_t asked)
{
	uint64_t low = UINT64_MAX, high = 0;

	inode_cut(inode);
	inode->disk_size = inode->size;
	for (uint64_t s = inode->low; s < inode->high; s++) {
		uint64_t stamp = inode->stamps[s];

		if (stamp == 0)
			continue;
		if (stamp != DROPPED && (stamp <= asked + 1 || coin(disk))) {
			sector_to_disk(inode, s);
			continue;
		}
		if (low == UINT64_MAX)
			low = s;
		high = s + 1;
	}
	inode->low = low;
	inode->high = high;
}

void sim_inode_sync_part(struct sim_disk *disk, struct sim_inode *inode)
{
	for (uint64_t s = inode->low; s < inode->high; s++)
		if (inode->stamps[s] && inode->stamps[s] != DROPPED &&
		    (s + 1) * SIM_SECTOR_BYTES <= inode->disk_size && coin(disk))
			sector_to_disk(inode, s);
}

/* Each sector got there after all, or is given up by the cache, or waits on. */
void sim_inode_sync_fail(struct sim_disk *disk, struct sim_inode *inode)
{
	uint64_t there = sim_disk_random(disk, 5);	/* of 4 */

	if (there) {
		inode_cut(inode);
		inode->disk_size = inode->size;
	}
	for (uint64_t s = inode->low; s < inode->high; s++) {
		if (!inode->stamps[s] || inode->stamps[s] == DROPPED)
			continue;
		if (sim_disk_random(disk, 4) < there)
			sector_to_disk(inode, s);
		else if (coin(disk))
			inode->stamps[s] = DROPPED;
	}
}

/* After this the platter is all there is. */
static void inode_crash(struct sim_disk *disk, struct sim_inode *inode)
{
	uint64_t odds = sim_disk_random(disk, 5), size;

	if (inode->cut != NO_CUT && coin(disk))
		inode_cut(inode);
	size = inode->disk_size;
	if (inode->size > size) {
		uint64_t more = inode->size - size;

		size += coin(disk) ? more : sim_disk_random(disk, more + 1);
	}
	for (uint64_t s = inode->low; s < inode->high; s++) {
		if (inode->stamps[s] && inode->stamps[s] != DROPPED &&
		    sim_disk_random(disk, 4) < odds)
			sector_to_disk(inode, s);
		inode->stamps[s] = 0;
	}
	if (inode->max_bytes) {
		uint64_t end = inode->size > inode->disk_size ? inode->size : inode->disk_size;

		end = min_u64(nr_sectors(end) * SIM_SECTOR_BYTES, inode->max_bytes);
		if (end > size)
			memset(inode->disk + size, 0, end - size);
		memcpy(inode->data, inode->disk, end);
	}
	set_size(disk, inode, size);
	inode->disk_size = size;
	inode_set_clean(inode);
}

/* -- entries -- */

struct sim_entry *sim_disk_entry(struct sim_disk *disk, const char *path)
{
	uint64_t hash = 14695981039346656037u;
	struct sim_entry *entry;

	for (const char *c = path; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 1099511628211u;
	for (size_t i = 0; i < disk->nr_entries; i++)
		if (disk->entries[i]->hash == hash && !strcmp(disk->entries[i]->path, path))
			return disk->entries[i];
	if (disk->nr_entries == disk->max_entries) {
		disk->max_entries = disk->max_entries ? disk->max_entries * 2 : 32;
		disk->entries = sim_realloc(disk->entries,
					    disk->max_entries * sizeof(*disk->entries));
	}
	entry = sim_alloc(sizeof(*entry));
	entry->path = strdup(path);
	entry->hash = hash;
	disk->entries[disk->nr_entries++] = entry;
	return entry;
}

static size_t parent_length(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash - path : 0;
}

/* Is there the directory that path lies in? The root always is. */
bool sim_disk_parent(struct sim_disk *disk, const char *path)
{
	size_t length = parent_length(path);
	struct sim_entry *entry;
	char parent[4096];

	if (length == 0)
		return true;
	if (length >= sizeof(parent))
		return false;
	memcpy(parent, path, length);
	parent[length] = 0;
	entry = sim_disk_entry(disk, parent);
	return entry->now && entry->now->is_dir;
}

static void inode_get(struct sim_inode *inode)
{
	if (inode)
		inode->refs++;
}

static void set_now(struct sim_disk *disk, struct sim_entry *entry, struct sim_inode *inode)
{
	struct sim_inode *old = entry->now;

	inode_get(inode);
	entry->now = inode;
	sim_inode_put(disk, old);
}

static void set_disk(struct sim_disk *disk, struct sim_entry *entry, struct sim_inode *inode)
{
	struct sim_inode *old = entry->disk;

	inode_get(inode);
	entry->disk = inode;
	sim_inode_put(disk, old);
}

void sim_disk_link(struct sim_disk *disk, struct sim_entry *entry, struct sim_inode *inode,
		   struct sim_entry *other)
{
	if (disk->nr_links == disk->max_links) {
		disk->max_links = disk->max_links ? disk->max_links * 2 : 16;
		disk->links = sim_realloc(disk->links, disk->max_links * sizeof(*disk->links));
	}
	inode_get(inode);
	disk->links[disk->nr_links++] = (struct sim_link){ entry, other, inode };
	set_now(disk, entry, inode);
	if (other)
		set_now(disk, other, NULL);
}

static void link_apply(struct sim_disk *disk, const struct sim_link *link)
{
	set_disk(disk, link->entry, link->inode);
	if (link->other)
		set_disk(disk, link->other, NULL);
}

/* As parent_length() counts: what lies in the root has a parent of length 0. */
static size_t dir_length(const char *path)
{
	return strcmp(path, "/") ? strlen(path) : 0;
}

void sim_disk_sync_dir(struct sim_disk *disk, const char *path)
{
	size_t length = dir_length(path), kept = 0;

	for (size_t i = 0; i < disk->nr_links; i++) {
		struct sim_link *link = &disk->links[i];

		if (parent_length(link->entry->path) == length &&
		    !memcmp(link->entry->path, path, length)) {
			link_apply(disk, link);
			sim_inode_put(disk, link->inode);
		} else {
			disk->links[kept++] = *link;
		}
	}
	disk->nr_links = kept;
}

int sim_disk_list(struct sim_disk *disk, const char *path,
		  void (*each)(void *arg, const char *name), void *arg)
{
	struct sim_entry *dir = sim_disk_entry(disk, path);
	size_t length = dir_length(path);

	if (!dir->now)
		return -ENOENT;
	for (size_t i = 0; i < disk->nr_entries; i++) {
		struct sim_entry *entry = disk->entries[i];

		if (entry->now && parent_length(entry->path) == length &&
		    !memcmp(entry->path, path, length))
			each(arg, entry->path + length + 1);
	}
	return 0;
}

/* -- the whole disk -- */

void sim_disk_crash(struct sim_disk *disk)
{
	bool again;

	for (size_t i = 0; i < disk->nr_links; i++) {
		if (coin(disk))
			link_apply(disk, &disk->links[i]);
		sim_inode_put(disk, disk->links[i].inode);
	}
	disk->nr_links = 0;
	for (size_t i = 0; i < disk->nr_entries; i++)
		set_now(disk, disk->entries[i], disk->entries[i]->disk);
	do {	/* what lies in a directory that is gone, is gone */
		again = false;
		for (size_t i = 0; i < disk->nr_entries; i++) {
			struct sim_entry *entry = disk->entries[i];

			if (entry->now && !sim_disk_parent(disk, entry->path)) {
				set_now(disk, entry, NULL);
				set_disk(disk, entry, NULL);
				again = true;
			}
		}
	} while (again);
	for (size_t i = 0; i < disk->nr_entries; i++)
		if (disk->entries[i]->now)
			inode_crash(disk, disk->entries[i]->now);
}

static void entries_free(struct sim_disk *disk)
{
	for (size_t i = 0; i < disk->nr_entries; i++) {
		free(disk->entries[i]->path);
		free(disk->entries[i]);
	}
	disk->nr_entries = 0;
}

static void disk_drop(struct sim_disk *disk)
{
	for (size_t i = 0; i < disk->nr_links; i++)
		sim_inode_put(disk, disk->links[i].inode);
	disk->nr_links = 0;
	for (size_t i = 0; i < disk->nr_entries; i++) {
		set_now(disk, disk->entries[i], NULL);
		set_disk(disk, disk->entries[i], NULL);
	}
}

void sim_disk_reset(struct sim_disk *disk, uint64_t seed)
{
	disk_drop(disk);
	/* Their order says who is asked first what became of it. */
	entries_free(disk);
	disk->random = seed;
	disk->limit_bytes = 0;
}

void sim_disk_fini(struct sim_disk *disk)
{
	struct sim_inode *next;

	disk_drop(disk);
	entries_free(disk);
	for (struct sim_inode *inode = disk->spare; inode; inode = next) {
		next = inode->next;
		inode_free(inode);
	}
	free(disk->entries);
	free(disk->links);
}
