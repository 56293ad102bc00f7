// SPDX-License-Identifier: GPL-2.0-only
#include "server.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../lib/container_of.h"
#include "../lib/keyring.h"
#include "../lib/log.h"
#include "../lib/pki.h"
#include "../lib/tcp.h"
#include "../lib/tls.h"
#include "../lib/when.h"
#include "../store/index.h"
#include "enroll.h"
#include "groups.h"
#include "control.h"
#include "indexer.h"
#include "opener.h"
#include "session.h"
#include "space_watch.h"

#define SECOND_NS	1000000000ull
#define MAX_PEERS	1024
#define CREDIT_BYTES	(64u << 20)
#define UNSENT_MAX	(4u << 20)	/* answers a peer does not read */
#define SILENT_S	60	/* a source is heard every second */
#define STRANGER_S	10	/* who has no certificate has one thing to say */
#define STRANGERS_MAX	64	/* the other places are for sources */
#define WATCH_S		5
#define REFUSALS_MAX	20	/* lines about strangers per watch period */

struct peer {
	struct server *sv;
	struct tls_conn *conn;
	struct session *session;	/* from the end of the handshake on */
	struct group *group;		/* the one it feeds */
	struct loop_call progress;
	uint64_t heard_ns;	/* of a stranger: when it was accepted */
	bool stranger;		/* no certificate */
	bool ending;
	bool told;		/* why it ends is in the log already */
	char address[80];
	char name[TLS_IDENTITY_BYTES + 84];	/* "web1 (10.0.0.5:41230)" */
	TAILQ_ENTRY(peer) link;
};

struct server {
	struct loop *loop;
	struct home *home;
	char *store;
	struct tls_ctx *tls;
	struct groups *groups;
	struct indexer *indexer;
	struct opener *opener;		/* NULL: stopping */
	struct space_watch *space;
	struct loop_poll listener;
	struct loop_timer watch;
	struct loop_timer accept_again;
	struct loop_call stop_check;
	TAILQ_HEAD(, peer) peers;
	size_t nr_peers, nr_strangers;
	unsigned int refusals;
	bool stopping;
	uint16_t port;
	void (*stopped)(void *arg);
	void *arg;
};

/*
 * The loop's outstanding poll keeps the socket alive for a moment after close(), even
 * after the process: it would still take connections that nobody serves.
 */
static void server_deafen(struct server *sv)
{
	loop_poll_stop(&sv->listener);
	shutdown(sv->listener.fd, SHUT_RDWR);
	close(sv->listener.fd);
}

static void stop_check(struct loop_call *c);

/* -- the end of a peer -- */

static void peer_end_session(struct peer *p)
{
	loop_defer_cancel(&p->progress);
	if (!p->session)
		return;
	session_disconnected(p->session);
	session_destroy(p->session);
	p->session = NULL;
	if (p->group)
		group_release(p->group, p);
	p->group = NULL;
}

static void peer_free(struct peer *p)
{
	struct server *sv = p->sv;

	peer_end_session(p);
	tls_conn_destroy(p->conn);
	TAILQ_REMOVE(&sv->peers, p, link);
	sv->nr_peers--;
	sv->nr_strangers -= p->stranger;
	free(p);
	if (sv->stopping)
		loop_defer(sv->loop, &sv->stop_check, stop_check);
}

/* Strangers may knock as often as they like: they must not fill the log. */
static bool may_log_refusal(struct server *sv)
{
	return sv->refusals++ < REFUSALS_MAX;
}

static void peer_closed(struct tls_conn *c, enum tls_close how, const char *why, void *arg)
{
	struct peer *p = arg;

	if (p->group)
		log_info("group %s: %s disconnected: %s; the group waits for it to come back",
			 group_name(p->group), p->name, why);
	else if (!p->session && how == TLS_CLOSE_AUTH && may_log_refusal(p->sv))
		log_error("ALARM: connection from %s refused: %s; nothing was accepted from it; if it is a source of yours, enrol it with a new token",
			  p->address, why);
	else if (!p->session && how != TLS_CLOSE_LOCAL && may_log_refusal(p->sv))
		log_warning("connection from %s failed: %s; nothing was accepted from it", p->address,
			    why);
	peer_free(p);
}

/* Send what the session still has to say and close. */
static void peer_finish(struct peer *p)
{
	if (p->ending)
		return;
	p->ending = true;
	peer_end_session(p);
	tls_conn_finish(p->conn);
}

