/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * blkship kernel interface: the shared ring, the consumer's ioctls on
 * /dev/blkship and the generic netlink family "blkship".
 *
 * The ring is described with byte offsets in docs/RING.md. Everything here is
 * host byte order: it never leaves the machine.
 */
#ifndef _UAPI_LINUX_BLKSHIP_H
#define _UAPI_LINUX_BLKSHIP_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define BLKSHIP_ABI_VERSION	1
#define BLKSHIP_RING_MAGIC	0x474e5242U	/* "BRNG" */
#define BLKSHIP_NAME_BYTES	32		/* group, volume; with the NUL */
#define BLKSHIP_REGION_BYTES	65536U		/* one bit of a dirty map */
#define BLKSHIP_MAX_VOLUMES	256		/* of one group */
#define BLKSHIP_MAX_RECORD_BYTES (4U << 20)	/* payload of one descriptor */

/* What a descriptor records. */
enum blkship_op {
	BLKSHIP_OP_WRITE	= 1,	/* has payload */
	BLKSHIP_OP_ZERO		= 2,	/* write zeroes */
	BLKSHIP_OP_DISCARD	= 3,	/* discard, secure erase: don't-care after */
	BLKSHIP_OP_FLUSH	= 4,	/* only an oracle's aid; never makes a gap */
};

/*
 * How a descriptor ended. OPEN is the state between submission and completion;
 * at or below the watermark no descriptor is OPEN.
 */
enum blkship_state {
	BLKSHIP_STATE_OPEN	= 1,
	BLKSHIP_STATE_DONE	= 2,
	BLKSHIP_STATE_ABORTED	= 3,	/* no byte was issued: skip without a trace */
	BLKSHIP_STATE_FAILED	= 4,	/* range undefined; it is dirty */
	BLKSHIP_STATE_GAP	= 5,	/* timed out; range is dirty */
};

/* Flags of a descriptor. */
#define BLKSHIP_DESC_FUA	(1U << 0)
#define BLKSHIP_DESC_PREFLUSH	(1U << 1)

/* One captured operation. */
struct blkship_desc {
	__u64 seq;		/* number within the incarnation, dense over the group */
	__u64 time_ns;		/* wall clock, read before the seq was taken */
	__u64 offset_bytes;	/* in the volume, multiple of 512 */
	__u64 payload_pos;	/* monotonic; modulo payload_bytes is the place */
	__u32 length_bytes;	/* multiple of 512 */
	__u32 crc32c;		/* of the payload: from ~0, inverted at the end; else 0 */
	__u16 volume;		/* index in the group */
	__u8  op;		/* enum blkship_op */
	__u8  state;		/* enum blkship_state */
	__u32 flags;		/* BLKSHIP_DESC_* */
	__u64 reserved[2];
};

/*
 * Kernel positions and counters; read-only for the consumer. A "pos" counts
 * descriptors since the ring was made and never wraps; descriptor pos is at
 * index pos % desc_count.
 *
 * Read watermark_seq (acquire) first, then desc_head: every descriptor with a
 * seq up to that watermark is below that head, has ended and does not change
 * any more. newest_seq is never below watermark_seq.
 */
struct blkship_ring_kernel {
	__u32 magic;
	__u32 abi_version;
	__u32 desc_count;	/* power of two */
	__u32 region_bytes;
	__u64 payload_bytes;	/* power of two */
	__u32 incarnation;	/* 0: not granted yet */
	__u32 reserved0;
	__u8  instance[16];	/* random, made with the group: tells groups apart */
	__u64 reserved1[2];

	__u64 newest_seq;	/* newest seq taken by anything */
	__u64 watermark_seq;	/* all up to here have completed */
	__u64 desc_head;	/* descriptors reserved so far */
	__u64 watermark_pos;	/* descriptors below have ended */
	__u64 desc_tail;	/* descriptors below are released and may be reused */
	__u64 payload_head;	/* payload bytes reserved so far, with skipped ends */
	__u64 payload_tail;	/* payload bytes released */
	__u64 released_seq;	/* seq of the newest released descriptor; 0: none */

