// SPDX-License-Identifier: GPL-2.0-only
/* See source.h. */
#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/log.h"
#include "../lib/tcp.h"
#include "rpo.h"

#define SECOND_NS UINT64_C(1000000000)
#define RETRY_MIN_S 1
#define AGAIN_NS (SECOND_NS / 100)	/* for what ends soon and does not say so */
#define RETRY_MAX_S 60
#define RETRY_AUTH_S (15 * 60)
#define CONNECT_TIMEOUT_NS (30 * SECOND_NS)
/* Frames that wait in the connection; more would only delay what is urgent. */
#define UNSENT_BYTES (4u << 20)
#define FRAMES_BYTES (1u << 20)
/* The target acknowledges at least each cut: silence of this length is a dead link. */
#define SILENCE_NS (30 * SECOND_NS)

struct source {
	const struct source_params *params;
	char group[BLKSHIP_NAME_BYTES];
	struct capture *capture;
	struct shipper *shipper;
	struct tls_conn *conn;
	struct tcp_connect connect;
	struct loop_poll ring;
	struct loop_timer tick, retry, sample;
	struct loop_call work;
	void (*stopped)(void *arg);
	void *stopped_arg;
	bool restart;			/* take shipper and capture down, begin anew */
	unsigned int retry_s;
	uint64_t closed_ns;		/* monotonic, of giving the ring back; 0: never */
	uint64_t heard_ns;		/* monotonic, of the last bytes from the target */
	char trouble[TLS_TEXT_BYTES];	/* why there is no connection */
	bool trouble_logged;
	int read_error;
	struct rpo rpo;
	uint8_t *frames;
};

static void source_work(struct loop_call *call);
static void source_connect(struct source *src);

static void later(struct source *src)
{
	loop_defer(src->params->loop, &src->work, source_work);
}

/* -- trouble -- */

static unsigned int jitter(struct source *src, unsigned int seconds)
{
	uint32_t dice;

	src->params->env->ops->random(src->params->env, &dice, sizeof(dice));
	return seconds + dice % (seconds / 4 + 1);
}

static void on_retry(struct loop_timer *t)
{
	struct source *src = (void *)((char *)t - offsetof(struct source, retry));

	if (!src->shipper)
		later(src);
	else
		source_connect(src);
}

static void retry_in(struct source *src, unsigned int seconds)
{
	loop_timer_start(src->params->loop, &src->retry, seconds * SECOND_NS, 0, on_retry);
}

enum trouble {
	TROUBLE_LINK,
	TROUBLE_AUTH,		/* of certificates: that lasts */
	TROUBLE_REFUSED,	/* by the target, which says why and what to do */
};

/* The connection is gone or was not to be had: say so once, and come back. */
static void link_trouble(struct source *src, const char *why, enum trouble what)
{
	static const char *const advice[] = {
		[TROUBLE_LINK] = "; check blkship-targetd and the network there",
		[TROUBLE_AUTH] = "; check the certificates of both sides and their clocks, or enrol again",
		[TROUBLE_REFUSED] = "",
	};
	bool lasts = what != TROUBLE_LINK;
	unsigned int wait_s;

	if (!lasts)
		src->retry_s = src->retry_s * 2 > RETRY_MAX_S ? RETRY_MAX_S : src->retry_s * 2;
	if (src->retry_s < RETRY_MIN_S)
		src->retry_s = RETRY_MIN_S;
	wait_s = lasts ? RETRY_AUTH_S : jitter(src, src->retry_s);
	if (!src->trouble_logged || strcmp(why, src->trouble))
		log_error("group %s: target %s: %s; the application is not affected, new writes are kept in the ring, then tracked, and sent later%s; next try in %u s",
			  src->group, src->params->target, why, advice[what], wait_s);
	src->trouble_logged = true;
	snprintf(src->trouble, sizeof(src->trouble), "%s", why);
	if (!src->stopped)
		retry_in(src, wait_s);
}

/* -- the connection -- */

static void link_drop(struct source *src)
{
	tcp_connect_stop(&src->connect);
	if (!src->conn)
		return;
	tls_conn_destroy(src->conn);
	src->conn = NULL;
	if (src->shipper)
		shipper_disconnected(src->shipper);
}

