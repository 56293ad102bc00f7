/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_private - what tls.c and tls_ctx.c share. */
#ifndef BLKSHIP_TLS_PRIVATE_H
#define BLKSHIP_TLS_PRIVATE_H

#include <openssl/ssl.h>

#include "tls.h"

struct tls_ctx {
	SSL_CTX *ssl_ctx;
	bool server;
	const char *peer_role;
	bool pinned;		/* trust what has this digest, instead of a file */
	uint8_t ca_sha256[32];
};

/* What the check of a certificate leaves behind; one for each SSL. */
struct tls_peer {
	const struct tls_ctx *ctx;
	char refused[TLS_TEXT_BYTES];	/* why it was refused, where OpenSSL would accept it */
	char identity[TLS_IDENTITY_BYTES];
};

/** tls_ctx_ssl - a new connection whose certificate check reports to @peer; or NULL */
SSL *tls_ctx_ssl(struct tls_ctx *ctx, struct tls_peer *peer);

/** tls_last_reason - OpenSSL's words for its last error */
const char *tls_last_reason(void);

#endif
