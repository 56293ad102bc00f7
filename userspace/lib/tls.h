/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tls - TLS 1.3 connections on the event loop.
 *
 * Who a peer is comes from its certificate: CN is its name, OU its role
 * (docs/PKI.md). A client accepts a server whose certificate our CA signed for
 * the role "target"; the host name it was reached by is not compared, because a
 * CA of ours signs nothing but our own targets and sources. A server accepts
 * role "ship", and peers without any certificate, which can do nothing but enrol.
 * A certificate that does not verify ends the handshake.
 *
 * A connection takes what was sent apart into bytes only; frames are the
 * caller's. All callbacks come from turns of the loop.
 */
#ifndef BLKSHIP_TLS_H
#define BLKSHIP_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"

#define TLS_TEXT_BYTES		256
#define TLS_IDENTITY_BYTES	65	/* CN with the NUL */

#define TLS_ROLE_TARGET		"target"
#define TLS_ROLE_SHIP		"ship"

struct tls_ctx;
struct tls_conn;

/**
 * tls_ctx_server - for accepted connections
 * @ca, @cert, @key: paths of PEM files; the CA is sent along, so that an enrolling
 *	source can compare it with its token
 * @why: out on failure, TLS_TEXT_BYTES: which file and what is wrong with it
 * Return: 0; -EACCES the key may be read by others; -EBADMSG; -ENOENT; -errno.
 */
int tls_ctx_server(const char *ca, const char *cert, const char *key, struct tls_ctx **out,
		   char *why);

/** tls_ctx_client - for connections to a target; as tls_ctx_server() */
int tls_ctx_client(const char *ca, const char *cert, const char *key, struct tls_ctx **out,
		   char *why);

/**
 * tls_ctx_enroll - for a source that has nothing but a token
 * @ca_sha256: of the DER certificate; the server must present a CA that has it
 */
int tls_ctx_enroll(const uint8_t ca_sha256[32], struct tls_ctx **out, char *why);

/** tls_ctx_destroy - its connections must be gone */
void tls_ctx_destroy(struct tls_ctx *ctx);

/* How a connection ended. */
enum tls_close {
	TLS_CLOSE_PEER,		/* the peer closed it */
	TLS_CLOSE_LOCAL,	/* tls_conn_finish() has come to its end */
	TLS_CLOSE_NETWORK,	/* the network, or a time-out */
	TLS_CLOSE_AUTH,		/* one side refused the other's certificate */
	TLS_CLOSE_PROTOCOL,	/* not TLS 1.3, or damaged */
};

struct tls_conn_ops {
	/* The handshake has ended well. Optional. */
	void (*ready)(struct tls_conn *c, void *arg);
	/*
	 * Received bytes, 8-byte aligned. Returns how many were used; the rest comes
	 * again with more behind it, or after tls_conn_resume(). A frame of up to
	 * TLS_MAX_FRAME_BYTES is always there as a whole in the end. When the buffer
	 * is full and nothing is used, reading stops until tls_conn_resume().
	 */
	size_t (*input)(struct tls_conn *c, const void *buf, size_t bytes, void *arg);
	/* All that was sent is with the kernel: there is room again. Optional. */
	void (*drain)(struct tls_conn *c, void *arg);
	/*
	 * The end, once; nothing else is called after it. @why is a sentence. The
	 * owner calls tls_conn_destroy(), here or later.
	 */
	void (*closed)(struct tls_conn *c, enum tls_close how, const char *why, void *arg);
};

#define TLS_MAX_FRAME_BYTES	((1u << 20) + 32)

/**
 * tls_conn_create - start the handshake
 * @fd: connected stream socket; belongs to the connection from here on, also when
 *	this fails
 * Return: 0 or -ENOMEM.
 */
int tls_conn_create(struct loop *loop, struct tls_ctx *ctx, int fd,
		    const struct tls_conn_ops *ops, void *arg, struct tls_conn **out);

/**
 * tls_conn_destroy - close at once and free; no callback; unsent bytes are lost
 * May be called from any callback of the connection.
 */
void tls_conn_destroy(struct tls_conn *c);

/**
 * tls_conn_send - encrypt and queue
 * Several sends in one turn of the loop share system calls. The sender looks
 * at tls_conn_unsent() and waits for drain when it is more than it wants to have
 * under way.
 * Return: 0; -ENOTCONN not ready yet, or ended; -ENOBUFS more than TLS_MAX_UNSENT
 * would wait: nothing of it was taken; -ENOMEM, after which the connection ends.
 */
#define TLS_MAX_UNSENT		(16u << 20)
int tls_conn_send(struct tls_conn *c, const void *buf, size_t bytes);

/** tls_conn_unsent - bytes queued, as they go over the wire */
size_t tls_conn_unsent(const struct tls_conn *c);

/** tls_conn_resume - offer what was not used again; may be called any time */
void tls_conn_resume(struct tls_conn *c);

/**
 * tls_conn_finish - no more input; send what is queued, say good-bye, then closed()
 * Waits for the peer to take it for at most two seconds.
 */
void tls_conn_finish(struct tls_conn *c);

/** tls_conn_identity - CN of the peer's certificate; NULL: it has none, or not ready */
const char *tls_conn_identity(const struct tls_conn *c);

#endif