static void link_send(struct source *src)
{
	while (src->conn && tls_conn_unsent(src->conn) < UNSENT_BYTES) {
		size_t bytes = shipper_output(src->shipper, src->frames, FRAMES_BYTES);

		if (!bytes || tls_conn_send(src->conn, src->frames, bytes))
			return;
	}
}

/* The shipper wants the connection closed, for this reason. */
static void link_refused(struct source *src, int error)
{
	struct shipper_status st;

	shipper_status(src->shipper, &st);
	link_drop(src);
	if (error == -ERESTART) {
		log_warning("group %s: begins anew (%s); nothing is lost, what is in question is read back",
			    src->group, st.text[0] ? st.text : "its volumes changed");
		src->restart = true;
		later(src);
		return;
	}
	link_trouble(src, st.text[0] ? st.text : strerror(-error),
		     error == -EACCES ? TROUBLE_REFUSED : TROUBLE_LINK);
}

static void on_ready(struct tls_conn *c, void *arg)
{
	struct source *src = arg;
	int ret = shipper_connected(src->shipper);

	src->heard_ns = loop_now_ns();
	if (ret)
		link_refused(src, ret);
	else
		link_send(src);
}

static size_t on_input(struct tls_conn *c, const void *buf, size_t bytes, void *arg)
{
	struct source *src = arg;
	struct shipper_status before, after;
	size_t used = 0;
	int ret;

	src->heard_ns = loop_now_ns();
	shipper_status(src->shipper, &before);
	ret = shipper_input(src->shipper, buf, bytes, &used);
	if (ret) {
		link_refused(src, ret);
		return used;
	}
	shipper_status(src->shipper, &after);
	if (after.link == SHIPPER_LIVE && before.link != SHIPPER_LIVE) {
		log_info("group %s: connected to %s, incarnation %u%s%s", src->group,
			 src->params->target, after.incarnation, after.text[0] ? ": " : "",
			 after.text);
		src->retry_s = 0;
		src->trouble_logged = false;
		src->trouble[0] = '\0';
	}
	later(src);
	return used;
}

static void on_drain(struct tls_conn *c, void *arg)
{
	link_send(arg);
}

static void on_closed(struct tls_conn *c, enum tls_close how, const char *why, void *arg)
{
	struct source *src = arg;

	link_drop(src);
	link_trouble(src, why, how == TLS_CLOSE_AUTH ? TROUBLE_AUTH : TROUBLE_LINK);
}

static const struct tls_conn_ops conn_ops = { on_ready, on_input, on_drain, on_closed };

static void on_connected(struct tcp_connect *tc, int fd, const char *why)
{
	struct source *src = (void *)((char *)tc - offsetof(struct source, connect));

	if (fd < 0) {
		link_trouble(src, why, TROUBLE_LINK);
		return;
	}
	if (tls_conn_create(src->params->loop, src->params->tls, fd, &conn_ops, src, &src->conn))
		link_trouble(src, "out of memory", TROUBLE_LINK);
}

static void source_connect(struct source *src)
{
	int ret;

	if (src->conn || src->stopped || src->restart)
		return;
	ret = tcp_connect_start(src->params->loop, &src->connect, src->params->target, WIRE_PORT,
				CONNECT_TIMEOUT_NS, on_connected);
	if (ret)
		link_trouble(src, strerror(-ret), TROUBLE_LINK);
}

/* -- the work -- */

static void on_tick(struct loop_timer *t)
{
	source_work(&((struct source *)((char *)t - offsetof(struct source, tick)))->work);
}

static void on_ring(struct loop_poll *p, uint32_t events)
{
	struct source *src = (void *)((char *)p - offsetof(struct source, ring));

	if (src->capture->ops->woken)
		src->capture->ops->woken(src->capture);
	source_work(&src->work);
}

static void on_sample(struct loop_timer *t)
{
	struct source *src = (void *)((char *)t - offsetof(struct source, sample));
	struct env *env = src->params->env;
	struct shipper_status st;
	uint64_t now = env->ops->realtime_ns(env);

	if (!src->shipper)
		return;
	shipper_status(src->shipper, &st);
	if (st.point_time_ns && now > st.point_time_ns)
		rpo_add(&src->rpo, now - st.point_time_ns);
	if (src->conn && st.link != SHIPPER_DOWN &&
	    loop_now_ns() - src->heard_ns > SILENCE_NS) {
		link_drop(src);
		link_trouble(src, "the target has been silent for 30 s", TROUBLE_LINK);
	}
}

