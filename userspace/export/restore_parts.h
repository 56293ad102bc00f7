/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * restore_parts - which parts of a restore are done, also after it was interrupted.
 *
 * The outputs of a restore are cut into parts of equal size. A file names what is restored
 * to where, and each part once all of it is on the disk; who goes on does the others. It is
 * text:
 *
 *	blkship restore 1
 *	group erp
 *	timeline 00112233445566778899aabbccddeeff
 *	seq 1:4711
 *	part-bytes 4294967296
 *	format qcow2
 *	output 10737418240 data /srv/out/data.img.part
 *	.
 *	file 0 64769 1048603
 *	done 0 2 131072
 *	complete
 *
 * format is left out when it is raw. file has output, and the device and inode of the file it is
 * written to: another one in its place has nothing of what is done. done has output, part, bytes
 * of data in it. complete: all are done, and files get their names. A line that is cut off counts
 * for nothing.
 */
#ifndef BLKSHIP_RESTORE_PARTS_H
#define BLKSHIP_RESTORE_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct restore_part {
	size_t output;
	uint64_t start_bytes, end_bytes;
	uint64_t data_bytes;	/* in it, once it is done */
	bool taken, done;
};

struct restore_file {
	uint64_t device, inode;	/* 0: not known */
};

struct restore_parts {
	uint64_t part_bytes;
	struct restore_file *files;	/* by output */
	size_t nr_files, max_files;
	bool complete;
	struct restore_part *items;	/* by output, by offset */
	size_t nr, max;
	char *path;		/* of the file; NULL: it cannot be gone on with */
	int fd;
	char *head;		/* what the file has to begin with */
};

void restore_parts_init(struct restore_parts *p, uint64_t part_bytes);
void restore_parts_fini(struct restore_parts *p);

/** restore_parts_cut - the parts of the next output; 0 or -ENOMEM */
int restore_parts_cut(struct restore_parts *p, size_t output, uint64_t size_bytes);

/**
 * restore_parts_begin - make the file, with nothing done
 * @path: copied; @head: lines, as above up to the dot; copied
 * Return: 0; -errno.
 */
int restore_parts_begin(struct restore_parts *p, const char *path, const char *head);

/**
 * restore_parts_resume - read the file; what is in it is done
 * Return: 0; -ENOENT; -ESTALE it is of another restore; -errno.
 */
int restore_parts_resume(struct restore_parts *p, const char *path, const char *head);

/** restore_parts_done - the part's bytes are on the disk: note it there; 0 or -errno */
int restore_parts_done(struct restore_parts *p, struct restore_part *part);

/** restore_parts_file - note the file of an output; durable with the next part; 0 or -errno */
int restore_parts_file(struct restore_parts *p, size_t output, uint64_t device, uint64_t inode);

/** restore_parts_is_file - whether that is the file which was noted */
bool restore_parts_is_file(const struct restore_parts *p, size_t output, uint64_t device,
			   uint64_t inode);

/** restore_parts_complete - note that all are done; 0 or -errno */
int restore_parts_complete(struct restore_parts *p);

/** restore_parts_forget - remove the file */
void restore_parts_forget(struct restore_parts *p);

/** restore_parts_any - whether a part is done */
bool restore_parts_any(const struct restore_parts *p);

/**
 * restore_parts_parse - what of @text counts; pure
 * Return: 0; -ESTALE: it does not begin with the head.
 */
int restore_parts_parse(struct restore_parts *p, const char *head, const char *text);

#endif
