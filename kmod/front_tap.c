// SPDX-License-Identifier: GPL-2.0
/*
 * The tap: a front end for disks that are in use and stay as they are.
 *
 * Fed by three tracepoints of the block layer, feeds stage [1 capture] by
 * observe.c:
 *   block_bio_queue	once for every bio, before it is split
 *   block_rq_complete	before its bios advance: every request, by whatever road
 *			it came, so the auditor is here, too
 *   block_bio_complete	what ends without a request
 *
 * The probes run with preemption off, in any context, and find a disk's taps in
 * a small hash table under RCU, after a look at the address of its queue.
 * They are there while anything is tapped. What is tapped is up to tap_attach.c.
 */
#include <linux/blk-crypto.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/hash.h>
#include <linux/rculist.h>
#include <linux/tracepoint.h>
#include <trace/events/block.h>

#include "compat.h"
#include "observe.h"
#include "raw_command.h"
#include "tap.h"

#define BUCKET_BITS	5

/* What is longer is not captured: the copy is done with preemption off. */
#define COPY_MAX_BYTES	(16U << 20)

/* All change under the lock of tap_attach.c; probes read the first under RCU. */
static struct hlist_head buckets[1 << BUCKET_BITS];
static size_t nr_shown;
/*
 * The bits in which the addresses of all tapped disks' queues agree, and such an
 * address: what differs there is not tapped. Bits are only taken away while there
 * are probes, so that at any moment all that is tapped passes.
 */
static unsigned long agreed_bits;
static unsigned long agreed_queue;

static struct hlist_head *bucket_of(const struct gendisk *disk)
{
	return &buckets[hash_ptr(disk, BUCKET_BITS)];
}

/* -- probes -- */

/* The sectors of this range that belong to the volume, as it counts them. */
static bool tap_span(const struct blkship_tap *tap, u64 sector, u64 sectors,
		     struct blkship_span *span)
{
	u64 last = sector + sectors - 1;

	if (unlikely(last < tap->first || sector > tap->last))
		return false;
	span->first = max(sector, tap->first) - tap->first;
	span->last = min(last, tap->last) - tap->first;
	return true;
}

static bool bio_span(const struct blkship_tap *tap, const struct bio *bio,
		     u32 bytes, struct blkship_span *span)
{
	return tap_span(tap, bio->bi_iter.bi_sector, bytes >> SECTOR_SHIFT,
			span);
}

/* What changes data; of raw commands also those that seem to read. */
static bool op_matters(enum req_op op)
{
	return op_is_write(op) || unlikely(op == REQ_OP_DRV_IN);
}

/*
 * Of a whole disk nothing lies behind the end, nor of a partition for who writes to
 * that: the device has grown, and nobody may call the volume current before it
 * has, too.
 */
static noinline void tap_beyond(struct blkship_tap *tap, const struct bio *bio)
{
	if (tap->bdev.bdev && (bio->bi_bdev == tap->bdev.bdev ||
			       !bdev_is_partition(tap->bdev.bdev)))
		blkship_observe_outgrown(tap->front.vol);
}

/* A write that is not like most, or what else changes data. */
static noinline void tap_submit_odd(struct blkship_tap *tap, struct bio *bio)
{
	u8 op = blkship_op_of(bio);
	bool capture = true;
	struct blkship_span span;
	u64 skipped;

	if (!bio->bi_iter.bi_size)
		return;
	if (bio_end_sector(bio) > READ_ONCE(tap->last) + 1)
		tap_beyond(tap, bio);
	if (!bio_span(tap, bio, bio->bi_iter.bi_size, &span))
		return;
	if (READ_ONCE(tap->leaving)) {
		blkship_observe_pass(tap->front.vol, span);
		return;
	}
	if (bio->bi_opf & REQ_SWAP)
		op = BLKSHIP_OP_DISCARD;	/* nobody's data after a restart */
	else if (!op || (op == BLKSHIP_OP_WRITE &&
			 (bio->bi_iter.bi_size > COPY_MAX_BYTES ||
			  bio_has_crypt_ctx(bio))))	/* ours is plain text */
		capture = false;
	skipped = tap->first + span.first - bio->bi_iter.bi_sector;
	blkship_observe_submit(tap->front.vol, bio, span,
			       skipped << SECTOR_SHIFT, op, capture);
}

/* Whether nothing of that can happen to it. */
static bool bio_is_plain(const struct blkship_tap *tap, struct bio *bio)
{
	return (bio->bi_opf & (REQ_OP_MASK | REQ_SWAP)) == REQ_OP_WRITE &&
	       bio->bi_iter.bi_size - 1 < tap->record_max_bytes &&
	       bio->bi_iter.bi_sector >= tap->first &&
	       bio_end_sector(bio) <= READ_ONCE(tap->last) + 1 &&
	       !READ_ONCE(tap->leaving) && !bio_has_crypt_ctx(bio);
}

