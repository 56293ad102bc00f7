/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pki - keys, certificates and enrolment tokens; docs/PKI.md.
 *
 * Keys are EC P-256, made where they are used, and never leave there. Files are
 * 0600 in directories 0700 and are replaced whole: a crash leaves the old one or
 * the new one.
 *
 * Functions return 0 or -errno and on failure a sentence in @why, PKI_TEXT_BYTES.
 */
#ifndef BLKSHIP_PKI_H
#define BLKSHIP_PKI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PKI_TEXT_BYTES		256
#define PKI_PEM_BYTES		8192	/* more than any certificate or request of ours */
#define PKI_HOST_BYTES		64	/* with the NUL: CN is at most 64 characters, less 1 */
#define PKI_PATH_BYTES		512

#define PKI_CA_DAYS		3650
#define PKI_SERVER_DAYS		3650
#define PKI_SHIP_DAYS		90

/* -- files -- */

/** pki_write_file - replace a file whole; mode 0600; durable when it returns 0 */
int pki_write_file(const char *path, const void *data, size_t bytes, char *why);

/**
 * pki_read_file - read a small text file
 * @buf: @bytes long; gets a NUL behind the text
 * Return: 0; -EFBIG when it does not fit; -errno.
 */
int pki_read_file(const char *path, char *buf, size_t bytes, char *why);

/** pki_host_valid - may be a CN: letters, digits, dots, dashes, underscores */
bool pki_host_valid(const char *host);

/* -- the target's side -- */

/**
 * pki_init - make CA and server certificate
 * @dir: exists, 0700; gets ca.key, ca.pem, server.key, server.pem
 * @host: CN of the server's certificate
 * @names: DNS names and addresses by which it is reached
 */
int pki_init(const char *dir, const char *host, const char *const *names, size_t nr_names,
	     char *why);

/**
 * pki_sign - a source's certificate for its request
 * @dir: of pki_init()
 * @csr: PEM; only its key is taken from it, after checking that its maker has that
 * @host: becomes CN; role "ship"
 * @cert: out, PEM with a NUL, PKI_PEM_BYTES
 * @not_after_s: out, unix time
 */
int pki_sign(const char *dir, const char *csr, size_t csr_bytes, const char *host, char *cert,
	     uint64_t *not_after_s, char *why);

/** pki_fingerprint - SHA-256 of the (DER) certificate in a PEM file */
int pki_fingerprint(const char *path, uint8_t sha256[32], char *why);

/** pki_fingerprint_pem - the same of PEM text */
int pki_fingerprint_pem(const char *pem, size_t bytes, uint8_t sha256[32], char *why);

/* -- the source's side -- */

/**
 * pki_request - make a key, and a request that proves who has it
 * @key_path: written; 0600
 * @csr: out, PEM with a NUL, PKI_PEM_BYTES
 */
int pki_request(const char *key_path, const char *host, char *csr, char *why);

/** pki_not_after - when a certificate file ends, unix time */
int pki_not_after(const char *path, uint64_t *not_after_s, char *why);

/* -- tokens -- */

#define PKI_TOKEN_ID_CHARS	16
#define PKI_TOKEN_TEXT_BYTES	128	/* of the line, with the NUL */

/* What the line blks1.<id>.<secret>.<fingerprint> says. */
struct pki_token {
	char id[PKI_TOKEN_ID_CHARS + 1];	/* hexadecimal */
	uint8_t secret[32];
	uint8_t ca_sha256[32];
};

/** pki_token_format - as one line without newline, at least PKI_TOKEN_TEXT_BYTES */
void pki_token_format(const struct pki_token *token, char *text);

/**
 * pki_token_parse - read a token; white space around it is allowed
 * Return: 0; -EINVAL it is none, @why says what does not fit.
 */
int pki_token_parse(const char *text, struct pki_token *token, char *why);

#endif