/* What the session is about to tell the peer: the log is to say the same. */
static void last_words(struct peer *p, int ret, char *text, size_t bytes)
{
	const uint8_t *at;
	size_t left = session_output(p->session, (const void **)&at);
	struct wire_hello_answer a;
	struct wire_header h;
	struct wire_error e;

	snprintf(text, bytes, "%s", strerror(-ret));
	while (left >= sizeof(h)) {
		memcpy(&h, at, sizeof(h));
		if (h.type == WIRE_ERROR && left >= sizeof(h) + sizeof(e)) {
			memcpy(&e, at + sizeof(h), sizeof(e));
			snprintf(text, bytes, "%.*s", (int)sizeof(e.text), e.text);
		}
		if (h.type == WIRE_HELLO_ANSWER && left >= sizeof(h) + sizeof(a)) {
			memcpy(&a, at + sizeof(h), sizeof(a));
			if (a.text[0])
				snprintf(text, bytes, "%.*s", (int)sizeof(a.text), a.text);
		}
		if (left - sizeof(h) < le32toh(h.payload_bytes))
			break;
		left -= sizeof(h) + le32toh(h.payload_bytes);
		at += sizeof(h) + le32toh(h.payload_bytes);
	}
}

static void log_session_error(struct peer *p, int ret, const char *text)
{
	struct timeline *tl = session_timeline(p->session);
	struct timeline_state state = { .failed = false };
	const char *group = session_group(p->session);

	if (tl)
		timeline_state(tl, &state);
	if (state.failed)
		log_error("ALARM: group %s: store %s/%s: %s; the session with %s ended, what was acknowledged is safe, the source keeps what is not; %s; it comes back by itself",
			  group, home_groups(p->sv->home), group, strerror(-state.error), p->name,
			  state.error == -ENOSPC || state.error == -EDQUOT ? "make room there" :
			  home_is_remote(p->sv->home) ? "see `ceph -s`" : "check the disk");
	else if (group && *group)
		log_error("group %s: session with %s ended: %s; what was acknowledged is safe; it may come back",
			  group, p->name, text);
	else if (may_log_refusal(p->sv))
		log_error("session with %s ended: %s", p->name, text);
}

/* -- a session's bytes -- */

static void peer_output(struct peer *p)
{
	const void *buf;
	size_t bytes;

	while ((bytes = session_output(p->session, &buf)) > 0) {
		if (tls_conn_unsent(p->conn) > UNSENT_MAX) {
			log_warning("%s does not read what it is told; connection closed", p->name);
			peer_finish(p);
			return;
		}
		/* When it cannot be sent the connection is at its end and says so. */
		tls_conn_send(p->conn, buf, bytes);
		session_sent(p->session, bytes);
	}
}

static void peer_check(struct peer *p, int ret)
{
	char text[WIRE_TEXT_BYTES];

	if (ret < 0)
		last_words(p, ret, text, sizeof(text));
	peer_output(p);
	if (ret == 0 || !p->session)
		return;
	if (ret != -ESHUTDOWN && ret != -ECONNRESET && !p->told)
		log_session_error(p, ret, text);
	peer_finish(p);
}

/* At a cap it ends as with a full disk; what was acknowledged is kept. */
static void peer_came(struct peer *p, size_t bytes)
{
	char why[SPACE_WATCH_TEXT_BYTES];

	space_watch_came(p->sv->space, group_name(p->group), bytes);
	if (p->ending || !space_watch_refuses(p->sv->space, group_name(p->group), why))
		return;
	log_warning("group %s: session with %s ended: %s", group_name(p->group), p->name, why);
	session_end(p->session, WIRE_ERR_NO_SPACE, why);
	peer_output(p);
	peer_finish(p);
}

static size_t peer_input(struct tls_conn *c, const void *buf, size_t bytes, void *arg)
{
	struct peer *p = arg;
	size_t used = 0;
	int ret;

	if (!p->session)
		return bytes;	/* it is being closed: nobody listens any more */
	/* Whatever a stranger says, it gets no more time. */
	if (!p->stranger)
		p->heard_ns = loop_now_ns();
	ret = session_input(p->session, buf, bytes, &used);
	peer_check(p, ret);
	if (p->group)
		group_flush(p->group);
	if (p->session && p->group)
		peer_came(p, used);
	return used;
}

