// SPDX-License-Identifier: GPL-2.0
/*
 * The write-intent log of a volume, and the state that is kept of it.
 *
 * Beside stage [1 capture]: fed by capture.c with writes to regions that are
 * not listed; lets them go when they are. See meta_core.h for the promises and
 * docs/META.md for why they are enough.
 *
 * The application comes first: a metadata device that fails or hangs turns the
 * log off, and all that is held goes on.
 */
#include <linux/blkdev.h>
#include <linux/sched.h>

#include "capture.h"
#include "meta.h"
#include "netlink.h"

#define RETRY_JIFFIES	HZ
/* As many words of a map as are worked on before the lock is let go. */
#define PIECE_WORDS	4096

struct workqueue_struct *blkship_meta_wq;
unsigned int blkship_meta_period_s = 30;
unsigned int blkship_meta_timeout_s = 10;

static struct blkship_group *group_of(struct blkship_meta *meta)
{
	return meta->grp;
}

/* The irq_work is there because nothing else is queued under the lock. */
void blkship_meta_kick(struct blkship_meta *meta)
{
	lockdep_assert_held(&group_of(meta)->lock);
	if (!meta->stopping)
		irq_work_queue(&meta->kick);
}

static void meta_kicked(struct irq_work *work)
{
	struct blkship_meta *meta = container_of(work, struct blkship_meta,
						 kick);

	if (READ_ONCE(meta->off))
		queue_work(blkship_meta_wq, &meta->tell_work);
	mod_delayed_work(blkship_meta_wq, &meta->work, 0);
}

/* Let go what is listed by now; all, when there is no log any more. */
static bool release_waiting(struct blkship_meta *meta)
{
	lockdep_assert_held(&group_of(meta)->lock);
	return blkship_capture_listed(group_of(meta), &meta->waiting,
				      meta->off ? NULL : &meta->list);
}

/* -- off -- */

/* Any context. What is told and written of it is up to the work. */
static void log_off(struct blkship_meta *meta)
{
	struct blkship_group *grp = group_of(meta);
	bool issue = false;
	unsigned long flags;

	raw_spin_lock_irqsave(&grp->lock, flags);
	if (!meta->off) {
		meta->off = true;
		meta->vol->log = NULL;
		meta->log_no = 0;
		issue = release_waiting(meta);
	}
	blkship_meta_kick(meta);
	raw_spin_unlock_irqrestore(&grp->lock, flags);
	if (issue)
		queue_work(blkship_wq, &grp->issue_work);
	wake_up_all(&meta->idle);
}

/* Apart from the other work, which a device that hangs keeps. */
static void tell_work(struct work_struct *work)
{
	struct blkship_meta *meta = container_of(work, struct blkship_meta,
						 tell_work);
	const struct blkship_volume *vol = meta->vol;

	if (meta->told)
		return;
	meta->told = true;
	pr_warn("blkship: group %s: volume %s: its metadata device %pg failed; writes go on without a log: after a crash the whole volume is read back\n",
		vol->grp->name, vol->name, meta->bdev);
	blkship_event(BLKSHIP_EVENT_META_OFF, vol->grp->name, vol->name);
}

/* -- writing -- */

/* Zero says that there is no log; commit records have the lower half only. */
static u64 next_log_no(struct blkship_group *grp)
{
	lockdep_assert_held(&grp->lock);
	if (!(u32)++grp->log_no)
		++grp->log_no;
	return grp->log_no;
}

/* From block *from on, which moves on. */
static u32 batch_fill(struct blkship_meta *meta, u32 *from, u64 *log_no)
{
	struct blkship_group *grp = group_of(meta);
	struct meta_block *block;
	u32 n = 0, index;
	bool due;

	while (n < META_SLOTS) {
		block = blkship_batch_data(meta->io, n);
		raw_spin_lock_irq(&grp->lock);
		due = blkship_list_due(&meta->list, *from, &index);
		if (due) {
			if (!n)
				*log_no = next_log_no(grp);
			blkship_list_block_fill(&meta->list, &meta->vol->maps,
						index, block);
		}
		raw_spin_unlock_irq(&grp->lock);
		if (!due)
			break;
		blkship_block_seal(block, meta->super.id, index, *log_no);
		blkship_batch_set(meta->io, n,
				  (META_FIRST_BLOCK + (u64)index) *
				  META_BLOCK_BYTES);
		meta->written[n++] = index;
		*from = index + 1;
	}
	return n;
}