static void tap_submit(struct blkship_tap *tap, struct bio *bio)
{
	blkship_observe_write(tap->front.vol, bio,
			      bio->bi_iter.bi_sector - tap->first);
}

/* If it has one record for so much of it, from where the bio is now. */
static __always_inline struct blkship_observed *
tap_find(const struct blkship_tap *tap, const struct bio *bio, u32 bytes,
	 struct blkship_span *span)
{
	span->first = bio->bi_iter.bi_sector - tap->first;
	span->last = span->first + (bytes >> SECTOR_SHIFT) - 1;
	return blkship_observed_whole(tap->front.vol, bio, *span);
}

static void tap_complete_bio(struct blkship_tap *tap, const struct bio *bio,
			     u32 bytes, bool failed)
{
	struct blkship_span span;
	struct blkship_observed *o = tap_find(tap, bio, bytes, &span);

	if (likely(o))
		blkship_observed_progress(o, tap->front.vol, bio, span, failed);
	else if (bio_span(tap, bio, bytes, &span) &&
		 !blkship_observe_progress(tap->front.vol, bio, span, failed))
		blkship_tap_alarm(tap);
}

/* What it changed, if it did, nobody was told of yet. */
static void tap_complete_raw(struct blkship_tap *tap, struct request *rq)
{
	if (blkship_raw_command_changes(rq, tap->scsi) &&
	    blkship_observe_raw(tap->front.vol))
		blkship_tap_alarm(tap);
}

/*
 * Its driver has taken the bios out, to submit them again (xen-blkfront after the
 * machine was moved): they may be on the disk, and may yet fail without a request.
 */
static noinline void tap_complete_taken(struct blkship_tap *tap,
					const struct request *rq)
{
	struct blkship_span span;

	if (tap_span(tap, blk_rq_pos(rq), blk_rq_sectors(rq), &span))
		blkship_observe_taken(tap->front.vol, span);
}

static void tap_complete(struct blkship_tap *tap, struct request *rq,
			 bool failed, u32 bytes)
{
	const struct bio *bio;
	u32 part;

	if (unlikely(blk_rq_is_passthrough(rq))) {
		tap_complete_raw(tap, rq);
		return;
	}
	if (unlikely(!rq->bio) && bytes && blk_rq_sectors(rq))
		tap_complete_taken(tap, rq);
	for (bio = rq->bio; bio && bytes; bio = bio->bi_next) {
		part = min(bytes, bio->bi_iter.bi_size);
		bytes -= part;
		if (part)
			tap_complete_bio(tap, bio, part, failed);
	}
}

/*
 * The probes are short, because every request of every disk passes them, and
 * leave to others what is to be done where somebody may be tapped. A bucket may
 * have taps of several disks.
 */
static __always_inline struct blkship_tap *first_tap(const struct gendisk *disk)
{
	struct blkship_tap *tap;

	hlist_for_each_entry_rcu(tap, bucket_of(disk), node)
		if (likely(tap->disk == disk))
			return tap;
	return NULL;
}

/* From the first one on. */
#define for_each_tap_of(tap, disk_)					\
	hlist_for_each_entry_from_rcu(tap, node)			\
		if (tap->disk == (disk_))

/*
 * Most disks have one tap, and most writes are one bio of one record: that is tried
 * first, and for all else there is a function beside. Taps of a disk do not overlap:
 * who has all of a bio is the only one.
 */
static noinline void taps_submit_odd(struct blkship_tap *tap, struct bio *bio)
{
	const struct gendisk *disk = bio->bi_bdev->bd_disk;

	for_each_tap_of(tap, disk) {
		if (bio_is_plain(tap, bio))
			tap_submit(tap, bio);
		else
			tap_submit_odd(tap, bio);
	}
}

static noinline void taps_submit(struct blkship_tap *tap, struct bio *bio)
{
	if (likely(bio_is_plain(tap, bio)))
		tap_submit(tap, bio);
	else
		taps_submit_odd(tap, bio);
}

/* A write that is one bio, and has one record for all of these bytes. */
static __always_inline struct blkship_observed *
tap_find_only(const struct blkship_tap *tap, const struct request *rq,
	      u32 bytes, struct blkship_span *span)
{
	const struct bio *bio = rq->bio;

	if (unlikely(req_op(rq) != REQ_OP_WRITE) || unlikely(!bio) ||
	    unlikely(bio->bi_next) || unlikely(bytes > bio->bi_iter.bi_size) ||
	    unlikely(!bytes))
		return NULL;
	return tap_find(tap, bio, bytes, span);
}

static noinline void taps_complete_odd(struct blkship_tap *tap,
				       struct request *rq, bool failed,
				       u32 bytes)
{
	for_each_tap_of(tap, rq->q->disk)
		tap_complete(tap, rq, failed, bytes);
}

