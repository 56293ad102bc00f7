// SPDX-License-Identifier: GPL-2.0-only
/*
 * named - the sequences that break order when a rule is weakened, one by one, and the
 * seeds that once failed.
 *
 * Each test leads the world to the critical moment by hand and then lets it come to
 * rest, where every listed point is checked.
 */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../userspace/lib/seq.h"

static const struct sim_config plain = {
	.volumes = 1, .cells = 4, .first_cell = 30, .desc_count = 64, .payload_bytes = 1 << 20,
	.inflight = 8, .outbox = 4, .chunk_regions = 1,
};

static struct op *write_to(struct sim *s, uint32_t first, uint32_t count)
{
	const struct op what = { .kind = OP_WRITE, .first = first, .count = count };

	sim_now(s);
	return device_submit(s, &what);
}

static void complete(struct sim *s, const struct op *op)
{
	sim_now(s);
	device_complete(s, op);
}

static void write_done(struct sim *s, uint32_t first, uint32_t count)
{
	complete(s, write_to(s, first, count));
}

static void drain(struct sim *s)
{
	sim_now(s);
	shipper_drain(s->shipper, s->kernel_page.watermark_seq);
}

/* Everything on the way arrives and is durable. */
static void deliver(struct sim *s)
{
	bool any = true;

	while (any && !s->violation[0]) {
		sim_now(s);
		any = do_send(s);
		any |= do_io(s);
		any |= do_receive(s);
	}
	if (!s->violation[0])
		check_points(s);
}

static void cut_and_deliver(struct sim *s)
{
	drain(s);
	shipper_cut(s->shipper);
	deliver(s);
}

/* From the beginning to a protected group. */
static void protect(struct sim *s)
{
	sim_now(s);
	do_connect(s);
	deliver(s);
	for (int i = 0; i < 50 && !shipper_idle(s->shipper); i++) {
		drain(s);
		shipper_repair_step(s->shipper);
		do_device_read(s);
		shipper_cut(s->shipper);
		deliver(s);
	}
	if (!shipper_idle(s->shipper))
		sim_violation(s, "initial replication does not end");
}

/* Writes until one is not captured. */
static struct op *overflow(struct sim *s, uint32_t first, uint32_t count)
{
	for (int i = 0; i < 200; i++) {
		struct op *op = write_to(s, first, count);

		if (!op->captured)
			return op;
		complete(s, op);
	}
	sim_violation(s, "the ring does not overflow");
	return NULL;
}

/* One chunk: taken over, stamped, read, closed; true when it was. */
static bool repair_until_read(struct sim *s)
{
	for (int i = 0; i < 20; i++) {
		drain(s);
		shipper_repair_step(s->shipper);
		if (shipper_reading(s->shipper))
			return true;
		deliver(s);
	}
	sim_violation(s, "no repair begins");
	return false;
}

static void uncaptured_write_in_flight_during_repair(struct sim *s)
{
	struct op *op;

	protect(s);
	op = overflow(s, 0, 8);
	cut_and_deliver(s);
	repair_until_read(s);
	do_device_read(s);		/* before or after the write: the dice decide */
	complete(s, op);
	shipper_repair_step(s->shipper);
	cut_and_deliver(s);
}

static void consumer_killed_between_take_over_and_acknowledgement(struct sim *s)
{
	protect(s);
	complete(s, overflow(s, 0, 8));
	cut_and_deliver(s);
	repair_until_read(s);
	do_device_read(s);
	shipper_repair_step(s->shipper);
	drain(s);
	shipper_cut(s->shipper);
	do_send(s);			/* under way, not durable */
	consumer_crash(s);
	consumer_start(s);
}

/* A record and a read-back with the same label: the read-back has what came later. */
static void equal_stamps(struct sim *s)
{
	protect(s);
	complete(s, overflow(s, 0, 8));
	cut_and_deliver(s);		/* up to the gap, which a point precedes */
	cut_and_deliver(s);		/* and the gap: no cut is made before another one */
	write_done(s, 0, 8);
	complete(s, overflow(s, 0, 8));	/* the records before it are in the same batch */
	repair_until_read(s);
	do_device_read(s);
	shipper_repair_step(s->shipper);
	cut_and_deliver(s);
}

/* The last state before a gap is a point of its own. */
static void point_just_before_a_gap(struct sim *s)
{
	const struct timeline_commit *c;
	struct op *lost;
	size_t nr;

	protect(s);
	lost = overflow(s, 0, 8);
	complete(s, lost);
	cut_and_deliver(s);
	nr = timeline_commits(s->timeline, &c);
	if (!nr || !c[nr - 1].listed || seq_number(c[nr - 1].cut_seq) != lost->seq - 1)
		sim_violation(s, "the newest commit is no point, or not the last before the gap");
}