static void batch_wrote(struct blkship_meta *meta, u32 nr, u64 log_no)
{
	struct blkship_group *grp = group_of(meta);
	bool issue = false;
	u32 i;

	for (i = 0; i < nr; i++) {
		raw_spin_lock_irq(&grp->lock);
		blkship_list_block_wrote(&meta->list, meta->written[i],
					 blkship_batch_data(meta->io, i));
		raw_spin_unlock_irq(&grp->lock);
	}
	raw_spin_lock_irq(&grp->lock);
	if (!meta->off) {
		meta->log_no = log_no;
		issue = release_waiting(meta);
	}
	raw_spin_unlock_irq(&grp->lock);
	if (issue)
		queue_work(blkship_wq, &grp->issue_work);
}

/*
 * Every block that is due, once: one that comes to be due meanwhile may be left
 * to the next pass, so that this one ends however busy the volume is.
 */
static int write_due(struct blkship_meta *meta)
{
	u32 from = 0, nr;
	u64 log_no;
	int ret;

	for (;;) {
		if (blkship_batch_is_late(meta->io))
			return -ETIMEDOUT;
		nr = batch_fill(meta, &from, &log_no);
		if (!nr)
			return 0;
		ret = blkship_batch_run(meta->io, nr, REQ_OP_WRITE | REQ_SYNC |
					REQ_META | REQ_FUA);
		if (ret)
			return ret;
		batch_wrote(meta, nr, log_no);
	}
}

/* Before anything leaves: the commit that must be at the target for that. */
static int leave_begin(struct blkship_meta *meta)
{
	struct blkship_group *grp = group_of(meta);
	bool due;

	raw_spin_lock_irq(&grp->lock);
	due = meta->leave_due;
	meta->leave_due = false;
	meta->super.ordinal = max(meta->super.ordinal, meta->ordinal);
	raw_spin_unlock_irq(&grp->lock);
	if (!due)
		return 0;
	if (meta_super_write(meta))
		return -EIO;
	raw_spin_lock_irq(&grp->lock);
	blkship_list_leave(&meta->list);
	raw_spin_unlock_irq(&grp->lock);
	return 0;
}

/*
 * The list is for another incarnation: said only after what was marked for it
 * is listed. Who asked for that did so before, so it is due by now; who asks
 * for yet another one meanwhile has to wait for the next pass.
 */
static int write_all(struct blkship_meta *meta)
{
	struct blkship_group *grp = group_of(meta);
	u32 incarnation;
	bool basis;
	int ret;

	raw_spin_lock_irq(&grp->lock);
	basis = meta->basis_due;
	incarnation = meta->basis_incarnation;
	meta->basis_due = false;
	raw_spin_unlock_irq(&grp->lock);
	ret = leave_begin(meta);
	if (!ret)
		ret = write_due(meta);
	if (ret || !basis)
		return ret;
	memcpy(meta->super.basis_instance, grp->ring.shared->instance,
	       sizeof(meta->super.basis_instance));
	meta->super.basis_incarnation = incarnation;
	raw_spin_lock_irq(&grp->lock);
	meta->super.ordinal = meta->ordinal;
	raw_spin_unlock_irq(&grp->lock);
	return meta_super_write(meta);
}

/* Whether there is something to write, or somebody waits for a pass. */
static bool pass_begin(struct blkship_meta *meta)
{
	struct blkship_group *grp = group_of(meta);
	bool begin;
	u32 block;

	if (!meta->logs)
		return false;	/* only its end writes it */

	raw_spin_lock_irq(&grp->lock);
	begin = !meta->off && !meta->stopping &&
		(meta->basis_due || meta->leave_due ||
		 blkship_list_due(&meta->list, 0, &block) ||
		 meta->passes_wanted > meta->passes_begun);
	meta->passes_begun += begin;
	raw_spin_unlock_irq(&grp->lock);
	return begin;
}

static void pass_end(struct blkship_meta *meta)
{
	raw_spin_lock_irq(&group_of(meta)->lock);
	meta->passes_ended++;
	raw_spin_unlock_irq(&group_of(meta)->lock);
	wake_up_all(&meta->idle);
}

static bool pass_has_ended(struct blkship_meta *meta, u64 pass)
{
	bool ended;

	raw_spin_lock_irq(&group_of(meta)->lock);
	ended = meta->passes_ended >= pass;
	raw_spin_unlock_irq(&group_of(meta)->lock);
	return ended;
}