static void peer_progress(struct loop_call *call)
{
	struct peer *p = container_of(call, struct peer, progress);

	if (!p->session)
		return;
	peer_check(p, session_progress(p->session));
	if (!p->session)
		return;
	if (p->group)
		group_flush(p->group);
	tls_conn_resume(p->conn);	/* a HELLO may have waited for this */
}

/* A timeline moved, perhaps while a session is in the middle of a call: later. */
static void server_progress(void *arg, struct group *g, void *live)
{
	struct server *sv = arg;
	struct peer *p = live;

	if (p)
		loop_defer(sv->loop, &p->progress, peer_progress);
	if (sv->stopping)
		loop_defer(sv->loop, &sv->stop_check, stop_check);
}

/* -- what a session asks for -- */

static int op_timeline_get(void *arg, const char *name, const char *identity,
			   struct timeline **tl, char *why)
{
	struct peer *p = arg;
	struct group *g;
	int ret = groups_get(p->sv->groups, name, identity, &g, why);

	if (ret == 0 && space_watch_refuses(p->sv->space, name, why))
		ret = -EDQUOT;
	p->told = ret < 0;
	if (ret == -EACCES)
		log_error("ALARM: %s asked for group %.32s: %s; refused", p->name, name, why);
	else if (ret == -EDQUOT)
		log_warning("group %.32s: %s is refused: %s", name, p->name, why);
	else if (ret < 0)
		log_error("group %.32s: cannot be opened for %s: %s; refused; see `blkship points %.32s --store %s`",
			  name, p->name, why, name, p->sv->store);
	else
		*tl = group_timeline(g);
	return ret;
}

static int op_claim(void *arg, struct session *s, struct timeline *tl,
		    const uint8_t instance[16])
{
	struct peer *p = arg, *evicted_peer;
	struct group *g = groups_find(p->sv->groups, tl);
	void *evicted;
	int ret;

	if (!g)
		return -ENOENT;
	ret = group_claim(g, p, instance, &evicted);
	if (ret < 0) {
		p->told = true;
		log_error("ALARM: group %s: %s wants to feed it while %s does; refused: a clone, or the same group on two machines; stop one of them",
			  group_name(g), p->name, ((struct peer *)group_live(g))->name);
		return ret;
	}
	evicted_peer = evicted;
	if (evicted_peer) {
		log_info("group %s: %s takes the place of %s", group_name(g), p->name,
			 evicted_peer->name);
		session_end(evicted_peer->session, WIRE_ERR_REPLACED,
			    "the same instance has connected again");
		peer_output(evicted_peer);
		peer_finish(evicted_peer);
	}
	p->group = g;
	log_info("group %s: fed by %s", group_name(g), p->name);
	return 0;
}

static int op_enroll(void *arg, const void *payload, size_t bytes, void *answer,
		     size_t *answer_bytes, char *why)
{
	struct peer *p = arg;
	char host[PKI_HOST_BYTES];
	int ret = enroll_answer(p->sv->store, payload, bytes, answer, answer_bytes, host, why);

	p->told = ret < 0;
	if (ret < 0 && may_log_refusal(p->sv))
		log_error("ALARM: enrolment from %s refused: %s; make a new token with `blkship token create` if it is wanted",
			  p->address, why);
	else if (ret == 0)
		log_info("enrolled %s from %s", host, p->address);
	return ret;
}

static const struct session_ops session_ops = {
	.timeline_get = op_timeline_get,
	.claim = op_claim,
	.enroll = op_enroll,
};

static void peer_ready(struct tls_conn *c, void *arg)
{
	struct peer *p = arg;
	const char *identity = tls_conn_identity(c);
	const struct session_params params = {
		.ops = &session_ops,
		.ops_arg = p,
		.env = home_env(p->sv->home),
		.identity = identity,
		.credit_window_bytes = CREDIT_BYTES,
	};

	if (identity) {
		snprintf(p->name, sizeof(p->name), "%s (%s)", identity, p->address);
		p->heard_ns = loop_now_ns();
	} else {
		p->stranger = true;
		if (++p->sv->nr_strangers > STRANGERS_MAX) {
			if (may_log_refusal(p->sv))
				log_warning("connection from %s: too many others without a certificate; closed",
					    p->address);
			peer_finish(p);
			return;
		}
	}
	p->session = session_create(&params);
	if (!p->session) {
		log_error("connection from %s: out of memory; closed", p->name);
		peer_finish(p);
	}
}

