/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tokens - enrolment tokens as the target keeps them: without their secrets.
 *
 * A directory with one small file a token, ID.token; used up it is ID.used. The
 * rename is what makes it good for one use, also when two ask at once.
 */
#ifndef BLKSHIP_TOKENS_H
#define BLKSHIP_TOKENS_H

#include <stdbool.h>
#include <stdint.h>

#include "../lib/pki.h"

/**
 * tokens_create - make a token
 * @dir: of the tokens
 * @host: what the certificate will say
 * @lifetime_s: how long it is good for
 * @token: id and secret are filled in; ca_sha256 is the caller's
 * @expires_s: out, unix time
 * Tokens that ended more than a week ago are removed on this occasion.
 * Return: 0 or -errno with a sentence in @why (PKI_TEXT_BYTES).
 */
int tokens_create(const char *dir, const char *host, uint64_t lifetime_s,
		  struct pki_token *token, uint64_t *expires_s, char *why);

/**
 * tokens_check - is this a token of ours, good now?
 * @host: out, PKI_HOST_BYTES
 * Return: 0; -EACCES with a sentence for the peer in @why: unknown, or, only when
 * the secret is right, expired or used; -errno.
 */
int tokens_check(const char *dir, const char *id, const uint8_t secret[32], char *host,
		 char *why);

/**
 * tokens_use - use it up; the certificate may be handed out when this returns 0
 * Return: 0; -EACCES somebody was faster; -errno.
 */
int tokens_use(const char *dir, const char *id, char *why);

struct tokens_entry {
	char id[PKI_TOKEN_ID_CHARS + 1];
	char host[PKI_HOST_BYTES];
	uint64_t created_s;
	uint64_t expires_s;
	bool used;
};

/** tokens_list - call @each for every token, in no order; 0 or -errno */
int tokens_list(const char *dir, void (*each)(void *arg, const struct tokens_entry *e),
		void *arg, char *why);

#endif