static void meta_work(struct work_struct *work)
{
	struct blkship_meta *meta = container_of(to_delayed_work(work),
						 struct blkship_meta, work);
	int ret = 0;

	/* Until then blkship_meta_start() has the slots; it kicks when it ends. */
	if (!pass_has_ended(meta, 1))
		return;
	while (!ret && pass_begin(meta)) {
		meta_limit(meta->io);
		ret = write_all(meta);
		if (!ret)
			pass_end(meta);
	}
	if (ret)
		log_off(meta);
	if (READ_ONCE(meta->off) && meta->super.state != META_OFF &&
	    meta_off_write(meta)) {
		meta->super.state = META_LOGGED;	/* not said yet */
		queue_delayed_work(blkship_meta_wq, &meta->work,
				   RETRY_JIFFIES);
	}
}

static bool sync_is_over(struct blkship_meta *meta, u64 pass)
{
	return READ_ONCE(meta->off) || READ_ONCE(meta->stopping) ||
	       pass_has_ended(meta, pass);
}

/*
 * The pass that is under way may have gone by what the caller asks for: so it is
 * the next one. A device that hangs ends it, too.
 */
void blkship_meta_sync(struct blkship_meta *meta)
{
	u64 pass;

	if (!meta->logs)
		return;
	raw_spin_lock_irq(&group_of(meta)->lock);
	pass = meta->passes_begun + 1;
	meta->passes_wanted = pass;
	blkship_meta_kick(meta);
	raw_spin_unlock_irq(&group_of(meta)->lock);
	wait_event(meta->idle, sync_is_over(meta, pass));
}

void blkship_meta_sync_group(struct blkship_group *grp)
{
	struct blkship_meta *meta;
	u32 i;

	for (i = 0; i < BLKSHIP_MAX_VOLUMES; i++) {
		raw_spin_lock_irq(&grp->lock);
		meta = grp->volumes[i] ? grp->volumes[i]->meta : NULL;
		if (meta)
			kref_get(&meta->ref);
		raw_spin_unlock_irq(&grp->lock);
		if (!meta)
			continue;
		blkship_meta_sync(meta);
		blkship_meta_put(meta);
	}
}

/* -- periods -- */

/* What the disk said was written stays there, also when the power goes. */
static int disk_flush(struct blkship_meta *meta)
{
	meta_limit(meta->disk_io);
	return blkship_batch_flush(meta->disk_io);
}

static int disk_read_block(struct blkship_meta *meta, u64 offset_bytes)
{
	meta_limit(meta->disk_io);
	blkship_batch_set(meta->disk_io, 0,
			  meta->disk_start_bytes + offset_bytes);
	return blkship_batch_run(meta->disk_io, 1, REQ_OP_READ);
}

/*
 * Take the prints that are missing. Where nothing is listed before and after
 * nobody wrote in between, as that begins with a listing, and what was listed
 * does not leave in between, as that begins in the work that we are.
 */
static void prints_complete(struct blkship_meta *meta)
{
	struct blkship_group *grp = group_of(meta);
	u64 size = meta->super.size_bytes, at;
	u32 count = blkship_prints_count(size), n;
	bool missing;
	int ret;

	for (n = 0; n < count; n++) {
		at = blkship_print_offset(size, n);
		raw_spin_lock_irq(&grp->lock);
		missing = !meta->stopping && !meta->off &&
			  !blkship_print_known(&meta->prints, n) &&
			  blkship_list_rests(&meta->list, at);
		raw_spin_unlock_irq(&grp->lock);
		if (!missing)
			continue;
		ret = disk_read_block(meta, at);
		if (ret) {
			/*
			 * A disk that fails is not asked again and again; one that
			 * hangs is, when it has answered.
			 */
			meta->prints_ended = ret != -ETIMEDOUT;
			return;
		}
		raw_spin_lock_irq(&grp->lock);
		if (blkship_list_rests(&meta->list, at))
			blkship_print_set(&meta->prints, n,
					  blkship_batch_data(meta->disk_io, 0));
		raw_spin_unlock_irq(&grp->lock);
	}
}

/*
 * Whether all is durable at the target that was written up to the end of the
 * period before. What is not captured and still in flight has no position.
 */
static bool period_retires(struct blkship_meta *meta)
{
	struct blkship_group *grp = group_of(meta);
	struct blkship_ring *ring = &grp->ring;

	lockdep_assert_held(&grp->lock);
	blkship_ring_collect(ring);
	/* Set by the consumer before it releases: see docs/RING.md. */
	meta->ordinal = READ_ONCE(ring->consumer->durable_ordinal);
	return ring->desc_tail >= meta->list.closed_pos &&
	       !meta->vol->nr_uncaptured && !meta->vol->kept_incarnation;
}

