// SPDX-License-Identifier: GPL-2.0-only
/* Contexts, and who is accepted by them. See tls.h and docs/PKI.md. */
#include "tls_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_AHEAD_BYTES (128u << 10)	/* what OpenSSL asks the socket for */

static int peer_index = -1;	/* of struct tls_peer in an SSL */

const char *tls_last_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	return reason ? reason : "unknown error";
}

/* -- who the peer is -- */

static bool name_entry(X509 *cert, int nid, char *out, size_t bytes)
{
	X509_NAME *name = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(name, nid, -1);
	const ASN1_STRING *text;
	size_t len;

	/* Exactly one of it, without a NUL inside: what is compared is what was signed. */
	if (at < 0 || X509_NAME_get_index_by_NID(name, nid, at) >= 0)
		return false;
	text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
	len = ASN1_STRING_length(text);
	if (len == 0 || len >= bytes || memchr(ASN1_STRING_get0_data(text), 0, len))
		return false;
	memcpy(out, ASN1_STRING_get0_data(text), len);
	out[len] = 0;
	return true;
}

/* The CA that the token names, from what the server sent. */
static bool trust_pinned(X509_STORE_CTX *store, struct tls_peer *p, STACK_OF(X509) *trusted)
{
	STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(store);
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned int bytes;

	for (int i = 0; i < sk_X509_num(sent); i++) {
		X509 *cert = sk_X509_value(sent, i);

		if (X509_digest(cert, EVP_sha256(), digest, &bytes) && bytes == 32 &&
		    memcmp(digest, p->ctx->ca_sha256, 32) == 0) {
			if (!sk_X509_push(trusted, cert))
				return false;
			X509_STORE_CTX_set0_trusted_stack(store, trusted);
			return true;
		}
	}
	snprintf(p->refused, sizeof(p->refused),
		 "its CA is not the one whose fingerprint is in the token");
	return false;
}

static bool role_fits(X509 *cert, struct tls_peer *p)
{
	char role[TLS_IDENTITY_BYTES] = "";

	if (!name_entry(cert, NID_organizationalUnitName, role, sizeof(role)) ||
	    strcmp(role, p->ctx->peer_role) != 0) {
		snprintf(p->refused, sizeof(p->refused), "its role is '%.32s', not '%s'", role,
			 p->ctx->peer_role);
		return false;
	}
	if (!name_entry(cert, NID_commonName, p->identity, sizeof(p->identity))) {
		snprintf(p->refused, sizeof(p->refused), "it has no usable common name");
		return false;
	}
	return true;
}

static int verify_peer(X509_STORE_CTX *store, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_peer *p = SSL_get_ex_data(ssl, peer_index);
	STACK_OF(X509) *trusted = NULL;
	int ok = 0;

	if (p->ctx->pinned) {
		trusted = sk_X509_new_null();
		if (!trusted || !trust_pinned(store, p, trusted))
			goto out;
	}
	ok = X509_verify_cert(store) == 1 && role_fits(X509_STORE_CTX_get0_cert(store), p);
out:
	if (!ok && p->refused[0])
		X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
	sk_X509_free(trusted);
	return ok;
}

/* -- contexts -- */