	__u64 captured;		/* operations captured */
	__u64 captured_bytes;
	__u64 uncaptured;	/* writes that became a gap: ring full, not capturing ... */
	__u64 marks;		/* events that marked a range dirty and took a seq */
	__u64 aborted;
	__u64 failed;
	__u64 overlaps;		/* writes held or marked because of one in flight */
	__u64 timeouts;
	__u64 overflows;	/* times capture stopped because the ring was full */
	__u64 rejected_positions; /* consumer positions that made no sense */
	__u64 renewed;		/* captured, aborted and captured again: see RING.md */
	__u64 reserved3[5];
};

/* Consumer positions; the consumer writes, the kernel trusts nothing here. */
struct blkship_ring_consumer {
	__u64 drained_pos;	/* descriptors below were read; for information */
	__u64 released_pos;	/* descriptors below may be reused */
	__u64 wake_pos;		/* wake once watermark_pos >= this; 0: never */
	__u64 wake_payload;	/* wake once this payload position has ended; 0: never */
	/*
	 * The consumer's own, kept for its successor as long as the group lives: the
	 * newest commit that the target said is durable. A target that has less lost it.
	 */
	__u64 durable_ordinal;
	__u64 reserved[3];
};

/* mmap offsets on /dev/blkship, and the layout of a ring in a memory file. */
#define BLKSHIP_MMAP_KERNEL	0x000000000ULL	/* PROT_READ, one page */
#define BLKSHIP_MMAP_CONSUMER	0x100000000ULL	/* PROT_READ|PROT_WRITE, one page */
#define BLKSHIP_MMAP_DESC	0x200000000ULL	/* PROT_READ, desc_count * 64 */
#define BLKSHIP_MMAP_PAYLOAD	0x300000000ULL	/* PROT_READ, payload_bytes */

/* -- ioctls on /dev/blkship; all but BIND need a bound file -- */

/* Bind this open file to a group as its one consumer: EBUSY when it has one. */
struct blkship_bind {
	char  group[BLKSHIP_NAME_BYTES];
	__u32 abi_version;	/* in: BLKSHIP_ABI_VERSION */
	__u32 reserved;
};

/*
 * Take over dirty regions for repair: those of [first, first + count) that are
 * dirty and not repairing become repairing, at most max_regions of them. Takes
 * a seq. bitmap gets one bit for each region of the window. In this and in
 * the other windows first_region is a multiple of 64.
 */
#define BLKSHIP_TAKE_MAX_REGIONS 4096U
struct blkship_take {
	__u16 volume;
	__u16 reserved;
	__u32 count;		/* <= BLKSHIP_TAKE_MAX_REGIONS */
	__u64 first_region;
	__u32 max_regions;
	__u32 taken;		/* out */
	__u64 seq;		/* out: t */
	__u64 bitmap;		/* user pointer, count bits rounded up to u64s */
};

/* The read-back of these regions is durable: clear their repairing bits. */
struct blkship_clear {
	__u16 volume;
	__u16 reserved;
	__u32 count;
	__u64 first_region;
	__u64 bitmap;		/* user pointer */
};

/*
 * Read a window of a volume's dirty or repairing map. EBUSY for the dirty map of a
 * suspended volume: it may be written unseen before it is fed again, so no pass may
 * find it clean.
 */
#define BLKSHIP_MAP_DIRTY	0
#define BLKSHIP_MAP_REPAIRING	1
struct blkship_map_read {
	__u16 volume;
	__u16 which;		/* BLKSHIP_MAP_* */
	__u32 count;		/* regions, multiple of 64 or the rest */
	__u64 first_region;
	__u64 bitmap;		/* user pointer */
};

/* Mark a range dirty; takes a seq, which is a gap in the stream. */
struct blkship_mark {
	__u16 volume;
	__u16 reserved[3];
	__u64 offset_bytes;
	__u64 length_bytes;
	__u64 seq;		/* out */
};