static void period_work(struct work_struct *work)
{
	struct blkship_meta *meta = container_of(to_delayed_work(work),
						 struct blkship_meta,
						 period_work);
	struct blkship_group *grp = group_of(meta);
	bool retire;
	u64 at = 0;

	if (!meta->prints_ended)
		prints_complete(meta);
	raw_spin_lock_irq(&grp->lock);
	retire = period_retires(meta);
	/* What did not leave in all this time waits for the flush of this period. */
	meta->leave_due = false;
	raw_spin_unlock_irq(&grp->lock);
	do {
		raw_spin_lock_irq(&grp->lock);
		blkship_list_period(&meta->list, retire, grp->ring.desc_head,
				    &at, PIECE_WORDS);
		raw_spin_unlock_irq(&grp->lock);
		cond_resched();
	} while (at < blkship_list_map_words(&meta->list));

	if (retire && !disk_flush(meta)) {
		raw_spin_lock_irq(&grp->lock);
		meta->leave_due = true;
		blkship_meta_kick(meta);
		raw_spin_unlock_irq(&grp->lock);
	}
	raw_spin_lock_irq(&grp->lock);
	if (!meta->stopping && !meta->off)
		queue_delayed_work(blkship_meta_wq, &meta->period_work,
				   max(READ_ONCE(blkship_meta_period_s), 1U) * HZ);
	raw_spin_unlock_irq(&grp->lock);
}

/* -- from start to stop -- */

void meta_works_init(struct blkship_meta *meta)
{
	init_irq_work(&meta->kick, meta_kicked);
	INIT_DELAYED_WORK(&meta->work, meta_work);
	INIT_DELAYED_WORK(&meta->period_work, period_work);
	INIT_WORK(&meta->tell_work, tell_work);
}

/* List what is dirty or repairing. Nothing is in flight that could add to it. */
static void want_busy(struct blkship_meta *meta)
{
	struct blkship_group *grp = group_of(meta);
	const struct blkship_dirty *maps = &meta->vol->maps;
	u64 words = blkship_dirty_words(maps->nr_regions), i = 0, end;

	while (i < words) {
		end = min(i + PIECE_WORDS, words);
		raw_spin_lock_irq(&grp->lock);
		for (; i < end; i++)
			if (maps->dirty[i] | maps->repairing[i])
				blkship_list_want(&meta->list,
						  i * 64 * BLKSHIP_REGION_BYTES,
						  64ULL * BLKSHIP_REGION_BYTES);
		raw_spin_unlock_irq(&grp->lock);
		cond_resched();
	}
}

void blkship_meta_mark(struct blkship_meta *meta, struct blkship_volume *vol)
{
	u64 words = blkship_list_map_words(&meta->list), at = 0;

	lockdep_assert_held(&blkship_mutex);
	while (at < words) {
		raw_spin_lock_irq(&vol->grp->lock);
		blkship_list_mark(&meta->list, &vol->maps, &at, PIECE_WORDS / 16);
		raw_spin_unlock_irq(&vol->grp->lock);
		cond_resched();
	}
}

void blkship_meta_join(struct blkship_meta *meta, struct blkship_volume *vol)
{
	struct blkship_group *grp = vol->grp;

	lockdep_assert_held(&blkship_mutex);
	meta->grp = grp;
	meta->vol = vol;
	raw_spin_lock_irq(&grp->lock);
	meta->passes_begun = 1;		/* it is blkship_meta_start() */
	/* One counter for all lists of a group: never the same twice. */
	grp->log_no = max(grp->log_no, meta->log_no);
	meta->list.closed_pos = grp->ring.desc_head;
	/* So that a commit of our time tells the list of before as too old. */
	if (!meta->logs)
		meta->log_no = next_log_no(grp);
	vol->meta = meta;
	raw_spin_unlock_irq(&grp->lock);
	/* What was marked since it was read. */
	if (meta->logs)
		want_busy(meta);
}

void blkship_meta_start(struct blkship_meta *meta)
{
	struct blkship_group *grp = group_of(meta);
	int ret = 0;

	memcpy(meta->super.instance, grp->ring.shared->instance,
	       sizeof(meta->super.instance));
	meta->super.state = meta->logs ? META_LOGGED : META_IN_USE;
	meta_limit(meta->io);
	if (meta->logs)
		ret = write_due(meta);
	if (!ret) {
		meta->super.log_no = meta->log_no;
		ret = meta_super_write(meta);
	}
	if (!meta->logs && !ret)
		return;
	raw_spin_lock_irq(&grp->lock);
	meta->passes_ended = 1;
	if (!ret)
		meta->vol->log = meta;
	blkship_meta_kick(meta);	/* for what came meanwhile */
	raw_spin_unlock_irq(&grp->lock);
	if (ret)
		log_off(meta);
	else
		queue_delayed_work(blkship_meta_wq, &meta->period_work,
				   max(READ_ONCE(blkship_meta_period_s), 1U) * HZ);
	wake_up_all(&meta->idle);
}