static const struct tls_conn_ops conn_ops = {
	.ready = peer_ready,
	.input = peer_input,
	.closed = peer_closed,
};

/* -- accepting -- */

static void peer_accept(struct server *sv, int fd)
{
	struct peer *p = calloc(1, sizeof(*p));

	if (!p) {
		close(fd);
		return;
	}
	p->sv = sv;
	p->heard_ns = loop_now_ns();
	tcp_peer_text(fd, p->address, sizeof(p->address));
	snprintf(p->name, sizeof(p->name), "%s", p->address);
	if (tls_conn_create(sv->loop, sv->tls, fd, &conn_ops, p, &p->conn) < 0) {
		log_error("connection from %s: out of memory; closed", p->address);
		free(p);
		return;
	}
	TAILQ_INSERT_TAIL(&sv->peers, p, link);
	sv->nr_peers++;
}

static void accept_again(struct loop_timer *t)
{
	struct server *sv = container_of(t, struct server, accept_again);

	loop_poll_events(&sv->listener, POLLIN);
}

/*
 * Make room: who has shown no certificate the longest goes. A source needs a moment to
 * show its own, so it gets a place however many knock.
 */
static void peer_evict(struct server *sv)
{
	struct peer *p;

	TAILQ_FOREACH(p, &sv->peers, link) {
		if (tls_conn_identity(p->conn))
			continue;
		if (may_log_refusal(sv))
			log_warning("connection from %s closed: no place left, and it has shown no certificate",
				    p->address);
		peer_free(p);
		return;
	}
}

static void listener_readable(struct loop_poll *poll, uint32_t events)
{
	struct server *sv = container_of(poll, struct server, listener);
	int fd;

	if (sv->nr_peers >= MAX_PEERS)
		peer_evict(sv);
	if (sv->nr_peers < MAX_PEERS) {
		fd = accept4(poll->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			peer_accept(sv, fd);
			return;
		}
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		log_error("accept: %s; tried again in a second", strerror(errno));
	}
	/* No descriptor or no place: those who wait, wait in the kernel. */
	loop_poll_events(poll, 0);
	loop_timer_start(sv->loop, &sv->accept_again, SECOND_NS, 0, accept_again);
}

static void server_watch(struct loop_timer *t)
{
	struct server *sv = container_of(t, struct server, watch);
	uint64_t now_ns = loop_now_ns();
	struct peer *p, *next;

	if (sv->refusals > REFUSALS_MAX)
		log_warning("%u more connections were refused in the last %u s",
			    sv->refusals - REFUSALS_MAX, WATCH_S);
	sv->refusals = 0;
	for (p = TAILQ_FIRST(&sv->peers); p; p = next) {
		uint64_t limit_s = p->stranger ? STRANGER_S : SILENT_S;

		next = TAILQ_NEXT(p, link);
		if (p->ending || !p->session || now_ns - p->heard_ns < limit_s * SECOND_NS)
			continue;
		if (p->group)
			log_error("ALARM: group %s: %s has been silent for %u s; connection closed, the newest point grows old; check the machine and the network",
				  group_name(p->group), p->name, SILENT_S);
		peer_finish(p);
	}
}

/* -- begin and end -- */

