/* SPDX-License-Identifier: GPL-2.0-only */
/* sim_disk - the files and directory entries of sim_env; nothing else uses it. */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_SECTOR_BYTES 512

struct sim_inode {
	uint8_t *data;		/* as reads see it; zero past size */
	uint8_t *disk;		/* as it is on the platter; zero past disk_size */
	uint64_t *stamps;	/* per sector: 0 same, else the operation that changed it */
	uint64_t max_bytes;	/* of all three */
	uint64_t size, disk_size;
	uint64_t low, high;	/* sectors with a stamp lie in [low, high) */
	uint64_t cut;		/* lowest truncation since the last sync, or UINT64_MAX */
	unsigned int refs;
	bool is_dir;
	bool locked;
	const char *made_as;	/* path at which it was made */
	struct sim_inode *next;	/* of the spare ones */
};

struct sim_entry {
	char *path;
	uint64_t hash;
	struct sim_inode *now, *disk;
};

/* entry becomes inode, and other (of a rename) becomes nothing, together. */
struct sim_link {
	struct sim_entry *entry, *other;
	struct sim_inode *inode;
};

struct sim_disk {
	struct sim_entry **entries;
	size_t nr_entries, max_entries;
	struct sim_link *links;	/* since the last sync of their directory */
	size_t nr_links, max_links;
	struct sim_inode *spare;
	uint64_t limit_bytes, used_bytes;
	uint64_t random;
};

void *sim_alloc(size_t bytes);
void *sim_realloc(void *old, size_t bytes);
uint64_t sim_disk_random(struct sim_disk *disk, uint64_t bound);

void sim_disk_reset(struct sim_disk *disk, uint64_t seed);
void sim_disk_fini(struct sim_disk *disk);
void sim_disk_crash(struct sim_disk *disk);

struct sim_entry *sim_disk_entry(struct sim_disk *disk, const char *path);
bool sim_disk_parent(struct sim_disk *disk, const char *path);
void sim_disk_link(struct sim_disk *disk, struct sim_entry *entry, struct sim_inode *inode,
		   struct sim_entry *other);
void sim_disk_sync_dir(struct sim_disk *disk, const char *path);
int sim_disk_list(struct sim_disk *disk, const char *path,
		  void (*each)(void *arg, const char *name), void *arg);
bool sim_disk_fits(struct sim_disk *disk, const struct sim_inode *inode, uint64_t size);

struct sim_inode *sim_inode_create(struct sim_disk *disk, bool is_dir);
void sim_inode_put(struct sim_disk *disk, struct sim_inode *inode);
int64_t sim_inode_read(struct sim_inode *inode, void *buf, size_t bytes, uint64_t offset,
		       bool direct);
void sim_inode_write(struct sim_disk *disk, struct sim_inode *inode, const void *buf,
		     size_t bytes, uint64_t offset, uint64_t stamp);
void sim_inode_write_torn(struct sim_disk *disk, struct sim_inode *inode, const void *buf,
			  size_t bytes, uint64_t offset, uint64_t stamp);
void sim_inode_truncate(struct sim_disk *disk, struct sim_inode *inode, uint64_t size,
			uint64_t stamp);
void sim_inode_sync(struct sim_disk *disk, struct sim_inode *inode, uint64_t asked);
void sim_inode_sync_part(struct sim_disk *disk, struct sim_inode *inode);
void sim_inode_sync_fail(struct sim_disk *disk, struct sim_inode *inode);

#endif