/* What a tap has to say at its end: everything that is not at the target. */
static void list_collect(struct blkship_meta *meta)
{
	struct blkship_group *grp = group_of(meta);
	struct blkship_ring *ring = &grp->ring;
	struct blkship_volume *vol = meta->vol;
	u64 i, pos;

	blkship_list_init(&meta->list, meta->super.size_bytes, meta->memory);
	memset(meta->memory, 0, blkship_list_words(meta->super.size_bytes) *
	       sizeof(u64));
	want_busy(meta);
	raw_spin_lock_irq(&grp->lock);
	meta->super.ordinal = READ_ONCE(ring->consumer->durable_ordinal);
	for (pos = ring->desc_tail; pos < ring->desc_head; pos++) {
		const struct blkship_entry *e =
			&ring->entries[pos & (ring->desc_count - 1)];

		if (e->volume == vol->index)
			blkship_list_want(&meta->list, e->offset_bytes,
					  e->length_bytes);
	}
	for (i = 0; i < meta->list.nr_blocks; i++)
		meta->list.due[i / 64] |= 1ULL << i % 64;
	if (!vol->kept_incarnation) {
		meta->super.basis_incarnation = ring->shared->incarnation;
		memcpy(meta->super.basis_instance, ring->shared->instance,
		       sizeof(meta->super.basis_instance));
	}
	raw_spin_unlock_irq(&grp->lock);
}

/* Nobody else writes there any more. */
static int keep(struct blkship_meta *meta)
{
	int ret;

	if (!meta->logs)
		list_collect(meta);
	ret = write_due(meta);
	if (!ret)
		ret = disk_flush(meta);
	meta_limit(meta->disk_io);
	if (!ret)
		ret = meta_prints_take(meta);
	meta_limit(meta->io);
	meta->super.log_no = meta->log_no;
	if (!ret) {
		meta->super.state = META_CLEAN;
		ret = meta_super_write(meta);
	}
	return ret;
}

void blkship_meta_stop(struct blkship_meta *meta, enum blkship_meta_end how)
{
	struct blkship_volume *vol = meta->vol;
	struct blkship_group *grp = meta->grp;

	if (!vol || meta->stopped)
		return;
	meta->stopped = true;
	raw_spin_lock_irq(&grp->lock);
	meta->stopping = true;
	if (vol->log == meta)
		vol->log = NULL;
	if (vol->meta == meta)
		vol->meta = NULL;
	raw_spin_unlock_irq(&grp->lock);
	wake_up_all(&meta->idle);
	irq_work_sync(&meta->kick);
	cancel_delayed_work_sync(&meta->period_work);
	cancel_delayed_work_sync(&meta->work);
	flush_work(&meta->tell_work);
	WARN_ON_ONCE(!list_empty(&meta->waiting));
	meta_limit(meta->io);
	if (how == BLKSHIP_META_PASS_ON && !meta->off && !write_all(meta))
		return;
	if (how == BLKSHIP_META_KEEP && !meta->off && !keep(meta))
		return;
	if (meta->super.state != META_OFF && meta_off_write(meta))
		pr_warn("blkship: group %s: volume %s: its metadata device %pg could not be marked as out of use: wipe its first 32 KiB\n",
			grp->name, vol->name, meta->bdev);
}

void blkship_meta_rebase(struct blkship_volume *vol)
{
	struct blkship_meta *meta = vol->meta;
	struct blkship_ring *ring = &vol->grp->ring;

	lockdep_assert_held(&vol->grp->lock);
	if (!meta || !meta->logs || meta->off || !ring->shared->incarnation)
		return;
	meta->basis_incarnation = ring->shared->incarnation;
	meta->ordinal = READ_ONCE(ring->consumer->durable_ordinal);
	meta->basis_due = true;
	blkship_meta_kick(meta);
}

void blkship_meta_want(struct blkship_volume *vol, u64 offset_bytes,
		       u64 length_bytes)
{
	struct blkship_meta *meta = vol->meta;

	lockdep_assert_held(&vol->grp->lock);
	/* Also while it is being started: what is marked then is wanted as well. */
	if (!meta || !meta->logs || meta->off)
		return;
	blkship_list_want(&meta->list, offset_bytes, length_bytes);
	blkship_meta_kick(meta);
}
