// SPDX-License-Identifier: GPL-2.0-only
#include "enroll.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../lib/pki.h"
#include "../lib/wire_format.h"
#include "tokens.h"

static int join(char *path, const char *store, const char *name, char *why)
{
	if ((size_t)snprintf(path, PKI_PATH_BYTES, "%s/%s", store, name) < PKI_PATH_BYTES)
		return 0;
	snprintf(why, PKI_TEXT_BYTES, "the store's path is too long");
	return -ENAMETOOLONG;
}

int enroll_answer(const char *store, const void *payload, size_t bytes, void *answer,
		  size_t *answer_bytes, char *host, char *why)
{
	char cert[PKI_PEM_BYTES], ca[PKI_PEM_BYTES], tokens[PKI_PATH_BYTES], pki[PKI_PATH_BYTES];
	char ca_path[PKI_PATH_BYTES];
	struct wire_enroll_answer head;
	struct wire_enroll request;
	uint64_t not_after_s;
	size_t csr_bytes, total;
	int ret;

	if (bytes < sizeof(request))
		goto malformed;
	memcpy(&request, payload, sizeof(request));
	csr_bytes = le32toh(request.csr_bytes);
	if (csr_bytes == 0 || csr_bytes > PKI_PEM_BYTES || csr_bytes > bytes - sizeof(request) ||
	    !memchr(request.token_id, 0, sizeof(request.token_id)))
		goto malformed;
	ret = join(tokens, store, "tokens", why);
	if (ret == 0)
		ret = join(pki, store, "pki", why);
	if (ret == 0)
		ret = join(ca_path, store, "pki/ca.pem", why);
	if (ret == 0)
		ret = tokens_check(tokens, request.token_id, request.secret, host, why);
	if (ret == 0)
		ret = pki_sign(pki, (const char *)payload + sizeof(request), csr_bytes, host, cert,
			       &not_after_s, why);
	if (ret == 0)
		ret = pki_read_file(ca_path, ca, sizeof(ca), why);
	if (ret < 0)
		return ret;
	total = sizeof(head) + strlen(cert) + strlen(ca);
	if (total > *answer_bytes) {
		snprintf(why, PKI_TEXT_BYTES, "the answer does not fit");
		return -EMSGSIZE;
	}
	/* Last of all: a failure before leaves the token good for another try. */
	ret = tokens_use(tokens, request.token_id, why);
	if (ret < 0)
		return ret;
	head.cert_bytes = htole32(strlen(cert));
	head.ca_bytes = htole32(strlen(ca));
	head.not_after_s = htole64(not_after_s);
	memcpy(answer, &head, sizeof(head));
	memcpy((char *)answer + sizeof(head), cert, strlen(cert));
	memcpy((char *)answer + sizeof(head) + strlen(cert), ca, strlen(ca));
	*answer_bytes = total;
	return 0;

malformed:
	snprintf(why, PKI_TEXT_BYTES, "the enrolment request is malformed");
	return -EPROTO;
}
