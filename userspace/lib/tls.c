// SPDX-License-Identifier: GPL-2.0-only
#include "tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "container_of.h"
#include "tls_private.h"

#define HANDSHAKE_NS	10000000000u
#define FINISH_NS	2000000000u
#define IN_BYTES	(4u << 20)	/* a whole frame, and room to read on behind it */
#define OUT_FIRST_BYTES	(256u << 10)
#define OUT_FLUSH_BYTES	(256u << 10)	/* this much is worth a system call at once */
#define READ_BYTES	(128u << 10)	/* room worth reading into */
#define TURN_BYTES	(2u << 20)	/* read in one turn before others have theirs */
#define RECORD_BYTES	16384u		/* plain text of a TLS record */
#define RECORD_EXTRA	64u		/* header, tag: 22, rounded up */

enum conn_state { CONN_HANDSHAKE, CONN_OPEN, CONN_FINISHING, CONN_CLOSED };

struct tls_conn {
	struct loop_poll poll;
	struct loop_timer timer;
	struct loop_call flush;		/* end of the turn: send what was queued */
	struct loop_call offer;		/* give input another chance */
	struct loop_call close;		/* tell the owner */
	struct loop *loop;
	struct tls_ctx *ctx;
	SSL *ssl;
	int fd;
	const struct tls_conn_ops *ops;
	void *arg;

	enum conn_state state;
	int nesting;		/* callbacks under way: free later */
	bool destroyed;
	bool eof;		/* the socket has none left */
	bool half_closed;	/* our good-bye is out */
	int socket_errno;
	enum tls_close how;
	char why[TLS_TEXT_BYTES];
	struct tls_peer peer;

	uint8_t *in;		/* bytes [in_head, in_tail) wait for the owner */
	size_t in_head, in_tail;
	bool in_blocked;	/* full, and the owner uses nothing */

	uint8_t *out;		/* [out_head, out_tail) are TLS records to send */
	size_t out_head, out_tail, out_bytes;
	bool out_failed;	/* no memory for a record: the stream is broken */
	int send_errno;		/* nothing can be sent any more; the rest is to be read */
	bool tell_drain;
};

static BIO_METHOD *socket_bio;

/* -- the socket as OpenSSL sees it: reads from it, writes to our buffer -- */

static bool out_reserve(struct tls_conn *c, size_t bytes)
{
	size_t want = c->out_bytes ? c->out_bytes : OUT_FIRST_BYTES;
	uint8_t *bigger;

	if (c->out_bytes - c->out_tail >= bytes)
		return true;
	/* Move down only when that is less than what it makes room for. */
	if (c->out_head >= c->out_bytes / 2 && c->out_tail - c->out_head + bytes <= c->out_bytes) {
		memmove(c->out, c->out + c->out_head, c->out_tail - c->out_head);
		c->out_tail -= c->out_head;
		c->out_head = 0;
		return true;
	}
	while (want < c->out_tail + bytes)
		want *= 2;
	bigger = realloc(c->out, want);
	if (!bigger)
		return false;
	c->out = bigger;
	c->out_bytes = want;
	return true;
}

static int bio_write(BIO *bio, const char *buf, size_t bytes, size_t *written)
{
	struct tls_conn *c = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (!out_reserve(c, bytes)) {
		c->out_failed = true;
		c->socket_errno = ENOMEM;
		return 0;
	}
	memcpy(c->out + c->out_tail, buf, bytes);
	c->out_tail += bytes;
	*written = bytes;
	return 1;
}