static void on_read(void *arg)
{
	later(arg);
}

/* Shipper and capture are there, or will be tried for again. */
static bool source_open(struct source *src)
{
	struct shipper_params params = {
		.env = src->params->env,
		.cut_bytes = src->params->cut_bytes,
		.cut_interval_ns = src->params->cut_interval_ns,
		.codec = src->params->codec,
		.on_read = on_read,
		.on_read_arg = src,
	};
	const struct capture_opener *opener = src->params->opener;
	char why[TLS_TEXT_BYTES] = "";
	int ret, fd;

	if (src->shipper)
		return true;
	ret = opener->open(opener->arg, src->params->loop, src->group, &src->capture, &fd, why);
	if (!ret) {
		memcpy(params.machine, src->params->machine, sizeof(params.machine));
		params.capture = src->capture;
		ret = shipper_create(&params, &src->shipper);
		if (ret) {
			snprintf(why, sizeof(why), "%s", strerror(-ret));
			src->params->opener->close(src->capture);
			src->capture = NULL;
		}
	}
	/* The consumer that it has may be us: the kernel lets go of polls behind our back. */
	if (ret == -EBUSY && src->closed_ns && loop_now_ns() - src->closed_ns < SECOND_NS) {
		loop_timer_start(src->params->loop, &src->tick, AGAIN_NS, 0, on_tick);
		return false;
	}
	if (ret) {
		if (strcmp(why, src->trouble))
			log_error("group %s: %s; the application is not affected, its writes are tracked; next try in %u s",
				  src->group, why, RETRY_MIN_S);
		snprintf(src->trouble, sizeof(src->trouble), "%s", why);
		retry_in(src, RETRY_MIN_S);
		return false;
	}
	src->trouble[0] = '\0';
	loop_poll_start(src->params->loop, &src->ring, fd, POLLIN, on_ring);
	source_connect(src);
	return true;
}

/* Reads in flight end first: their buffers are the shipper's. */
static bool source_close(struct source *src)
{
	link_drop(src);
	if (src->shipper && shipper_reading(src->shipper))
		return false;
	loop_poll_stop(&src->ring);
	loop_timer_stop(&src->tick);
	loop_timer_stop(&src->retry);
	shipper_destroy(src->shipper);
	if (src->capture)
		src->params->opener->close(src->capture);
	src->shipper = NULL;
	src->capture = NULL;
	src->restart = false;
	src->closed_ns = loop_now_ns();
	return true;
}

/* Reading back cannot go on: say so once, and when it can again. */
static void read_trouble(struct source *src)
{
	struct shipper_status st;

	shipper_status(src->shipper, &st);
	if (st.read_error == src->read_error)
		return;
	src->read_error = st.read_error;
	if (st.read_error)
		log_error("group %s: reading back its disks: %s; the application is not affected, but no points are made before this is read; it is tried again every second; check the devices",
			  src->group, strerror(-st.read_error));
	else
		log_info("group %s: its disks are read back again", src->group);
}

static void source_work(struct loop_call *call)
{
	struct source *src = (void *)((char *)call - offsetof(struct source, work));
	uint64_t due, now;

	if (src->restart || src->stopped) {
		bool closed = source_close(src);

		if (closed && src->stopped) {
			src->stopped(src->stopped_arg);
			return;
		}
		/* A read is in flight, or the ring is still ours. */
		loop_timer_start(src->params->loop, &src->tick, AGAIN_NS, 0, on_tick);
		return;
	}
	if (!source_open(src))
		return;
	due = shipper_tick(src->shipper);
	if (shipper_volumes_stale(src->shipper)) {
		link_refused(src, -ERESTART);
		return;
	}
	link_send(src);
	read_trouble(src);
	now = loop_now_ns();
	loop_timer_start(src->params->loop, &src->tick, due > now ? due - now : 1, 0, on_tick);
}

int source_create(const struct source_params *params, const char *group, struct source **out)
{
	struct source *src = calloc(1, sizeof(*src));

	if (!src)
		return -ENOMEM;
	src->frames = aligned_alloc(64, FRAMES_BYTES);
	if (!src->frames) {
		free(src);
		return -ENOMEM;
	}
	src->params = params;
	snprintf(src->group, sizeof(src->group), "%s", group);
	loop_timer_start(params->loop, &src->sample, RPO_SAMPLE_NS, RPO_SAMPLE_NS, on_sample);
	later(src);
	*out = src;
	return 0;
}

