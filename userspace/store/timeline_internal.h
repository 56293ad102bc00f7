/* SPDX-License-Identifier: GPL-2.0-only */
/* timeline_internal - what timeline*.c, index*.c and view*.c share. */
#ifndef BLKSHIP_TIMELINE_INTERNAL_H
#define BLKSHIP_TIMELINE_INTERNAL_H

#include "lease.h"
#include "manifest.h"
#include "pack_aside.h"
#include "points.h"
#include "points_retain.h"
#include "segment_write.h"
#include "timeline.h"

struct segment_scan;

/* A commit that was received and is not durable. */
struct timeline_pending {
	uint8_t *record;
	struct segment_index *index;
	size_t first_extent, nr_extents;
};

/* The batch that no commit has closed. */
struct timeline_batch {
	uint32_t nr_units;
	uint32_t units_crc;
	uint64_t bytes;
	uint32_t disk_units_crc;	/* the same, of the units as they lie on disk */
	uint64_t disk_bytes;
	uint64_t nr_extents;
	bool has_record, has_readback;
	uint64_t record_label;	/* all its records have this one */
	uint64_t min_stamp, max_stamp; /* of its read-backs */
	uint64_t readback_no;	/* highest in it */
};

/* What the commits received say, durable or not. */
struct timeline_received {
	uint64_t cut_seq;
	uint64_t ordinal;
	uint64_t time_ns;
	uint64_t readback_no;
	uint64_t hold_id;
	uint64_t last_gap_seq;
	uint64_t repaired_t0;
	struct commit_hold open_holds[COMMIT_MAX_OPEN_HOLDS];
	size_t nr_open_holds;
};

/* Up to where a points file goes; last_ordinal 0: none is in use. */
struct points_settled {
	uint64_t last_ordinal, last_cut_seq, last_segment;
};

/* What a job of the index makes; the first that has something to do is next. */
enum index_kind {
	INDEX_REMOVE,
	INDEX_MERGE,
	INDEX_SEGMENT,
	INDEX_POINTS,
	INDEX_MERGE_ALL,	/* only for what it leaves out; it may take long */
	INDEX_PACK,
	INDEX_NR_KINDS
};

/* How things stood when the index was last looked through for what is dead. */
struct pack_looked {
	uint64_t segment, nr_dropped;
	bool more;	/* was found than was done */
};

struct timeline_packing {
	bool on;		/* space is to be given back */
	bool began;		/* since the timeline was opened */
	struct pack_looked looked;
	struct pack_asides asides;
	uint64_t need_bytes;	/* there was no room for so much; 0: there was enough */
	uint64_t retry_ns;	/* monotonic: not before */
	uint64_t removed_bytes;	/* of segments and packs, since the timeline was opened ... */
	uint64_t packed_bytes;	/* ... and of the packs in their place */
	uint64_t gone_segment;	/* of the runs side by side with most that would be left out ... */
	uint64_t nr_gone;	/* ... of their entries, were they merged ... */
	uint64_t nr_dropped;	/* ... and has, since the timeline was opened */
};

/* Files that something durable stands for: nobody who comes now needs them. */
struct timeline_unneeded {
	char (*names)[32];
	size_t nr, max;
};

struct timeline {
	struct env *env;
	char *dir;
	bool read_only;
	struct env_file *lock;
	struct manifest manifest;
	struct points points;	/* durable commits only */
	struct segment_writer writer;
	bool writer_ready;
	uint64_t recovering;	/* segment in hand */
	uint64_t nr_segments;	/* a reader's: that hold what points says */
	uint64_t *bad_runs;	/* numbers of those that are of no use */
	size_t nr_bad_runs, max_bad_runs;
	struct points_settled settled;	/* what of the points is in the points file */
	bool points_bad;	/* the points file is of no use */
	struct timeline_remade remade; /* the manifest, with TIMELINE_REBUILD */
	bool rebuild;		/* TIMELINE_REBUILD ... */
	bool rebuilt;		/* ... and it was needed */
	uint64_t nr_back;	/* of the commits, that had been dropped */
	uint64_t age_base_ns;	/* the clock of retention stood there ... */
	uint64_t age_base_mono_ns; /* ... at that monotonic time */
	struct leases leases;	/* of readers, as they were seen last */
	int leases_error;	/* -errno: which there are is not known */
	unsigned int nr_put_off; /* retentions in a row that came to nothing at their end ... */
	bool retain_waits;	/* ... the last just now: one points file goes before the next */
	uint64_t retained_ns;	/* monotonic: when retention was last applied ... */
	bool retained;		/* ... since the timeline was opened */
	uint64_t points_no;	/* a reader's: the points file that points comes from */
	bool points_mend;	/* of its two copies one is bad: it is to be made anew */
	struct timeline_packing packing;
	struct timeline_unneeded unneeded;
	bool indexing;		/* a job is under way */
	bool job_failed[INDEX_NR_KINDS]; /* the last of its kind */

	struct timeline_received received;
	struct timeline_batch batch;
	struct timeline_pending *pending;
	size_t nr_pending, max_pending;
	uint64_t told_durable_ns; /* monotonic: when the manifest was last told of a segment ... */
	bool told_durable;	/* ... since the timeline was opened */
	int broken;		/* no memory for points: the timeline must be reopened */