static char *join(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

static int load_certificates(struct server *sv, char *why)
{
	char *ca = join(sv->store, "pki/ca.pem"), *cert = join(sv->store, "pki/server.pem");
	char *key = join(sv->store, "pki/server.key"), reason[TLS_TEXT_BYTES] = "out of memory";
	int ret = -ENOMEM;

	if (ca && cert && key)
		ret = tls_ctx_server(ca, cert, key, &sv->tls, reason);
	if (ret < 0)
		snprintf(why, SERVER_TEXT_BYTES, "%s%s", reason,
			 ret == -ENOENT ? "; make a store with `blkship target init`" : "");
	free(ca);
	free(cert);
	free(key);
	return ret;
}

static int open_groups(struct server *sv, const struct server_params *sp)
{
	const struct groups_params params = {
		.env = home_env(sv->home), .dir = home_groups(sv->home), .keys = sp->keys,
		.progress = server_progress, .arg = sv,
		.retention = sp->retention, .retention_arg = sp->arg,
	};

	return groups_create(&params, &sv->groups);
}

/* The socket of a daemon that was killed goes a moment after it. */
static int listen_patiently(struct server *sv, const char *address, char *reason)
{
	const struct timespec nap = { .tv_nsec = 20000000 };
	int fd = tcp_listen(address, WIRE_PORT, &sv->port, reason);

	for (int tries = 50; fd == -EADDRINUSE && tries; tries--) {
		nanosleep(&nap, NULL);
		fd = tcp_listen(address, WIRE_PORT, &sv->port, reason);
	}
	return fd;
}

int server_create(const struct server_params *params, struct server **out, uint16_t *port,
		  char *why)
{
	struct server *sv = calloc(1, sizeof(*sv));
	char reason[TCP_TEXT_BYTES];
	int ret = -ENOMEM, fd;

	snprintf(why, SERVER_TEXT_BYTES, "out of memory");
	if (!sv)
		return ret;
	sv->loop = params->loop;
	sv->home = params->home;
	sv->stopped = params->stopped;
	sv->arg = params->arg;
	TAILQ_INIT(&sv->peers);
	sv->store = strdup(params->store);
	if (!sv->store)
		goto err_free;
	ret = load_certificates(sv, why);
	if (ret < 0)
		goto err_free;
	ret = open_groups(sv, params);
	if (ret < 0)
		goto err_tls;
	ret = indexer_create(sv->loop, sv->groups, sv->store,
			     params->limits->reclaim_bytes_per_s, &sv->indexer);
	if (ret < 0) {
		snprintf(why, SERVER_TEXT_BYTES, "worker of the index: %s", strerror(-ret));
		goto err_groups;
	}
	ret = opener_create(sv->loop, sv->groups, home_is_remote(sv->home), &sv->opener);
	if (ret < 0) {
		snprintf(why, SERVER_TEXT_BYTES, "%.200s: its groups cannot be listed: %s",
			 home_groups(sv->home), strerror(-ret));
		goto err_indexer;
	}
	ret = space_watch_create(sv->loop, sv->groups, sv->store, params->limits, &sv->space);
	if (ret < 0) {
		snprintf(why, SERVER_TEXT_BYTES, "watch of its space: %s", strerror(-ret));
		goto err_opener;
	}
	fd = listen_patiently(sv, params->listen, reason);
	if (fd < 0) {
		snprintf(why, SERVER_TEXT_BYTES, "%s", reason);
		ret = fd;
		goto err_space;
	}
	loop_poll_start(sv->loop, &sv->listener, fd, POLLIN, listener_readable);
	loop_timer_start(sv->loop, &sv->watch, WATCH_S * SECOND_NS, WATCH_S * SECOND_NS,
			 server_watch);
	*port = sv->port;
	*out = sv;
	return 0;

err_space:
	space_watch_destroy(sv->space);
err_opener:
	opener_destroy(sv->opener);
err_indexer:
	indexer_destroy(sv->indexer);
err_groups:
	groups_destroy(sv->groups);
err_tls:
	tls_ctx_destroy(sv->tls);
err_free:
	free(sv->store);
	free(sv);
	return ret;
}

static void stop_check(struct loop_call *c)
{
	struct server *sv = container_of(c, struct server, stop_check);

	if (TAILQ_EMPTY(&sv->peers) && groups_idle(sv->groups))
		sv->stopped(sv->arg);
}

void server_stop(struct server *sv)
{
	struct group *g = NULL;
	struct peer *p, *next;

	if (sv->stopping)
		return;
	sv->stopping = true;
	server_deafen(sv);
	loop_timer_stop(&sv->watch);
	loop_timer_stop(&sv->accept_again);
	opener_destroy(sv->opener);
	sv->opener = NULL;
	while ((g = groups_next(sv->groups, g)))
		group_flush(g);
	for (p = TAILQ_FIRST(&sv->peers); p; p = next) {
		next = TAILQ_NEXT(p, link);
		peer_finish(p);
	}
	loop_defer(sv->loop, &sv->stop_check, stop_check);
}

void server_destroy(struct server *sv)
{
	struct peer *p;

	if (!sv)
		return;
	while ((p = TAILQ_FIRST(&sv->peers)))
		peer_free(p);
	loop_defer_cancel(&sv->stop_check);
	loop_timer_stop(&sv->watch);
	loop_timer_stop(&sv->accept_again);
	if (!sv->stopping)
		server_deafen(sv);
	space_watch_destroy(sv->space);
	opener_destroy(sv->opener);
	indexer_destroy(sv->indexer);
	groups_destroy(sv->groups);
	tls_ctx_destroy(sv->tls);
	free(sv->store);
	free(sv);
}

/* -- status -- */

static json_t *json_time(uint64_t time_ns)
{
	char text[40];

	if (!time_ns)
		return json_null();
	when_utc(time_ns, text, sizeof(text));
	return json_string(text);
}

static json_t *group_status(struct server *sv, struct group *g)
{
	struct timeline *tl = group_timeline(g);
	struct peer *p = group_live(g);
	const uint8_t *key = timeline_key(tl);
	char key_id[KEY_ID_TEXT_BYTES];
	struct timeline_state state;
	struct timeline_pack_state packing;
	const struct timeline_line *line = timeline_main_line(tl);
	uint64_t nr_runs, nr_waiting;

	if (key)
		keyring_id_text(key, key_id);
	timeline_state(tl, &state);
	timeline_index_state(tl, &nr_runs, &nr_waiting);
	timeline_pack_state(tl, &packing);
	return json_pack("{s:s, s:s, s:b, s:s?, s:f, s:I, s:I, s:o, s:i, s:i, s:I, s:I, s:I, s:b, s:I, s:s?, s:I, s:I, s:s?, s:s?, s:s?, s:s?, s:b, s:s?}",
			 "group", group_name(g), "owner", timeline_owner(tl), "connected", p != NULL,
			 "peer", p ? p->name : NULL,
			 "silent_s", p ? (double)(loop_now_ns() - p->heard_ns) / SECOND_NS : 0.0,
			 "received_ordinal", (json_int_t)state.ordinal,
			 "durable_ordinal", (json_int_t)state.durable_ordinal,
			 "received_time", json_time(state.time_ns),
			 "incarnation", (int)state.incarnation, "epoch", (int)state.epoch,
			 "unflushed_bytes", (json_int_t)timeline_unflushed_bytes(tl),
			 "index_runs", (json_int_t)nr_runs,
			 "index_waiting_segments", (json_int_t)nr_waiting,
			 "packing", packing.on,
			 "unreadable_files", (json_int_t)packing.nr_aside,
			 "unreadable_file", packing.nr_aside ? packing.aside : NULL,
			 "reclaim_needs_bytes", (json_int_t)packing.need_bytes,
			 "reclaimed_bytes", (json_int_t)packing.reclaimed_bytes,
			 "leases_error", packing.leases_error ?
			 leases_error_text(packing.leases_error) : NULL,
			 "unreadable_lease", packing.lease[0] ? packing.lease : NULL,
			 "key", key ? key_id : NULL,
			 "main_line", line ? line->name : NULL,
			 "failed", state.failed, "error",
			 state.failed ? strerror(-state.error) : NULL);
}

json_t *server_status(struct server *sv)
{
	json_t *groups = json_array();
	struct group *g = NULL;

	while ((g = groups_next(sv->groups, g)))
		json_array_append_new(groups, group_status(sv, g));
	return json_pack("{s:i, s:s, s:s, s:i, s:i, s:i, s:i, s:o, s:o, s:o}", "schema", 1, "role",
			 "target", "store", sv->store, "port", sv->port, "pid", (int)getpid(),
			 "connections", (int)sv->nr_peers, "groups_waiting",
			 (int)opener_waiting(sv->opener), "groups_failed",
			 opener_failed(sv->opener), "space", space_watch_status(sv->space),
			 "groups", groups);
}

/* Who feeds a group that goes on in a branch now: the next HELLO has the reason. */
static void end_taken_over(struct server *sv)
{
	struct group *g = NULL;

	while ((g = groups_next(sv->groups, g))) {
		struct peer *p = group_live(g);

		if (!p || !timeline_main_line(group_timeline(g)))
			continue;
		log_warning("group %s: %s is disconnected: a branch is the main line now, and it will be refused",
			    group_name(g), p->name);
		session_end(p->session, WIRE_ERR_REPLACED, "a branch is the group's main line now");
		peer_output(p);
		peer_finish(p);
	}
}

json_t *server_control(struct server *sv, const json_t *request)
{
	json_t *answer = control_answer(sv->groups, request);

	end_taken_over(sv);
	return answer;
}