void source_stop(struct source *src, void (*done)(void *arg), void *arg)
{
	src->stopped = done;
	src->stopped_arg = arg;
	later(src);
}

bool source_is_stopped(const struct source *src)
{
	return src->stopped && !src->shipper;
}

void source_destroy(struct source *src)
{
	if (!src)
		return;
	loop_timer_stop(&src->sample);
	loop_timer_stop(&src->tick);
	loop_timer_stop(&src->retry);
	loop_defer_cancel(&src->work);
	free(src->frames);
	free(src);
}

void source_refresh(struct source *src)
{
	/* A new HELLO names the volumes; shipper_connected() sees what changed. */
	if (!src->conn)
		return;
	link_drop(src);
	source_connect(src);
}

void source_check(struct source *src)
{
	if (src->shipper && !src->restart && shipper_volumes_changed(src->shipper))
		source_refresh(src);
}

const char *source_group(const struct source *src)
{
	return src->group;
}

/* -- status -- */

/* A volume whose front end went without detach is written unseen. */
static bool is_diverged(const struct source *src)
{
	struct capture_volume volumes[BLKSHIP_MAX_VOLUMES];
	int nr = src->capture->ops->volumes(src->capture, volumes, BLKSHIP_MAX_VOLUMES);

	for (int i = 0; i < nr; i++)
		if (volumes[i].flags & BLKSHIP_VOLUME_DIVERGED)
			return true;
	return false;
}

static const char *state_name(const struct source *src, const struct shipper_status *st)
{
	if (!src->shipper)
		return "NOT BOUND";
	if (is_diverged(src))
		return "DIVERGED";
	if (st->link == SHIPPER_REFUSED)
		return "REFUSED";
	if (st->link != SHIPPER_LIVE)
		return "LINK DOWN";
	/* That there are gaps is known only when the first of what is dirty was taken over. */
	if (!st->point_time_ns)
		return "REPLICATING";
	return st->gaps_open ? "REPAIRING" : "PROTECTED";
}

static json_t *seq_json(uint64_t seq)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)seq);
	return json_string(text);
}

json_t *source_status(const struct source *src)
{
	struct shipper_status st = { 0 };
	struct rpo_figures rpo;

	if (src->shipper)
		shipper_status(src->shipper, &st);
	rpo_figures(&src->rpo, &rpo);
	return json_pack("{s:s,s:s,s:s,s:s,s:i,s:o,s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:{s:i,s:i,s:i,s:i}}",
			 "group", src->group, "state", state_name(src, &st),
			 "target", src->params->target,
			 "trouble", src->trouble[0] ? src->trouble : st.text,
			 "incarnation", (int)st.incarnation,
			 "newest_seq", seq_json(st.newest_seq),
			 "watermark_seq", seq_json(st.watermark_seq),
			 "drained_seq", seq_json(st.drained_seq),
			 "durable_ordinal", seq_json(st.durable_ordinal),
			 "durable_time_ns", (json_int_t)st.durable_time_ns,
			 "point_time_ns", (json_int_t)st.point_time_ns,
			 "outbox_batches", (json_int_t)st.outbox_batches,
			 "outbox_bytes", (json_int_t)st.outbox_bytes,
			 "gaps_open", st.gaps_open,
			 "repair_regions_done", (json_int_t)st.repair_regions_done,
			 "repair_regions", (json_int_t)st.repair_regions_all,
			 "records", (json_int_t)st.records,
			 "record_bytes", (json_int_t)st.record_bytes,
			 "sent_bytes", (json_int_t)st.sent_bytes,
			 "bad_crcs", (json_int_t)st.bad_crcs,
			 "bad_rings", (json_int_t)st.bad_rings,
			 "unreadable_bytes", (json_int_t)st.unreadable_bytes,
			 "uncaptured", src->capture ? (json_int_t)src->capture->kernel->uncaptured :
						      (json_int_t)0,
			 "idle", src->shipper && shipper_idle(src->shipper),
			 "rpo", "samples", (int)rpo.samples, "p50_ms", (int)rpo.p50_ms,
			 "p99_ms", (int)rpo.p99_ms, "max_ms", (int)rpo.max_ms);
}
