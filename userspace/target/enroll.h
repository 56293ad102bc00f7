/* SPDX-License-Identifier: GPL-2.0-only */
/* enroll - answer an ENROLL frame: a token and a request for a certificate. */
#ifndef BLKSHIP_ENROLL_H
#define BLKSHIP_ENROLL_H

#include <stddef.h>

/**
 * enroll_answer - check the token, sign, use the token up
 * @store: the target's directory
 * @payload: struct wire_enroll and the request; hostile
 * @answer: @answer_bytes of room; out: struct wire_enroll_answer, certificate, CA
 * @host: out, PKI_HOST_BYTES: whom the certificate is for
 * @why: out on failure, PKI_TEXT_BYTES, for the peer as well
 * Return: 0; -EACCES the token is refused; -EPROTO, -EBADMSG the payload is not
 * valid; -errno.
 */
int enroll_answer(const char *store, const void *payload, size_t bytes, void *answer,
		  size_t *answer_bytes, char *host, char *why);

#endif