	void (*progress)(void *arg);
	void *progress_arg;
	const struct keyring *keys;	/* the caller's; NULL: none */
	struct timeline_hole *holes;	/* in the order in which they were found */
	size_t nr_holes, max_holes;
	bool damaged;
	bool ends_early;	/* what was durable is missing at the end */
	char damage[TIMELINE_TEXT_BYTES];
	uint8_t record[COMMIT_MAX_BYTES] __attribute__((aligned(8)));
	uint8_t unit[UNIT_MAX_BYTES] __attribute__((aligned(8)));	/* encrypted */
};

/* timeline_ingest.c */
void timeline_durable(void *arg, uint64_t ordinal);
void timeline_received_reset(struct timeline *tl);

/* timeline.c: a durable commit, live or found by recovery; 0 or -errno. */
int timeline_take_commit(struct timeline *tl, const struct commit_view *commit,
			 const struct footer_extent *extents, size_t nr_extents);

/* timeline.c: one of its segments is to be read: segment_scan_init(), and how it may end. */
void timeline_scan_init(const struct timeline *tl, struct segment_scan *scan, uint64_t number,
			uint64_t first_ordinal);

/*
 * timeline.c: read it; -EBADMSG if that does not find all that is known to have been in it: of the
 * last one that there is, what the points file has; of one in a hole, all.
 */
int timeline_scan(const struct timeline *tl, struct segment_scan *scan);

/* timeline.c: what the points say of volumes, told to who asks for volumes. */
void timeline_volumes_renew(struct timeline *tl);

/* timeline.c: a points file has it all up to the end of this segment. */
void timeline_points_settled(struct timeline *tl, const struct points *stored,
			     uint64_t last_segment);

/* index_runs.c: a run does not check; the one of use that has a segment, or NULL; a reader's runs
 * as the manifest has them now; a writer's are looked at. */
void timeline_run_bad(struct timeline *tl, uint64_t number);
bool timeline_run_is_bad(const struct timeline *tl, uint64_t number);
const struct manifest_run *timeline_run_of(const struct timeline *tl, uint64_t segment);
int timeline_runs_reload(struct timeline *tl);
void timeline_runs_look(struct timeline *tl);

/* index_remove.c: what nothing names is removed now; @name soon, by a job, or when the timeline
 * is opened. */
void timeline_strays_remove(struct timeline *tl);
void timeline_remove(struct timeline *tl, const char *name);

/* timeline_retain.c: the clock of retention begins to run, or runs on from @ns. */
void timeline_age_set(struct timeline *tl, uint64_t ns);
uint64_t timeline_age_now(const struct timeline *tl);
/* See which points are read: 0; -errno: that is not known, nothing may be dropped. */
int timeline_leases_look(struct timeline *tl);
/* The same, and their cuts, in any order; *cuts is free()d. */
int timeline_leased_cuts(struct timeline *tl, uint64_t **cuts, size_t *nr);
/* The first cut past where a branch ever took over, and nothing goes; 0: none did. */
uint64_t timeline_old_line(const struct timeline *tl);
/* For a job: what stays; *@past and *@pinned are free()d. 0 or -ENOMEM. */
int timeline_retain_get(const struct timeline *tl, struct points_retain *out,
			struct retention_past **past, uint64_t **pinned);
/* Whether retention is due, only if there is a policy; it was applied now. */
bool timeline_retain_due(const struct timeline *tl);
void timeline_retained(struct timeline *tl);

/* points_rebuild.c: name a new points file in the place of one that is lost; @now_ns: where the
 * clock of retention begins. 0; -EUCLEAN and timeline_damage(); -errno. */
int timeline_points_rebuild(struct timeline *tl, uint64_t now_ns);

/* -- timeline_holes.c -- */

/* Whether it is in a hole that is known already. */
bool timeline_is_lost(const struct timeline *tl, uint64_t segment);
/* Whether such a hole begins behind this segment with what follows its last batch. */
bool timeline_is_lost_behind(const struct timeline *tl, uint64_t segment, uint64_t last_ordinal);

/*
 * What a lost segment may have had, of those that the points file answers for; or of one that was
 * found lost when the timeline was opened.
 * @before: the last batch there is before what is lost, and all before it; UINT64_MAX: not known
 * Return: 0; -EBADMSG nothing else knows which commits it had; -ENOMEM.
 */
int timeline_hole_get(struct timeline *tl, uint64_t segment, uint64_t before,
		      struct timeline_hole *out);

/*
 * Recovery goes on behind segments of which nothing says what they had: neither their extents nor
 * their gaps and holds. 0 or -ENOMEM.
 */
int timeline_hole_unknown(struct timeline *tl, uint64_t first_segment, uint64_t last_segment,
			  uint64_t last_ordinal);

/* All commits are known now. */
void timeline_holes_end(struct timeline *tl);

/* timeline_recover.c: fill points, and for a writer prepare the writer. */
int timeline_recover(struct timeline *tl, char *why);

#endif