static void block_zeroed_during_initial_replication(struct sim *s)
{
	const struct op zero = { .kind = OP_ZERO, .first = 0, .count = 8 };

	sim_now(s);
	do_connect(s);
	write_done(s, 0, 8);		/* captured: the timeline will have a version */
	deliver(s);
	cut_and_deliver(s);
	complete(s, overflow(s, 8, 8));
	sim_now(s);
	complete(s, device_submit(s, &zero));	/* not captured */
	cut_and_deliver(s);
}

/* The machine goes back to a snapshot, memory and disks: the target has its future. */
static void source_reverted_to_a_snapshot(struct sim *s)
{
	static struct sim before;
	static uint8_t payload[1 << 20];

	protect(s);
	write_done(s, 0, 8);
	cut_and_deliver(s);
	memcpy(&before, s, sizeof(before));
	memcpy(payload, s->payload, sizeof(payload));
	write_done(s, 0, 8);
	write_done(s, 4, 8);
	cut_and_deliver(s);

	consumer_crash(s);
	memcpy(s->content, before.content, sizeof(s->content));
	memcpy(&s->ring, &before.ring, sizeof(s->ring));
	memcpy(&s->kernel_page, &before.kernel_page, sizeof(s->kernel_page));
	memcpy(&s->consumer_page, &before.consumer_page, sizeof(s->consumer_page));
	memcpy(s->descs, before.descs, sizeof(s->descs));
	memcpy(s->entries, before.entries, sizeof(s->entries));
	memcpy(s->maps, before.maps, sizeof(s->maps));
	memcpy(s->map_words, before.map_words, sizeof(s->map_words));
	memcpy(s->payload, payload, sizeof(payload));
	s->reverted = true;
	kernel_consumer_gone(s);
	consumer_start(s);
	sim_now(s);
	do_connect(s);
	deliver(s);
	if (s->kernel_page.incarnation != 2)
		sim_violation(s, "a reverted machine went on in its incarnation");
}

/* What was captured is damaged, which is found after a pass without regions ended. */
static void damaged_record_found_after_a_pass(struct sim *s)
{
	struct op *op;

	protect(s);
	op = write_to(s, 0, 8);
	s->payload[s->descs[op->pos % s->cfg.desc_count].payload_pos + 5] ^= 1;
	complete(s, op);
	/* An event without a range, and a pass that covers it and the write. */
	blkship_ring_mark(&s->ring);
	sim_now(s);
	shipper_drain(s->shipper, op->seq - 1);
	shipper_cut(s->shipper);
	deliver(s);
	shipper_repair_step(s->shipper);
	shipper_drain(s->shipper, op->seq + 1);
	shipper_cut(s->shipper);
	deliver(s);
}

/* Whoever restores the target from an older copy: what it acknowledged is not there. */
static void target_lost_its_history(struct sim *s)
{
	protect(s);
	write_done(s, 0, 8);
	cut_and_deliver(s);
	do_disconnect(s);
	sim_env_complete_all(s->disk);
	timeline_close(s->timeline);
	sim_env_reset(s->disk, 2);
	s->nr_points = 0;
	target_init(s);
}

/* Points go on, marked; only the block itself cannot be had, until it is written. */
static void sector_that_cannot_be_read(struct sim *s)
{
	const struct timeline_commit *c;
	char why[TIMELINE_TEXT_BYTES];
	uint8_t block[4096];
	struct view *view;
	size_t nr;

	s->bad_offset = sector_offset(s, 0);
	s->bad_error = -EIO;
	s->reverted = true;		/* what is read is looked at here */
	protect(s);
	nr = timeline_commits(s->timeline, &c);
	if (!nr || !c[nr - 1].listed || !c[nr - 1].degraded) {
		sim_violation(s, "the newest commit is no degraded point");
		return;
	}
	if (view_open(s->timeline, c[nr - 1].cut_seq, &view, why)) {
		sim_violation(s, "no view: %s", why);
		return;
	}
	if (view_read(view, 0, s->bad_offset, block, sizeof(block)) != -EIO ||
	    view_read(view, 0, s->bad_offset + 4096, block, sizeof(block)))
		sim_violation(s, "not just the block itself cannot be read");
	view_close(view);
	write_done(s, 0, 8);
	cut_and_deliver(s);
	nr = timeline_commits(s->timeline, &c);
	if (c[nr - 1].degraded)
		sim_violation(s, "the block was written, and the point is degraded still");
}