static noinline void taps_complete(struct blkship_tap *tap, struct request *rq,
				   bool failed, u32 bytes)
{
	struct blkship_span span;
	struct blkship_observed *o = tap_find_only(tap, rq, bytes, &span);

	if (likely(o))
		blkship_observed_progress(o, tap->front.vol, rq->bio, span,
					  failed);
	else
		taps_complete_odd(tap, rq, failed, bytes);
}

static noinline void taps_end(struct blkship_tap *tap, struct bio *bio)
{
	const struct gendisk *disk = bio->bi_bdev->bd_disk;
	struct blkship_span span;

	if (unlikely(!bio->bi_iter.bi_size))
		return;
	for_each_tap_of(tap, disk)
		if (bio_span(tap, bio, bio->bi_iter.bi_size, &span) &&
		    !blkship_observe_end(tap->front.vol, bio, span,
					 bio->bi_status != BLK_STS_OK,
					 tap->by_request))
			blkship_tap_alarm(tap);
}

/* False for most that are not tapped, and never for one that is. */
static __always_inline bool may_be_tapped(const struct request_queue *q)
{
	return !data_race(((unsigned long)q ^ agreed_queue) & agreed_bits);
}

static notrace void probe_bio_queue(void *data, struct bio *bio)
{
	struct blkship_tap *tap;

	if (!may_be_tapped(bdev_get_queue(bio->bi_bdev)) ||
	    !op_is_write(bio_op(bio)))
		return;
	tap = first_tap(bio->bi_bdev->bd_disk);
	if (tap)
		taps_submit(tap, bio);
}

static notrace void probe_rq_complete(void *data, struct request *rq,
				      blk_status_t error, unsigned int bytes)
{
	struct blkship_tap *tap;

	if (!may_be_tapped(rq->q) || !op_matters(req_op(rq)))
		return;
	tap = first_tap(rq->q->disk);
	if (tap)
		taps_complete(tap, rq, error != BLK_STS_OK, bytes);
}

static notrace void probe_bio_complete(void *data, struct request_queue *q,
				       struct bio *bio)
{
	struct blkship_tap *tap;

	if (!may_be_tapped(q) || !op_is_write(bio_op(bio)))
		return;
	tap = first_tap(bio->bi_bdev->bd_disk);
	if (tap)
		taps_end(tap, bio);
}

/* -- tracepoints -- */

static struct {
	const char *name;
	void *probe;
	struct tracepoint *point;
} probes[] = {
	/* Ends first: nothing may be followed whose end would be missed. */
	{ "block_bio_complete", probe_bio_complete },
	{ "block_rq_complete", probe_rq_complete },
	{ "block_bio_queue", probe_bio_queue },
};

static void tracepoint_note(struct tracepoint *point, void *data)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (!strcmp(point->name, probes[i].name))
			probes[i].point = point;
}

static void probes_remove(size_t count)
{
	while (count--)
		tracepoint_probe_unregister(probes[count].point,
					    probes[count].probe, NULL);
	tracepoint_synchronize_unregister();
}

static int probes_add(void)
{
	size_t i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		ret = tracepoint_probe_register(probes[i].point,
						probes[i].probe, NULL);
		if (ret) {
			probes_remove(i);
			return ret;
		}
	}
	return 0;
}

int blkship_tap_find_probes(void)
{
	size_t i;

	/* A changed prototype breaks the build, not the kernel. */
	check_trace_callback_type_block_bio_queue(probe_bio_queue);
	check_trace_callback_type_block_rq_complete(probe_rq_complete);
	check_trace_callback_type_block_bio_complete(probe_bio_complete);
	for_each_kernel_tracepoint(tracepoint_note, NULL);
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (!probes[i].point) {
			pr_err("blkship: this kernel has no tracepoint %s\n",
			       probes[i].name);
			return -EOPNOTSUPP;
		}
	return 0;
}

int blkship_tap_show(struct blkship_tap *tap)
{
	unsigned long queue = (unsigned long)tap->disk->queue;
	int ret;

	if (!nr_shown) {
		agreed_queue = queue;
		agreed_bits = ~0UL;
		ret = probes_add();
		if (ret)
			return ret;
	}
	nr_shown++;
	WRITE_ONCE(agreed_bits, agreed_bits & ~(queue ^ agreed_queue));
	tap->record_max_bytes =
		blkship_record_max_bytes(&tap->front.vol->grp->ring);
	hlist_add_head_rcu(&tap->node, bucket_of(tap->disk));
	return 0;
}

void blkship_tap_hide(struct blkship_tap *tap)
{
	hlist_del_rcu(&tap->node);
	if (--nr_shown)
		synchronize_rcu();
	else
		probes_remove(ARRAY_SIZE(probes));
}