/*
 * Set the incarnation the target granted. Replacing another one than 0 starts
 * capture anew: every volume becomes dirty as a whole (one seq).
 */
struct blkship_incarnation {
	__u32 incarnation;
	__u32 reserved;
};

/* One member of the group. */
#define BLKSHIP_VOLUME_DIVERGED	(1U << 0)	/* capture ended behind our back */
#define BLKSHIP_VOLUME_DETACHED	(1U << 1)	/* no front end feeds it now */
#define BLKSHIP_VOLUME_SUSPENDED (1U << 2)	/* nothing is written; what comes next is open */
#define BLKSHIP_VOLUME_META	(1U << 8)	/* has a metadata device: docs/META.md */
#define BLKSHIP_VOLUME_META_OFF	(1U << 9)	/* which failed: a crash costs a full resync */
struct blkship_volume_info {
	__u16 volume;		/* in: index */
	__u16 reserved;
	__u32 flags;		/* BLKSHIP_VOLUME_* */
	__u64 size_bytes;
	__u64 dirty_regions;
	__u64 repairing_regions;
	__u32 dev_major;	/* device to read back from */
	__u32 dev_minor;
	__u64 dev_start_bytes;	/* where the volume begins on it */
	char  name[BLKSHIP_NAME_BYTES];
	/*
	 * What was kept, if anything was: the maps compare with the target as this
	 * incarnation of this instance left it. To be asked there, then SETTLE.
	 */
	__u32 kept_incarnation;	/* 0: nothing to ask */
	__u32 reserved1;
	__u8  kept_instance[16];
	__u64 kept_ordinal;	/* commit that must be durable there */
	__u64 kept_log_no;	/* of the list that was found */
	__u64 log_no;		/* of the list that is durable now; 0: none */
};

/*
 * The target has answered: what was kept fits, or else all is dirty (one seq).
 * Returns when that is on the metadata device.
 */
struct blkship_settle {
	__u16 volume;
	__u16 reserved;
	__u32 fits;		/* 1 or 0 */
	__u64 kept_log_no;	/* as in struct blkship_volume_info: ESTALE when it is another */
};

#define BLKSHIP_IOC_BIND	_IOW('B', 0x70, struct blkship_bind)
#define BLKSHIP_IOC_TAKE	_IOWR('B', 0x71, struct blkship_take)
#define BLKSHIP_IOC_CLEAR	_IOW('B', 0x72, struct blkship_clear)
#define BLKSHIP_IOC_MAP_READ	_IOW('B', 0x73, struct blkship_map_read)
#define BLKSHIP_IOC_MARK	_IOWR('B', 0x74, struct blkship_mark)
#define BLKSHIP_IOC_INCARNATION	_IOW('B', 0x75, struct blkship_incarnation)
#define BLKSHIP_IOC_VOLUME	_IOWR('B', 0x76, struct blkship_volume_info)
#define BLKSHIP_IOC_SETTLE	_IOW('B', 0x77, struct blkship_settle)

/* -- generic netlink -- */
#define BLKSHIP_GENL_NAME	"blkship"
#define BLKSHIP_GENL_VERSION	1
#define BLKSHIP_GENL_MCGRP_EVENTS "events"

enum blkship_cmd {
	BLKSHIP_CMD_UNSPEC,
	BLKSHIP_CMD_GROUP_NEW,		/* GROUP, [RING_BYTES] */
	BLKSHIP_CMD_GROUP_DEL,		/* GROUP; EBUSY while it has volumes or a consumer */
	BLKSHIP_CMD_GROUP_GET,		/* [GROUP], dump */
	BLKSHIP_CMD_VOLUME_GET,		/* [GROUP], dump */
	BLKSHIP_CMD_VOLUME_DEL,		/* GROUP, VOLUME: detach on purpose */
	/* Multicast: EVENT, GROUP, [VOLUME]; recv() gives ENOBUFS after a lost one. */
	BLKSHIP_CMD_EVENT,
	/*
	 * GROUP, VOLUME, DEV, [RING_BYTES], [META]: tap a disk, a partition or a device-mapper
	 * device, in use or not. Again with the same for a volume that diverged: all of
	 * it is read back.
	 */
	BLKSHIP_CMD_TAP_ADD,
	__BLKSHIP_CMD_MAX,
};
#define BLKSHIP_CMD_MAX (__BLKSHIP_CMD_MAX - 1)