/* Our trouble is not the disk's: nothing is unreadable, it is read when it can be. */
static void device_that_cannot_be_opened_for_a_while(struct sim *s)
{
	struct shipper_status st;

	s->bad_offset = sector_offset(s, 0);
	s->bad_error = -ENOENT;
	sim_now(s);
	do_connect(s);
	deliver(s);
	for (int i = 0; i < 20; i++) {
		drain(s);
		shipper_repair_step(s->shipper);
		do_device_read(s);
		shipper_cut(s->shipper);
		deliver(s);
	}
	shipper_status(s->shipper, &st);
	if (st.read_error != -ENOENT || st.unreadable_bytes || s->nr_points)
		sim_violation(s, "a device that is not there was taken for a bad one");
	s->bad_offset = 0;
	sim_env_advance(s->disk, 2000000000);
}

/* The next daemon knows what the target had acknowledged to the last one. */
static void restarted_consumer_knows_what_is_durable(struct sim *s)
{
	struct shipper_status before, after;

	protect(s);
	shipper_status(s->shipper, &before);
	consumer_crash(s);
	consumer_start(s);
	shipper_status(s->shipper, &after);
	if (!before.durable_ordinal || after.durable_ordinal != before.durable_ordinal)
		sim_violation(s, "durable was #%llu, is #%llu",
			      (unsigned long long)before.durable_ordinal,
			      (unsigned long long)after.durable_ordinal);
}

/* Rounds of everything that a daemon does, seconds apart. */
static void go_on(struct sim *s)
{
	for (int i = 0; i < 20; i++) {
		sim_env_advance(s->disk, 1000000000);
		drain(s);
		shipper_repair_step(s->shipper);
		do_device_read(s);
		shipper_cut(s->shipper);
		deliver(s);
	}
}

static bool is_clean(const struct sim *s, uint32_t volume)
{
	return !s->maps[volume].nr_dirty && !s->maps[volume].nr_repairing;
}

/* It cannot be read back; the others can, and are. No points before all are. */
static void diverged_volume_keeps_nobody_waiting(struct sim *s)
{
	const struct op what = { .kind = OP_WRITE, .volume = 1, .first = 0, .count = 8 };
	const struct op *op = NULL;
	uint32_t points;

	protect(s);
	kernel_diverge(s, 0);
	go_on(s);
	points = s->nr_points;
	do {
		sim_now(s);
		op = device_submit(s, &what);
		complete(s, op);
	} while (op->captured);
	go_on(s);
	if (!is_clean(s, 1))
		sim_violation(s, "the other volume waits for the one that is diverged");
	if (s->nr_points != points)
		sim_violation(s, "points are made without the volume that is diverged");
	kernel_feed_again(s, 0);
}

/* A pass finds nothing dirty, but what is resumed may not be ours. */
static void suspended_volume_makes_no_points(struct sim *s)
{
	uint64_t suspended, takes;
	uint32_t points;

	protect(s);
	kernel_suspend(s, 0);
	suspended = s->ring.newest_seq;
	go_on(s);
	points = s->nr_points;
	for (uint32_t i = 0; i < points; i++)
		if (seq_number(s->points[i].cut_seq) >= suspended)
			sim_violation(s, "a point while nobody knows what is resumed");
	takes = s->ring.newest_seq;
	kernel_resume(s, 0);
	go_on(s);
	if (s->nr_points == points)
		sim_violation(s, "resumed, and no points are made");
	if (s->ring.newest_seq != takes)
		sim_violation(s, "nothing was missed, and something is read back");
}

static void write_done_on(struct sim *s, uint16_t volume)
{
	const struct op what = { .kind = OP_WRITE, .volume = volume, .first = 0, .count = 8 };

	sim_now(s);
	complete(s, device_submit(s, &what));
}

/* Nobody told the consumer of it, but here is a record. */
static void volume_that_joins_is_met_in_the_ring(struct sim *s)
{
	protect(s);
	kernel_join(s);
	drain(s);
	if (shipper_volumes_stale(s->shipper))
		sim_violation(s, "begins anew for a volume that was not written yet");
	write_done_on(s, 1);
	drain(s);
	if (!shipper_volumes_stale(s->shipper))
		sim_violation(s, "a record of a volume that joined is passed over");
	consumer_crash(s);		/* as the daemon does then */
	consumer_start(s);
	write_done_on(s, 1);
}

/* Its last records are nobody's: to begin anew for them would never end. */
static void volume_that_left_is_met_in_the_ring(struct sim *s)
{
	protect(s);
	kernel_join(s);
	write_done_on(s, 1);
	s->cfg.volumes = 1;
	drain(s);
	if (shipper_volumes_stale(s->shipper))
		sim_violation(s, "begins anew for a volume that is gone");
	write_done(s, 0, 8);
}