static int bio_read(BIO *bio, char *buf, size_t bytes, size_t *got)
{
	struct tls_conn *c = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	do {
		n = recv(c->fd, buf, bytes, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		*got = n;
		return 1;
	}
	if (n == 0)
		c->eof = true;
	else if (errno == EAGAIN || errno == EWOULDBLOCK)
		BIO_set_retry_read(bio);
	else
		c->socket_errno = errno;
	return 0;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	struct tls_conn *c = BIO_get_data(bio);

	if (cmd == BIO_CTRL_EOF)
		return c->eof;
	return cmd == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

static BIO *bio_new(struct tls_conn *c)
{
	BIO *bio;

	if (!socket_bio) {
		socket_bio = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK,
					  "blkship socket");
		if (!socket_bio || !BIO_meth_set_write_ex(socket_bio, bio_write) ||
		    !BIO_meth_set_read_ex(socket_bio, bio_read) ||
		    !BIO_meth_set_ctrl(socket_bio, bio_ctrl) ||
		    !BIO_meth_set_create(socket_bio, bio_create)) {
			BIO_meth_free(socket_bio);
			socket_bio = NULL;
			return NULL;
		}
	}
	bio = BIO_new(socket_bio);
	if (bio)
		BIO_set_data(bio, c);
	return bio;
}

const char *tls_conn_identity(const struct tls_conn *c)
{
	return c->state != CONN_HANDSHAKE && c->peer.identity[0] ? c->peer.identity : NULL;
}

/* -- how it ends -- */

static void conn_free(struct tls_conn *c)
{
	SSL_free(c->ssl);
	free(c->in);
	free(c->out);
	free(c);
}

static void conn_enter(struct tls_conn *c)
{
	c->nesting++;
}

/* False when the owner destroyed it meanwhile: c is gone. */
static bool conn_leave(struct tls_conn *c)
{
	if (--c->nesting || !c->destroyed)
		return !c->destroyed;
	conn_free(c);
	return false;
}

static void conn_quiet(struct tls_conn *c)
{
	loop_poll_stop(&c->poll);
	loop_timer_stop(&c->timer);
	loop_defer_cancel(&c->flush);
	loop_defer_cancel(&c->offer);
	loop_defer_cancel(&c->close);
}

static void conn_closed(struct loop_call *call)
{
	struct tls_conn *c = container_of(call, struct tls_conn, close);

	conn_enter(c);
	c->ops->closed(c, c->how, c->why, c->arg);
	conn_leave(c);
}

/* The first reason counts. The owner hears of it at the end of the turn. */
static void conn_end(struct tls_conn *c, enum tls_close how, const char *why)
{
	if (c->state == CONN_CLOSED)
		return;
	c->state = CONN_CLOSED;
	c->how = how;
	if (why != c->why)
		snprintf(c->why, sizeof(c->why), "%s", why);
	conn_quiet(c);
	loop_defer(c->loop, &c->close, conn_closed);
}

static bool reason_is_alert(int reason)
{
	return reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256;
}

/* Alerts with which a peer turns down a certificate, or the lack of one. */
static bool alert_is_auth(int alert)
{
	switch (alert) {
	case SSL_AD_BAD_CERTIFICATE:
	case SSL_AD_UNSUPPORTED_CERTIFICATE:
	case SSL_AD_CERTIFICATE_REVOKED:
	case SSL_AD_CERTIFICATE_EXPIRED:
	case SSL_AD_CERTIFICATE_UNKNOWN:
	case SSL_AD_UNKNOWN_CA:
	case SSL_AD_ACCESS_DENIED:
	case TLS13_AD_CERTIFICATE_REQUIRED:
		return true;
	default:
		return false;
	}
}

static void end_verify_failed(struct tls_conn *c)
{
	long result = SSL_get_verify_result(c->ssl);

	snprintf(c->why, sizeof(c->why), "certificate verify failed: %.200s",
		 c->peer.refused[0] ? c->peer.refused : X509_verify_cert_error_string(result));
	conn_end(c, TLS_CLOSE_AUTH, c->why);
}

/* Turn what OpenSSL and the socket say into one sentence. */
static void conn_end_ssl(struct tls_conn *c, int ret)
{
	int error = SSL_get_error(c->ssl, ret);
	unsigned long code = ERR_peek_error();
	int reason = ERR_GET_REASON(code);

	if (c->out_failed) {
		conn_end(c, TLS_CLOSE_NETWORK, "out of memory for the data to send");
	} else if (error == SSL_ERROR_ZERO_RETURN || c->eof) {
		conn_end(c, TLS_CLOSE_PEER, c->state == CONN_HANDSHAKE ?
			 "the peer closed the connection during the handshake" :
			 "the peer closed the connection");
	} else if (error == SSL_ERROR_SSL && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
		end_verify_failed(c);
	} else if (error == SSL_ERROR_SSL && reason_is_alert(reason)) {
		int alert = reason - SSL_AD_REASON_OFFSET;

		snprintf(c->why, sizeof(c->why), "%s: %s",
			 alert_is_auth(alert) ? "the peer refused our certificate" :
			 "the peer ended it with an alert", SSL_alert_desc_string_long(alert));
		conn_end(c, alert_is_auth(alert) ? TLS_CLOSE_AUTH : TLS_CLOSE_PROTOCOL, c->why);
	} else if (error == SSL_ERROR_SSL) {
		snprintf(c->why, sizeof(c->why), "TLS: %s", tls_last_reason());
		conn_end(c, TLS_CLOSE_PROTOCOL, c->why);
	} else {
		int err = c->socket_errno ? c->socket_errno : c->send_errno;

		conn_end(c, TLS_CLOSE_NETWORK, err ? strerror(err) : "connection lost");
	}
	ERR_clear_error();
}

/* -- sending -- */

static void conn_want(struct tls_conn *c)
{
	uint32_t events = c->out_tail > c->out_head ? POLLOUT : 0;

	if (!c->in_blocked)
		events |= POLLIN;
	loop_poll_events(&c->poll, events);
}

static void conn_offer_call(struct loop_call *call);

/*
 * A failed send hides why: the peer's last words, an alert or an error frame, may
 * be there to be read. The end of what can be read is the end of the connection.
 */
static void conn_send_failed(struct tls_conn *c, int err)
{
	c->out_head = c->out_tail = 0;
	if (c->state != CONN_OPEN) {
		conn_end(c, c->state == CONN_FINISHING ? TLS_CLOSE_LOCAL : TLS_CLOSE_NETWORK,
			 strerror(err));
		return;
	}
	c->send_errno = err;
	loop_defer(c->loop, &c->offer, conn_offer_call);
}

static void conn_half_close(struct tls_conn *c)
{
	if (c->half_closed)
		return;
	c->half_closed = true;
	shutdown(c->fd, SHUT_WR);
}

static void conn_flush(struct tls_conn *c)
{
	while (c->out_head < c->out_tail) {
		ssize_t n = send(c->fd, c->out + c->out_head, c->out_tail - c->out_head,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			c->out_head += n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		conn_send_failed(c, n < 0 ? errno : EPIPE);
		return;
	}
	if (c->out_head == c->out_tail) {
		c->out_head = c->out_tail = 0;
		if (c->state == CONN_FINISHING)
			conn_half_close(c);
	}
	conn_want(c);
}

static void conn_flush_and_tell(struct tls_conn *c)
{
	conn_flush(c);
	if (c->state != CONN_OPEN || c->out_tail || c->send_errno || !c->tell_drain)
		return;
	c->tell_drain = false;
	if (!c->ops->drain)
		return;
	conn_enter(c);
	c->ops->drain(c, c->arg);
	conn_leave(c);
}

static void conn_flush_call(struct loop_call *call)
{
	conn_flush_and_tell(container_of(call, struct tls_conn, flush));
}

size_t tls_conn_unsent(const struct tls_conn *c)
{
	return c->out_tail - c->out_head;
}

int tls_conn_send(struct tls_conn *c, const void *buf, size_t bytes)
{
	size_t wire_bytes = bytes + (bytes / RECORD_BYTES + 1) * RECORD_EXTRA, written;
	int ret;

	if (c->state != CONN_OPEN || c->send_errno)
		return -ENOTCONN;
	if (bytes == 0)
		return 0;
	if (tls_conn_unsent(c) + wire_bytes > TLS_MAX_UNSENT)
		return -ENOBUFS;
	if (!out_reserve(c, wire_bytes)) {
		conn_end(c, TLS_CLOSE_NETWORK, "out of memory for the data to send");
		return -ENOMEM;
	}
	ERR_clear_error();
	ret = SSL_write_ex(c->ssl, buf, bytes, &written);
	if (ret <= 0) {
		conn_end_ssl(c, ret);
		return -ENOTCONN;
	}
	c->tell_drain = true;
	if (tls_conn_unsent(c) >= OUT_FLUSH_BYTES && !(c->poll.events & POLLOUT)) {
		conn_flush(c);
		if (c->send_errno)
			return -ENOTCONN;
	}
	/* Also when all is out already: drain is never told from within a send. */
	loop_defer(c->loop, &c->flush, conn_flush_call);
	return 0;
}

/* -- receiving -- */

/* Make room behind what waits; false when the buffer is full. */
static bool in_room(struct tls_conn *c)
{
	if (c->in_head == c->in_tail)
		c->in_head = c->in_tail = 0;
	if (IN_BYTES - c->in_tail >= READ_BYTES)
		return true;
	if (c->in_head < IN_BYTES / 2)
		return c->in_tail < IN_BYTES;
	memmove(c->in, c->in + c->in_head, c->in_tail - c->in_head);
	c->in_tail -= c->in_head;
	c->in_head = 0;
	return true;
}

/* Give the owner what there is. False when the connection is gone. */
static bool conn_offer(struct tls_conn *c)
{
	while (c->state == CONN_OPEN && c->in_head < c->in_tail) {
		size_t misplaced = c->in_head % 8, used;

		if (misplaced) {
			memmove(c->in + c->in_head - misplaced, c->in + c->in_head,
				c->in_tail - c->in_head);
			c->in_head -= misplaced;
			c->in_tail -= misplaced;
		}
		conn_enter(c);
		used = c->ops->input(c, c->in + c->in_head, c->in_tail - c->in_head, c->arg);
		if (!conn_leave(c))
			return false;
		if (used == 0)
			break;
		c->in_head += used;
	}
	return true;
}

/* Read until the socket has no more, the buffer is full or it is others' turn. */
static bool conn_fill(struct tls_conn *c, bool *more)
{
	size_t turn_bytes = 0;

	*more = false;
	while (c->state == CONN_OPEN && in_room(c)) {
		int ret;

		if (turn_bytes >= TURN_BYTES) {
			*more = true;
			break;
		}
		ERR_clear_error();
		ret = SSL_read(c->ssl, c->in + c->in_tail, IN_BYTES - c->in_tail);
		if (ret > 0) {
			c->in_tail += ret;
			turn_bytes += ret;
			continue;
		}
		if (SSL_get_error(c->ssl, ret) == SSL_ERROR_WANT_READ && !c->send_errno)
			break;
		/* What came before the end is the owner's still. */
		if (!conn_offer(c))
			return false;
		conn_end_ssl(c, ret);
		break;
	}
	return true;
}

static void conn_read(struct tls_conn *c)
{
	bool more;

	if (!conn_fill(c, &more) || !conn_offer(c))
		return;
	if (c->state != CONN_OPEN)
		return;
	/* Full: nothing can be read, and OpenSSL may hold bytes poll knows nothing of. */
	c->in_blocked = !in_room(c);
	if (more && !c->in_blocked)
		loop_defer(c->loop, &c->offer, conn_offer_call);
	if (c->out_tail && !c->flush.active)	/* an answer of TLS itself */
		loop_defer(c->loop, &c->flush, conn_flush_call);
	conn_want(c);
}

static void conn_offer_call(struct loop_call *call)
{
	struct tls_conn *c = container_of(call, struct tls_conn, offer);

	if (c->state == CONN_OPEN && conn_offer(c))
		conn_read(c);
}

void tls_conn_resume(struct tls_conn *c)
{
	if (c->state == CONN_OPEN)
		loop_defer(c->loop, &c->offer, conn_offer_call);
}

/* -- handshake and good-bye -- */

static void conn_timeout(struct loop_timer *t)
{
	struct tls_conn *c = container_of(t, struct tls_conn, timer);

	if (c->state == CONN_HANDSHAKE)
		conn_end(c, TLS_CLOSE_NETWORK, "the TLS handshake timed out");
	else
		conn_end(c, TLS_CLOSE_LOCAL, "closed");
}

static void conn_handshake(struct tls_conn *c)
{
	int ret, error;

	ERR_clear_error();
	ret = SSL_do_handshake(c->ssl);
	error = SSL_get_error(c->ssl, ret);
	if (ret == 1)
		c->state = CONN_OPEN;
	if (ret != 1 && error != SSL_ERROR_WANT_READ) {
		/* The alert that says why is in our buffer; out with it, if it goes. */
		send(c->fd, c->out + c->out_head, c->out_tail - c->out_head,
		     MSG_DONTWAIT | MSG_NOSIGNAL);
		conn_end_ssl(c, ret);
		return;
	}
	conn_flush(c);
	if (ret != 1 || c->state != CONN_OPEN)
		return;
	loop_timer_stop(&c->timer);
	c->in = malloc(IN_BYTES);
	if (!c->in) {
		conn_end(c, TLS_CLOSE_NETWORK, "out of memory for the receive buffer");
		return;
	}
	if (c->ops->ready) {
		conn_enter(c);
		c->ops->ready(c, c->arg);
		if (!conn_leave(c))
			return;
	}
	if (c->state == CONN_OPEN)	/* the first bytes may have come with the handshake */
		conn_read(c);
}

/* The peer hears our last words before the socket goes: wait for its end. */
static void conn_discard(struct tls_conn *c)
{
	uint8_t buf[16384];
	ssize_t n;

	do {
		n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
		conn_end(c, TLS_CLOSE_LOCAL, "closed");
}

void tls_conn_finish(struct tls_conn *c)
{
	if (c->state == CONN_HANDSHAKE)
		conn_end(c, TLS_CLOSE_LOCAL, "closed");
	if (c->state != CONN_OPEN)
		return;
	ERR_clear_error();
	SSL_shutdown(c->ssl);
	ERR_clear_error();
	c->state = CONN_FINISHING;
	c->in_blocked = false;
	loop_defer_cancel(&c->offer);
	loop_timer_start(c->loop, &c->timer, FINISH_NS, 0, conn_timeout);
	loop_defer(c->loop, &c->flush, conn_flush_call);
	conn_want(c);
}

static void conn_event(struct loop_poll *p, uint32_t events)
{
	struct tls_conn *c = container_of(p, struct tls_conn, poll);

	conn_enter(c);
	if (c->state == CONN_HANDSHAKE) {
		conn_handshake(c);
	} else {
		if (events & (POLLOUT | POLLERR))
			conn_flush_and_tell(c);
		if (!c->destroyed && (events & (POLLIN | POLLERR | POLLHUP))) {
			if (c->state == CONN_OPEN)
				conn_read(c);
			else if (c->state == CONN_FINISHING)
				conn_discard(c);
		}
	}
	conn_leave(c);
}

static void socket_set_up(int fd)
{
	int one = 1, idle_s = 20, user_timeout_ms = 60000;

	/* Not a TCP socket in tests: that these fail does not matter. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
}

int tls_conn_create(struct loop *loop, struct tls_ctx *ctx, int fd,
		    const struct tls_conn_ops *ops, void *arg, struct tls_conn **out)
{
	struct tls_conn *c = calloc(1, sizeof(*c));
	BIO *bio = NULL;

	if (!c)
		goto err;
	c->loop = loop;
	c->ctx = ctx;
	c->fd = fd;
	c->ops = ops;
	c->arg = arg;
	c->ssl = tls_ctx_ssl(ctx, &c->peer);
	bio = bio_new(c);
	if (!c->ssl || !bio)
		goto err;
	SSL_set_bio(c->ssl, bio, bio);
	if (ctx->server)
		SSL_set_accept_state(c->ssl);
	else
		SSL_set_connect_state(c->ssl);
	socket_set_up(fd);
	loop_timer_start(loop, &c->timer, HANDSHAKE_NS, 0, conn_timeout);
	/* A client speaks first: writable at once. A server waits to be spoken to. */
	loop_poll_start(loop, &c->poll, fd, ctx->server ? POLLIN : POLLOUT, conn_event);
	*out = c;
	return 0;
err:
	BIO_free(bio);
	if (c)
		SSL_free(c->ssl);
	free(c);
	close(fd);
	return -ENOMEM;
}

void tls_conn_destroy(struct tls_conn *c)
{
	if (!c || c->destroyed)
		return;
	conn_quiet(c);
	close(c->fd);
	c->fd = -1;
	c->state = CONN_CLOSED;
	c->destroyed = true;
	if (!c->nesting)
		conn_free(c);
}