enum blkship_attr {
	BLKSHIP_A_UNSPEC,
	BLKSHIP_A_PAD,
	BLKSHIP_A_GROUP,		/* NUL string */
	BLKSHIP_A_VOLUME,		/* NUL string */
	BLKSHIP_A_RING_BYTES,		/* u64 */
	BLKSHIP_A_VOLUME_INDEX,		/* u16 */
	BLKSHIP_A_SIZE_BYTES,		/* u64 */
	BLKSHIP_A_DIRTY_REGIONS,	/* u64 */
	BLKSHIP_A_REPAIRING_REGIONS,	/* u64 */
	BLKSHIP_A_DEV,			/* u32 major << 20 | minor, as the kernel's dev_t */
	BLKSHIP_A_FRONT,		/* NUL string: "dm", "tap", "none" */
	BLKSHIP_A_FLAGS,		/* u32 BLKSHIP_VOLUME_* */
	BLKSHIP_A_EVENT,		/* u32 enum blkship_event */
	BLKSHIP_A_INCARNATION,		/* u32 */
	BLKSHIP_A_CONSUMER,		/* u8: 1 when one is bound */
	BLKSHIP_A_NEWEST_SEQ,		/* u64 */
	BLKSHIP_A_WATERMARK_SEQ,	/* u64 */
	BLKSHIP_A_CAPTURED,		/* u64 */
	BLKSHIP_A_CAPTURED_BYTES,	/* u64 */
	BLKSHIP_A_UNCAPTURED,		/* u64 */
	BLKSHIP_A_OVERFLOWS,		/* u64 */
	BLKSHIP_A_FAILED,		/* u64 */
	BLKSHIP_A_OVERLAPS,		/* u64 */
	BLKSHIP_A_TIMEOUTS,		/* u64 */
	BLKSHIP_A_RING_USED_BYTES,	/* u64 */
	BLKSHIP_A_IN_FLIGHT,		/* u64 */
	BLKSHIP_A_UNSEEN,		/* u64: writes the auditor found that passed no tap */
	BLKSHIP_A_DEV_START_BYTES,	/* u64: where the volume begins on DEV */
	BLKSHIP_A_META,			/* u32: metadata device, as DEV */
	__BLKSHIP_A_MAX,
};
#define BLKSHIP_A_MAX (__BLKSHIP_A_MAX - 1)

enum blkship_event {
	BLKSHIP_EVENT_GROUP_NEW		= 1,
	BLKSHIP_EVENT_GROUP_DEL		= 2,
	BLKSHIP_EVENT_VOLUME_ADD	= 3,
	BLKSHIP_EVENT_VOLUME_DEL	= 4,	/* detached on purpose */
	BLKSHIP_EVENT_VOLUME_LOST	= 5,	/* front end went without detach: alarm */
	BLKSHIP_EVENT_OVERFLOW		= 6,
	BLKSHIP_EVENT_TIMEOUT		= 7,	/* an I/O does not end: alarm */
	BLKSHIP_EVENT_RESIZE		= 8,
	BLKSHIP_EVENT_UNSEEN		= 9,	/* a write passed the tap by: alarm */
	BLKSHIP_EVENT_DIVERGED		= 10,	/* a raw command may have changed data: alarm */
	BLKSHIP_EVENT_META_OFF		= 32,	/* a metadata device failed: alarm */
};

#endif /* _UAPI_LINUX_BLKSHIP_H */