static struct op *slow_write_to(struct sim *s, uint32_t first, uint32_t count)
{
	const struct op what = { .kind = OP_WRITE, .first = first, .count = count, .slow = 4 };

	sim_now(s);
	return device_submit(s, &what);
}

static void copied(struct sim *s, struct op *op, const struct op *because)
{
	sim_now(s);
	device_copied(s, op, because);
}

/*
 * One that is copied while a later one ends, and for which another waits: a gap. What is
 * there because of it comes after its mark, which a pass that ended before does not cover.
 */
static void spoiled_record_has_its_cause(struct sim *s)
{
	struct op *spoiled, *waits, *later, *depends;

	s->cfg.dm = true;
	protect(s);
	sim_now(s);
	blkship_ring_mark(&s->ring);	/* a gap of nothing */
	drain(s);
	shipper_cut(s->shipper);
	deliver(s);
	spoiled = slow_write_to(s, 0, 8);
	waits = write_to(s, 0, 4);
	later = write_to(s, 8, 4);
	sim_now(s);
	shipper_repair_step(s->shipper);	/* finds empty maps */
	depends = slow_write_to(s, 12, 4);
	complete(s, later);
	copied(s, spoiled, NULL);
	complete(s, spoiled);
	copied(s, depends, spoiled);
	complete(s, depends);
	complete(s, waits);
	drain(s);
	shipper_cut(s->shipper);
	deliver(s);
}

static const struct {
	const char *name;
	void (*run)(struct sim *s);
	struct sim_config change;	/* what differs from plain, where not 0 */
} tests[] = {
	{ "uncaptured write in flight during repair", uncaptured_write_in_flight_during_repair,
	  { .desc_count = 8 } },
	{ "consumer killed between take-over and acknowledgement",
	  consumer_killed_between_take_over_and_acknowledgement, { .desc_count = 8 } },
	{ "equal stamps", equal_stamps, { .desc_count = 8 } },
	{ "point just before a gap", point_just_before_a_gap, { .desc_count = 8 } },
	{ "block zeroed during initial replication", block_zeroed_during_initial_replication,
	  { .desc_count = 8 } },
	{ "source reverted to a snapshot", source_reverted_to_a_snapshot, { .volumes = 1 } },
	{ "damaged record found after a pass", damaged_record_found_after_a_pass, { .volumes = 1 } },
	{ "sector that cannot be read", sector_that_cannot_be_read, { .volumes = 1 } },
	{ "device that cannot be opened for a while", device_that_cannot_be_opened_for_a_while,
	  { .volumes = 1 } },
	{ "restarted consumer knows what is durable", restarted_consumer_knows_what_is_durable,
	  { .volumes = 1 } },
	{ "diverged volume keeps nobody waiting", diverged_volume_keeps_nobody_waiting,
	  { .volumes = 2, .desc_count = 8 } },
	{ "suspended volume makes no points", suspended_volume_makes_no_points, { .volumes = 2 } },
	{ "volume that joins is met in the ring", volume_that_joins_is_met_in_the_ring,
	  { .volumes = 1 } },
	{ "volume that left is met in the ring", volume_that_left_is_met_in_the_ring,
	  { .volumes = 1 } },
	{ "what a spoiled record is the cause of", spoiled_record_has_its_cause,
	  { .volumes = 1 } },
	{ "target lost its history", target_lost_its_history, { .volumes = 1 } },
};

/* Found by the schedules: members of points, a resting check that gave up too early. */
static const uint64_t once_failed[] = { 8, 13, 3110, 14837 };

static int one_named(struct sim *s, unsigned int i)
{
	struct sim_config config = plain;

	if (tests[i].change.desc_count)
		config.desc_count = tests[i].change.desc_count;
	if (tests[i].change.volumes)
		config.volumes = tests[i].change.volumes;
	sim_begin(s, &config);
	tests[i].run(s);
	if (!s->violation[0])
		sim_rest(s);
	sim_end(s);
	printf("%s: %s%s%s\n", tests[i].name, s->violation[0] ? "FAILED" : "ok",
	       s->violation[0] ? ": " : "", s->violation);
	return s->violation[0] != '\0';
}

int named_run(int *passed)
{
	struct sim *s = sim_create();
	int failed = 0, nr = 0;

	for (unsigned int i = 0; i < sizeof(tests) / sizeof(tests[0]); i++, nr++)
		failed += one_named(s, i);
	for (unsigned int i = 0; i < sizeof(once_failed) / sizeof(once_failed[0]); i++, nr++)
		failed += sim_run(s, once_failed[i]) < 0;
	sim_destroy(s);
	*passed = nr - failed;
	return failed;
}
