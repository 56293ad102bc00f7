// SPDX-License-Identifier: GPL-2.0-only
/* target - the shipper's process, the connection, and the target's process. */
#include "sim.h"

#include "../../userspace/store/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define UP_ROOM (SHIPPER_FRAME_MAX + 64)
#define DOWN_ROOM 65536
#define CREDIT_BYTES (1u << 20)

/* -- the target's process -- */

static int get_timeline(void *arg, const char *group, const char *identity,
			struct timeline **tl, char *why)
{
	struct sim *s = arg;

	*tl = s->timeline;
	return 0;
}

static int claim(void *arg, struct session *session, struct timeline *tl,
		 const uint8_t instance[16])
{
	return 0;
}

static int enroll(void *arg, const void *payload, size_t bytes, void *answer,
		  size_t *answer_bytes, char *why)
{
	return -EACCES;
}

static const struct session_ops session_ops = { get_timeline, claim, enroll };

static void progress(void *arg)
{
	struct sim *s = arg;

	if (s->session && session_progress(s->session))
		sim_violation(s, "session_progress failed");
}

static void timeline_start(struct sim *s)
{
	char why[TIMELINE_TEXT_BYTES];
	int ret = timeline_open(s->env, "/t", TIMELINE_CREATE, "sim", &s->timeline, why);

	if (ret) {
		sim_violation(s, "the timeline does not open: %d %s", ret, why);
		return;
	}
	timeline_set_limits(s->timeline, 16384 << sim_random(s, 4), 16384);
	timeline_on_progress(s->timeline, progress, s);
}

void target_init(struct sim *s)
{
	timeline_start(s);
}

static void connection_drop(struct sim *s)
{
	if (s->session) {
		session_disconnected(s->session);
		session_destroy(s->session);
		s->session = NULL;
	}
	s->up_bytes = s->down_bytes = 0;
	if (s->connected && s->shipper)
		shipper_disconnected(s->shipper);
	s->connected = false;
}

void target_fini(struct sim *s)
{
	connection_drop(s);
	sim_env_complete_all(s->disk);
	if (s->timeline)
		timeline_close(s->timeline);
	s->timeline = NULL;
	shipper_destroy(s->shipper);
	s->shipper = NULL;
}

bool do_target_crash(struct sim *s)
{
	sim_log(s, "TARGET CRASH");
	if (sim_random(s, 4))
		sim_env_crash(s->disk, sim_random(s, 1u << 30));
	else
		sim_env_kill(s->disk);
	connection_drop(s);
	timeline_close(s->timeline);
	s->timeline = NULL;
	timeline_start(s);
	return true;
}

/* -- the shipper's process -- */

static void on_read(void *arg)
{
	((struct sim *)arg)->read_told = true;
}

bool consumer_start(struct sim *s)
{
	struct shipper_params params = {
		.env = s->env,
		.capture = &s->capture,
		.chunk_bytes = s->cfg.chunk_regions * BLKSHIP_REGION_BYTES,
		.outbox_batches = s->cfg.outbox,
		.codec = s->cfg.codec,
		.on_read = on_read,
		.on_read_arg = s,
	};

	if (s->shipper)
		return false;
	sim_log(s, "consumer starts");
	if (shipper_create(&params, &s->shipper))
		sim_violation(s, "shipper_create failed");
	return true;
}

void consumer_crash(struct sim *s)
{
	sim_log(s, "CONSUMER CRASH");
	shipper_destroy(s->shipper);
	s->shipper = NULL;
	s->nr_reads = 0;
	connection_drop(s);
	kernel_consumer_gone(s);
}

bool do_connect(struct sim *s)
{
	struct session_params params = {
		.ops = &session_ops, .ops_arg = s, .env = s->env, .identity = "sim",
		.credit_window_bytes = CREDIT_BYTES,
	};

	if (!s->shipper || s->connected || !s->timeline)
		return false;
	sim_log(s, "connected");
	if (shipper_connected(s->shipper)) {
		consumer_crash(s);
		return true;
	}
	s->session = session_create(&params);
	s->connected = true;
	return true;
}

bool do_disconnect(struct sim *s)
{
	if (!s->connected)
		return false;
	sim_log(s, "disconnected");
	connection_drop(s);
	return true;
}

/* Some bytes towards the target: frames may arrive in pieces. */
bool do_send(struct sim *s)
{
	size_t used = 0, bytes;
	int ret;

	if (!s->connected)
		return false;
	if (!s->up_bytes)
		s->up_bytes = shipper_output(s->shipper, s->up, SHIPPER_FRAME_MAX);
	if (!s->up_bytes)
		return false;
	bytes = sim_odds(s, 10) ? 1 + sim_random(s, s->up_bytes) : s->up_bytes;
	ret = session_input(s->session, s->up, bytes, &used);
	if (ret) {
		sim_violation(s, "session_input: %d", ret);
		return true;
	}
	memmove(s->up, s->up + used, s->up_bytes - used);
	s->up_bytes -= used;
	timeline_flush(s->timeline);
	return used > 0 || bytes < s->up_bytes;
}

bool do_receive(struct sim *s)
{
	const void *out;
	size_t bytes, used = 0;
	int ret;

	if (!s->connected)
		return false;
	bytes = session_output(s->session, &out);
	if (bytes > DOWN_ROOM - s->down_bytes)
		bytes = DOWN_ROOM - s->down_bytes;
	if (!bytes)
		return false;
	memcpy(s->down + s->down_bytes, out, bytes);
	s->down_bytes += bytes;
	session_sent(s->session, bytes);
	ret = shipper_input(s->shipper, s->down, s->down_bytes, &used);
	memmove(s->down, s->down + used, s->down_bytes - used);
	s->down_bytes -= used;
	if (ret == -ERESTART) {
		consumer_crash(s);
	} else if (ret) {
		struct shipper_status st;

		shipper_status(s->shipper, &st);
		sim_violation(s, "shipper_input: %d %s", ret, st.text);
	}
	return true;
}

/* Points are looked at with all kinds of runs; the dice of the schedule are not asked. */
static void index_step(struct sim *s)
{
	struct index_job *job = timeline_index_plan(s->timeline);

	if (!job)
		return;
	index_job_run(job, s->env, NULL);
	if (timeline_index_take(s->timeline, job))
		sim_violation(s, "a job of the index failed");
}

bool do_io(struct sim *s)
{
	size_t n = sim_env_pending(s->disk);

	if (!n)
		return false;
	sim_env_complete(s->disk, sim_random(s, n));
	if (sim_env_ops(s->disk) % 3 == 0)
		index_step(s);
	return true;
}
