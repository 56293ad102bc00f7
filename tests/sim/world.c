// SPDX-License-Identifier: GPL-2.0-only
/* world - the scheduler: one enabled step at a time, by weight; then all settles. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t sim_random(struct sim *s, uint32_t bound)
{
	s->rng ^= s->rng >> 12;		/* xorshift64*, by Vigna */
	s->rng ^= s->rng << 25;
	s->rng ^= s->rng >> 27;
	return (s->rng * UINT64_C(2685821657736338717) >> 32) % bound;
}

bool sim_odds(struct sim *s, uint32_t in_100)
{
	return sim_random(s, 100) < in_100;
}

void sim_log(struct sim *s, const char *format, ...)
{
	va_list args;

	if (!s->trace)
		return;
	printf("%5llu ", (unsigned long long)s->now);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

void sim_violation(struct sim *s, const char *format, ...)
{
	va_list args;

	if (s->violation[0])
		return;
	va_start(args, format);
	vsnprintf(s->violation, sizeof(s->violation), format, args);
	va_end(args);
	sim_log(s, "VIOLATION: %s", s->violation);
}

/* -- the steps that are not elsewhere -- */

static bool do_drain(struct sim *s)
{
	struct shipper_status st;

	if (!s->shipper)
		return false;
	shipper_status(s->shipper, &st);
	if (st.watermark_seq <= st.drained_seq || st.outbox_batches >= s->cfg.outbox)
		return false;
	return shipper_drain(s->shipper, st.drained_seq + 1 +
			     sim_random(s, st.watermark_seq - st.drained_seq));
}

static bool do_drain_all(struct sim *s)
{
	return s->shipper && shipper_drain(s->shipper, s->ring.shared->watermark_seq);
}

static bool do_cut(struct sim *s)
{
	return s->shipper && shipper_cut(s->shipper);
}

static bool do_repair(struct sim *s)
{
	return s->shipper && shipper_repair_step(s->shipper);
}

static bool do_consumer_crash(struct sim *s)
{
	if (!s->shipper)
		return false;
	consumer_crash(s);
	return true;
}

static bool do_consumer_start(struct sim *s)
{
	return consumer_start(s);
}

/* The machine crashes: what was in flight is settled somehow, capture starts anew. */
static bool do_reboot(struct sim *s)
{
	if (s->boot + 1 == MAX_INCARNATIONS)
		return false;
	sim_log(s, "REBOOT");
	if (s->shipper)
		consumer_crash(s);
	device_settle(s);
	s->now++;
	kernel_start(s);
	return true;
}

struct step {
	const char *name;
	bool (*fn)(struct sim *s);
	bool check;		/* points may have changed */
};

enum { SUBMIT, APPLY, COMPLETE, TIMEOUT, DRAIN, DRAIN_ALL, CUT, REPAIR, READ, SEND, RECEIVE, IO,
       CONNECT, DISCONNECT, TARGET_CRASH, CONSUMER_CRASH, CONSUMER_START, REBOOT, NR_STEPS };

static const struct step steps[NR_STEPS] = {
	[SUBMIT] = { "submit", do_submit, false },
	[APPLY] = { "apply", do_apply, false },
	[COMPLETE] = { "complete", do_complete, false },
	[TIMEOUT] = { "timeout", do_timeout, false },
	[DRAIN] = { "drain", do_drain, false },
	[DRAIN_ALL] = { "drain all", do_drain_all, false },
	[CUT] = { "cut", do_cut, false },
	[REPAIR] = { "repair", do_repair, false },
	[READ] = { "read", do_device_read, false },
	[SEND] = { "send", do_send, false },
	[RECEIVE] = { "receive", do_receive, false },
	[IO] = { "io", do_io, true },
	[CONNECT] = { "connect", do_connect, false },
	[DISCONNECT] = { "disconnect", do_disconnect, false },
	[TARGET_CRASH] = { "target crash", do_target_crash, true },
	[CONSUMER_CRASH] = { "consumer crash", do_consumer_crash, false },
	[CONSUMER_START] = { "consumer start", do_consumer_start, false },
	[REBOOT] = { "reboot", do_reboot, false },
};

void sim_now(struct sim *s)
{
	s->now++;
	sim_env_set_realtime(s->disk, s->now * 1000);
}

static bool step(struct sim *s, int which)
{
	sim_now(s);
	if (!steps[which].fn(s))
		return false;
	if (steps[which].check && s->timeline && !s->violation[0])
		check_points(s);
	return true;
}

/* -- a run -- */

static uint32_t choose(struct sim *s, const uint32_t *from, uint32_t nr)
{
	return from[sim_random(s, nr)];
}

static void config_draw(struct sim *s, uint32_t *weights)
{
	static const uint32_t descs[] = { 4, 8, 64 }, rings[] = { 65536, 131072, 1 << 20 };
	static const uint32_t apps[] = { 1, 4, 8 }, cons[] = { 4, 12, 24 }, nets[] = { 6, 18 };
	static const uint32_t overlaps[] = { 0, 20, 100 }, outboxes[] = { 1, 2, 4 };
	static const uint32_t fails[] = { 0, 0, 10 }, aborts[] = { 0, 0, 15 };
	static const uint32_t corrupts[] = { 0, 0, 0, 5 }, slow_copies[] = { 0, 10, 40 };
	struct sim_config *c = &s->cfg;
	uint32_t app, con, net;

	*c = (struct sim_config){
		.dm = sim_random(s, 3) == 0,
		.volumes = 1 + sim_random(s, MAX_VOLUMES),
		.cells = 2 + sim_random(s, 5),
		.desc_count = choose(s, descs, 3),
		.payload_bytes = choose(s, rings, 3),
		.inflight = 1 + sim_random(s, 6),
		.steps = 120 + sim_random(s, 500),
		.outbox = choose(s, outboxes, 3),
		.chunk_regions = 1 + sim_random(s, 2),
		.overlap = choose(s, overlaps, 3),
		.fail = choose(s, fails, 3),
		.abort = choose(s, aborts, 3),
		.corrupt = choose(s, corrupts, 4),
		.slow_copy = choose(s, slow_copies, 3),
		.codec = sim_random(s, 2) ? UNIT_LZ4 : UNIT_STORED,
	};
	/* Around the border of the two regions, so that writes lie in both. */
	c->first_cell = BLKSHIP_REGION_BYTES / 512 / CELL_SECTORS - c->cells / 2;
	app = choose(s, apps, 3);
	con = choose(s, cons, 3);
	net = choose(s, nets, 2);
	memset(weights, 0, NR_STEPS * sizeof(*weights));
	weights[SUBMIT] = 6 * app;
	weights[APPLY] = 5 * app;
	weights[COMPLETE] = 6 * app;
	weights[TIMEOUT] = sim_odds(s, 30) ? 2 : 0;
	weights[DRAIN] = 4 * con;
	weights[CUT] = 2 * con;
	weights[REPAIR] = 5 * con;
	weights[READ] = 4 * con;
	weights[SEND] = 8 * net;
	weights[RECEIVE] = 4 * net;
	weights[IO] = 5 * net;
	weights[CONNECT] = 16;
	weights[DISCONNECT] = sim_odds(s, 50) ? 2 : 0;
	weights[TARGET_CRASH] = sim_odds(s, 40) ? 1 : 0;
	weights[CONSUMER_CRASH] = sim_odds(s, 50) ? 2 : 0;
	weights[CONSUMER_START] = 12;
	weights[REBOOT] = sim_odds(s, 15) ? 1 : 0;
}

static int weighted(struct sim *s, const uint32_t *weights)
{
	uint32_t sum = 0, dice;
	int i = 0;

	for (int k = 0; k < NR_STEPS; k++)
		sum += weights[k];
	for (dice = sim_random(s, sum); dice >= weights[i]; i++)
		dice -= weights[i];
	return i;
}

struct sim *sim_create(void)
{
	struct sim *s = calloc(1, sizeof(*s));

	s->effects = calloc(MAX_OPS * HOT_SECTORS, sizeof(*s->effects));
	s->payload = aligned_alloc(4096, 1 << 20);
	s->up = aligned_alloc(8, SHIPPER_FRAME_MAX + 64);
	s->down = aligned_alloc(8, 65536);
	for (int i = 0; i < MAX_INCARNATIONS; i++)
		s->seq_time[i] = calloc(MAX_SEQS, sizeof(uint64_t));
	s->disk = sim_env_create(1);
	s->env = sim_env_env(s->disk);
	return s;
}

void sim_destroy(struct sim *s)
{
	for (int i = 0; i < MAX_INCARNATIONS; i++)
		free(s->seq_time[i]);
	sim_env_destroy(s->disk);
	free(s->effects);
	free(s->payload);
	free(s->up);
	free(s->down);
	free(s);
}

/* Everything at its start, with the configuration to be drawn or set by the caller. */
static void sim_clear(struct sim *s, uint64_t seed)
{
	s->rng = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
	s->seed = seed;
	s->now = 1;
	s->violation[0] = '\0';
	s->reverted = false;
	s->bad_offset = 0;
	s->nr_ops = s->nr_flying = s->nr_effects = s->nr_reads = s->nr_points = 0;
	s->boot = 0;
	memset(s->history, 0, sizeof(s->history));
	memset(s->history_end, 0, sizeof(s->history_end));
	memset(s->initial, 0, sizeof(s->initial));
	memset(s->content, 0, sizeof(s->content));
	s->up_bytes = s->down_bytes = 0;
	s->connected = false;
	sim_env_reset(s->disk, seed);
	for (int i = 0; i < 4; i++)
		sim_random(s, 2);
}

static void sim_boot(struct sim *s)
{
	sim_env_set_realtime(s->disk, s->now * 1000);
	device_init(s);
	kernel_start(s);
	target_init(s);
	consumer_start(s);
}

void sim_begin(struct sim *s, const struct sim_config *config)
{
	sim_clear(s, 1);
	s->cfg = *config;
	sim_boot(s);
}

void sim_rest(struct sim *s)
{
	static const int order[] = { CONSUMER_START, CONNECT, DRAIN_ALL, REPAIR, READ, CUT };
	bool resting = false;
	int idle = 0;

	sim_log(s, "-- at rest");
	for (int i = 0; idle < 20 && i < 3000 && !s->violation[0]; i++) {
		bool any = false;

		while (step(s, COMPLETE))
			;
		while (!s->violation[0] &&
		       (step(s, RECEIVE) || step(s, IO) || step(s, SEND)))
			;
		if (s->violation[0])
			return;
		resting = s->shipper && s->connected && shipper_idle(s->shipper);
		if (resting)
			break;
		for (uint32_t k = 0; k < sizeof(order) / sizeof(order[0]); k++)
			any |= step(s, order[k]);
		/* A step may cut on its way, find the outbox full, and say it did nothing. */
		idle = any ? 0 : idle + 1;
	}
	if (!resting) {
		sim_violation(s, "liveness: it never comes to rest");
		return;
	}
	step(s, CUT);		/* the heartbeat */
	while (!s->violation[0] && (step(s, SEND) || step(s, IO) || step(s, RECEIVE)))
		;
	if (!s->violation[0])
		check_at_rest(s);
	check_all_again(s);
}

void sim_end(struct sim *s)
{
	target_fini(s);
}

int sim_run(struct sim *s, uint64_t seed)
{
	uint32_t weights[NR_STEPS], done = 0;

	sim_clear(s, seed);
	config_draw(s, weights);
	sim_boot(s);
	sim_log(s, "config: %s, %u volumes of %u cells, ring %u/%llu, outbox %u, overlap %u",
		s->cfg.dm ? "dm" : "tap", s->cfg.volumes, s->cfg.cells, s->cfg.desc_count,
		(unsigned long long)s->cfg.payload_bytes, s->cfg.outbox, s->cfg.overlap);
	for (uint32_t i = 0; i < s->cfg.steps * 4 && done < s->cfg.steps && !s->violation[0]; i++)
		done += step(s, weighted(s, weights));
	if (!s->violation[0])
		sim_rest(s);
	sim_end(s);
	return s->violation[0] ? -1 : (int)s->nr_points;
}