static int ctx_create(bool server, const char *peer_role, struct tls_ctx **out, char *why)
{
	struct tls_ctx *ctx = calloc(1, sizeof(*ctx));

	snprintf(why, TLS_TEXT_BYTES, "out of memory");
	if (!ctx)
		return -ENOMEM;
	if (peer_index < 0)
		peer_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	if (peer_index < 0)
		goto err;
	ctx->server = server;
	ctx->peer_role = peer_role;
	ctx->ssl_ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	if (!ctx->ssl_ctx || !SSL_CTX_set_min_proto_version(ctx->ssl_ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_max_proto_version(ctx->ssl_ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(ctx->ssl_ctx, "TLS_AES_128_GCM_SHA256:"
				      "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"))
		goto err;
	/* A connection lasts for weeks: nothing to resume, no tickets. */
	SSL_CTX_set_options(ctx->ssl_ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_num_tickets(ctx->ssl_ctx, 0);
	SSL_CTX_set_session_cache_mode(ctx->ssl_ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(ctx->ssl_ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(ctx->ssl_ctx, verify_peer, NULL);
	SSL_CTX_set_read_ahead(ctx->ssl_ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ctx->ssl_ctx, READ_AHEAD_BYTES);
	*out = ctx;
	return 0;
err:
	tls_ctx_destroy(ctx);
	return -ENOMEM;
}

static int ctx_file_error(const char *what, const char *path, int ret, char *why)
{
	if (ret == -EBADMSG)
		snprintf(why, TLS_TEXT_BYTES, "%s %s: %s", what, path, tls_last_reason());
	else
		snprintf(why, TLS_TEXT_BYTES, "%s %s: %s", what, path, strerror(-ret));
	ERR_clear_error();
	return ret;
}

static int ctx_load(struct tls_ctx *ctx, const char *ca, const char *cert, const char *key,
		    char *why)
{
	struct stat st;

	ERR_clear_error();
	if (access(ca, R_OK) < 0)
		return ctx_file_error("CA", ca, -errno, why);
	if (SSL_CTX_load_verify_locations(ctx->ssl_ctx, ca, NULL) != 1)
		return ctx_file_error("CA", ca, -EBADMSG, why);
	if (access(cert, R_OK) < 0)
		return ctx_file_error("certificate", cert, -errno, why);
	if (SSL_CTX_use_certificate_chain_file(ctx->ssl_ctx, cert) != 1)
		return ctx_file_error("certificate", cert, -EBADMSG, why);
	if (stat(key, &st) < 0 || access(key, R_OK) < 0)
		return ctx_file_error("key", key, -errno, why);
	if (st.st_mode & 077) {
		snprintf(why, TLS_TEXT_BYTES, "key %s may be read by others: chmod 600 it", key);
		return -EACCES;
	}
	if (SSL_CTX_use_PrivateKey_file(ctx->ssl_ctx, key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(ctx->ssl_ctx) != 1)
		return ctx_file_error("key", key, -EBADMSG, why);
	return 0;
}

/* The CA goes into the chain that is sent: a source that enrols looks for it. */
static int ctx_send_ca(struct tls_ctx *ctx, const char *ca, char *why)
{
	BIO *bio = BIO_new_file(ca, "r");
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	int ret = 0;

	if (!cert)
		ret = ctx_file_error("CA", ca, -EBADMSG, why);
	else if (SSL_CTX_add1_chain_cert(ctx->ssl_ctx, cert) != 1)
		ret = -ENOMEM;
	X509_free(cert);
	BIO_free(bio);
	return ret;
}

int tls_ctx_server(const char *ca, const char *cert, const char *key, struct tls_ctx **out,
		   char *why)
{
	struct tls_ctx *ctx;
	int ret = ctx_create(true, TLS_ROLE_SHIP, &ctx, why);

	if (ret < 0)
		return ret;
	ret = ctx_load(ctx, ca, cert, key, why);
	if (ret == 0)
		ret = ctx_send_ca(ctx, ca, why);
	if (ret < 0) {
		tls_ctx_destroy(ctx);
		return ret;
	}
	*out = ctx;
	return 0;
}

int tls_ctx_client(const char *ca, const char *cert, const char *key, struct tls_ctx **out,
		   char *why)
{
	struct tls_ctx *ctx;
	int ret = ctx_create(false, TLS_ROLE_TARGET, &ctx, why);

	if (ret < 0)
		return ret;
	ret = ctx_load(ctx, ca, cert, key, why);
	if (ret < 0) {
		tls_ctx_destroy(ctx);
		return ret;
	}
	*out = ctx;
	return 0;
}

int tls_ctx_enroll(const uint8_t ca_sha256[32], struct tls_ctx **out, char *why)
{
	struct tls_ctx *ctx;
	int ret = ctx_create(false, TLS_ROLE_TARGET, &ctx, why);

	if (ret < 0)
		return ret;
	ctx->pinned = true;
	memcpy(ctx->ca_sha256, ca_sha256, 32);
	*out = ctx;
	return 0;
}

void tls_ctx_destroy(struct tls_ctx *ctx)
{
	if (!ctx)
		return;
	SSL_CTX_free(ctx->ssl_ctx);
	free(ctx);
}

SSL *tls_ctx_ssl(struct tls_ctx *ctx, struct tls_peer *peer)
{
	SSL *ssl = SSL_new(ctx->ssl_ctx);

	peer->ctx = ctx;
	if (ssl && SSL_set_ex_data(ssl, peer_index, peer))
		return ssl;
	SSL_free(ssl);
	return NULL;
}
