/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rados_format - how files and directories lie in RADOS objects. docs/RADOS.md has it in
 * words. Pure: names, values and arithmetic; what comes from the cluster is checked here.
 */
#ifndef BLKSHIP_RADOS_FORMAT_H
#define BLKSHIP_RADOS_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RADOS_PREFIX		"rados:"
#define RADOS_PIECE_BYTES	(4u << 20)	/* of a file in one object */
#define RADOS_PIECES_STEP	16u		/* a file may have so many without telling */
#define RADOS_PIECES_MAX	(1u << 18)	/* 1 TiB: who looks for an end asks for each */
#define RADOS_NAME_BYTES	256		/* of a file in its directory */
#define RADOS_PATH_BYTES	512		/* of a directory below the location */
#define RADOS_OBJECT_BYTES	(RADOS_PATH_BYTES + RADOS_NAME_BYTES + 8)
#define RADOS_ID_BYTES		16
#define RADOS_PIECE_NAME_BYTES	48	/* of the object that is a piece of a file */
#define RADOS_OWNER_BYTES	256

#define RADOS_VERSION		1
#define RADOS_KIND_FILE		1
#define RADOS_KIND_DIRECTORY	2

/* Value of the attribute "blkship" of the object "d/", the top directory. */
#define RADOS_ROOT_MAGIC	"BSRD"

struct rados_root {
	uint8_t magic[4];
	uint16_t version;
	uint16_t reserved;
	uint32_t piece_bytes;
	uint32_t pieces_step;
} __attribute__((packed));

/* Value of the key "n/NAME" (a name) or "t/ID" (removed) of a directory. */
struct rados_entry {
	uint16_t version;
	uint8_t kind;
	uint8_t reserved[5];
	uint64_t removed_ns;		/* of "t/ID" */
	uint8_t id[RADOS_ID_BYTES];	/* of a directory 0 */
} __attribute__((packed));

/* Value of the attribute "pieces" of a file's first object. */
struct rados_pieces {
	uint16_t version;
	uint16_t reserved;
	uint32_t limit;
} __attribute__((packed));

/* A store's place, "rados:POOL" or "rados:POOL/NAMESPACE", taken apart. */
struct rados_location {
	char pool[64];
	char space[64];		/* "": the pool's default namespace */
};

/** rados_location_parse - 0, or -EINVAL for what is no location */
int rados_location_parse(const char *text, struct rados_location *out);

/**
 * rados_path_split - what follows the location, as directory and name
 * @path: "" (the top), "/a", "/a/b", ...
 * @dir: out, RADOS_PATH_BYTES: "" or "a" or "a/b"
 * @name: out, RADOS_NAME_BYTES: "" for the top itself
 * Return: 0; -EINVAL for empty, "." and ".." parts; -ENAMETOOLONG.
 */
int rados_path_split(const char *path, char *dir, char *name);

/** rados_name_check - 0; -EBADMSG: no name that a file in a directory can have */
int rados_name_check(const char *name);

/** rados_piece_object - name of the object with piece @nr of a file */
void rados_piece_object(const uint8_t id[RADOS_ID_BYTES], uint32_t nr,
			char object[RADOS_PIECE_NAME_BYTES]);

/** rados_id_text - 32 hexadecimal digits and a zero byte */
void rados_id_text(const uint8_t id[RADOS_ID_BYTES], char text[33]);

/* -- values: encoders fill, decoders check; -EPROTONOSUPPORT a newer version, -EBADMSG -- */

void rados_root_encode(struct rados_root *root);
int rados_root_check(const void *buf, size_t bytes);
void rados_entry_encode(struct rados_entry *e, uint8_t kind, const uint8_t *id,
			uint64_t removed_ns);
int rados_entry_check(const void *buf, size_t bytes, struct rados_entry *out);
void rados_pieces_encode(struct rados_pieces *p, uint32_t limit);
int rados_pieces_check(const void *buf, size_t bytes, uint32_t *limit);

/** rados_pieces_limit - the limit that a file needs before piece @nr is written */
uint32_t rados_pieces_limit(uint32_t nr);

/* A process that owns a lock: what its successor has to know of it. */
struct rados_owner {
	char host[72];
	char machine[40];	/* /etc/machine-id; "-": none */
	char boot[40];		/* a random one for each boot */
	uint64_t pid_space;	/* in which the pid means something */
	uint32_t pid;
	uint64_t started;	/* in ticks since boot: a pid is used again */
	uint64_t nonce;		/* of the lock: a process may have several */
};

/** rados_owner_format - as the text that is the lock's cookie */
void rados_owner_format(const struct rados_owner *o, char text[RADOS_OWNER_BYTES]);

/** rados_owner_parse - 0, or -EBADMSG: then nothing is known of it */
int rados_owner_parse(const char *text, struct rados_owner *out);

/* What the machine shows of a process. */
struct rados_sighting {
	bool exists;
	uint64_t started;		/* as in struct rados_owner; 0: that is not shown */
};

enum rados_fate {
	RADOS_RUNS,
	RADOS_GONE,			/* that was proven */
	RADOS_ELSEWHERE,		/* not of this machine, or of another pid namespace */
	RADOS_HIDDEN,			/* its pid is in use; whether by it is not shown */
};

/**
 * rados_owner_fate - whether a process has ended
 * @self: who asks
 * @seen: of @o's pid, by who asks
 * Only of processes of this machine something can be proven.
 */
enum rados_fate rados_owner_fate(const struct rados_owner *o, const struct rados_owner *self,
				 const struct rados_sighting *seen);

#endif
