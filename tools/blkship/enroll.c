// SPDX-License-Identifier: GPL-2.0-only
/* enroll: get a certificate from the target, for a key that is made here. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../userspace/lib/container_of.h"
#include "../../userspace/lib/loop.h"
#include "../../userspace/lib/pki.h"
#include "../../userspace/lib/tcp.h"
#include "../../userspace/lib/tls.h"
#include "../../userspace/lib/when.h"
#include "../../userspace/lib/wire_format.h"
#include "cli.h"

#define TIMEOUT_NS	30000000000u
#define FRAME_BYTES	(sizeof(struct wire_header) + sizeof(struct wire_enroll) + PKI_PEM_BYTES + 8)
#define CONF_BYTES	16384

struct options {
	const char *token_file;
	const char *target;
	const char *config_dir;
	bool force;
	bool json;
};

struct paths {
	char pki[CLI_PATH_BYTES], conf[CLI_PATH_BYTES];
	char key[CLI_PATH_BYTES], cert[CLI_PATH_BYTES], ca[CLI_PATH_BYTES];
	char new_key[CLI_PATH_BYTES], new_cert[CLI_PATH_BYTES], new_ca[CLI_PATH_BYTES];
};

/* One conversation with the target. */
struct enrolment {
	struct loop *loop;
	struct tls_ctx *ctx;
	struct tls_conn *conn;
	struct tcp_connect connect;
	const struct pki_token *token;
	const char *csr;
	char target_name[TLS_IDENTITY_BYTES];
	char cert[PKI_PEM_BYTES], ca[PKI_PEM_BYTES];
	uint64_t not_after_s;
	bool refused;		/* the target said no, for a reason that will not go away */
	int result;		/* 1: still going on */
	char why[CLI_TEXT_BYTES];
};

static void enrolment_end(struct enrolment *e, int result, const char *why)
{
	if (e->result != 1)
		return;
	e->result = result;
	snprintf(e->why, sizeof(e->why), "%s", why);
	loop_stop(e->loop);
}

/* -- the conversation -- */

static void on_ready(struct tls_conn *c, void *arg)
{
	static uint8_t frame[FRAME_BYTES] __attribute__((aligned(8)));
	struct enrolment *e = arg;
	struct wire_enroll request = { .csr_bytes = htole32(strlen(e->csr)) };
	size_t bytes = sizeof(request) + strlen(e->csr);

	/* The CA is the token's by now: the secret may be said. */
	snprintf(e->target_name, sizeof(e->target_name), "%s", tls_conn_identity(c));
	strcpy(request.token_id, e->token->id);
	memcpy(request.secret, e->token->secret, sizeof(request.secret));
	gethostname(request.host, sizeof(request.host) - 1);
	memset(frame, 0, sizeof(frame));
	memcpy(frame + sizeof(struct wire_header), &request, sizeof(request));
	memcpy(frame + sizeof(struct wire_header) + sizeof(request), e->csr, strlen(e->csr));
	bytes = (bytes + 7) & ~(size_t)7;
	bytes = wire_encode(frame, WIRE_ENROLL, bytes, 1);
	if (tls_conn_send(c, frame, bytes) < 0)
		enrolment_end(e, -EIO, "the request could not be sent");
	OPENSSL_cleanse(frame, sizeof(frame));
	OPENSSL_cleanse(&request, sizeof(request));
}

static void take_answer(struct enrolment *e, const uint8_t *payload, size_t bytes)
{
	struct wire_enroll_answer head;
	size_t cert_bytes, ca_bytes;

	if (bytes < sizeof(head))
		goto malformed;
	memcpy(&head, payload, sizeof(head));
	cert_bytes = le32toh(head.cert_bytes);
	ca_bytes = le32toh(head.ca_bytes);
	if (cert_bytes >= PKI_PEM_BYTES || ca_bytes >= PKI_PEM_BYTES ||
	    cert_bytes + ca_bytes > bytes - sizeof(head))
		goto malformed;
	memcpy(e->cert, payload + sizeof(head), cert_bytes);
	e->cert[cert_bytes] = 0;
	memcpy(e->ca, payload + sizeof(head) + cert_bytes, ca_bytes);
	e->ca[ca_bytes] = 0;
	e->not_after_s = le64toh(head.not_after_s);
	enrolment_end(e, 0, "");
	return;

malformed:
	enrolment_end(e, -EBADMSG, "its answer is malformed");
}

static void take_error(struct enrolment *e, const uint8_t *payload, size_t bytes)
{
	struct wire_error error;

	if (bytes < sizeof(error)) {
		enrolment_end(e, -EBADMSG, "its answer is malformed");
		return;
	}
	memcpy(&error, payload, sizeof(error));
	error.text[sizeof(error.text) - 1] = 0;
	/* It goes to a terminal. */
	for (char *at = error.text; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	e->refused = le32toh(error.code) == WIRE_ERR_TOKEN;
	enrolment_end(e, -EACCES, error.text);
}

static size_t on_input(struct tls_conn *c, const void *buf, size_t bytes, void *arg)
{
	struct enrolment *e = arg;
	struct wire_header h;
	int64_t frame = wire_decode(buf, bytes, 1, &h);
	const uint8_t *payload = (const uint8_t *)buf + sizeof(h);

	if (frame == 0)
		return 0;
	if (frame < 0)
		enrolment_end(e, frame, "its answer is damaged");
	else if (h.type == WIRE_ENROLL_ANSWER)
		take_answer(e, payload, h.payload_bytes);
	else if (h.type == WIRE_ERROR)
		take_error(e, payload, h.payload_bytes);
	else
		enrolment_end(e, -EPROTO, "it answers something else than was asked");
	return bytes;
}

static void on_closed(struct tls_conn *c, enum tls_close how, const char *why, void *arg)
{
	struct enrolment *e = arg;

	if (e->result == 1)	/* else it has told us why before it closed */
		e->refused = how == TLS_CLOSE_AUTH;
	enrolment_end(e, how == TLS_CLOSE_AUTH ? -EACCES : -EIO, why);
}

static const struct tls_conn_ops conn_ops = {
	.ready = on_ready,
	.input = on_input,
	.closed = on_closed,
};

static void on_connected(struct tcp_connect *tc, int fd, const char *why)
{
	struct enrolment *e = container_of(tc, struct enrolment, connect);

	if (fd < 0)
		enrolment_end(e, fd, why);
	else if (tls_conn_create(e->loop, e->ctx, fd, &conn_ops, e, &e->conn) < 0)
		enrolment_end(e, -ENOMEM, "out of memory");
}

static void on_timeout(struct loop_timer *t)
{
	loop_stop(t->loop);
}

/* Runs the conversation; the result is in e. */
static void converse(struct enrolment *e, const char *target)
{
	struct loop_timer limit = { .active = false };
	int ret;

	e->result = 1;
	ret = loop_create(16, &e->loop);
	if (ret < 0) {
		e->result = ret;
		snprintf(e->why, sizeof(e->why), "io_uring: %s", strerror(-ret));
		return;
	}
	loop_timer_start(e->loop, &limit, TIMEOUT_NS, 0, on_timeout);
	ret = tls_ctx_enroll(e->token->ca_sha256, &e->ctx, e->why);
	if (ret == 0)
		ret = tcp_connect_start(e->loop, &e->connect, target, WIRE_PORT, TIMEOUT_NS,
					on_connected);
	if (ret == 0)
		ret = loop_run(e->loop);
	if (e->result == 1)
		enrolment_end(e, ret < 0 ? ret : -ETIMEDOUT, ret < 0 ? strerror(-ret) :
			      "no answer in 30 s");
	loop_timer_stop(&limit);
	tcp_connect_stop(&e->connect);
	tls_conn_destroy(e->conn);
	tls_ctx_destroy(e->ctx);
	loop_destroy(e->loop);
}

/* -- files -- */

static int read_token(const char *path, struct pki_token *token)
{
	char text[PKI_TOKEN_TEXT_BYTES * 2], why[PKI_TEXT_BYTES];
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	int ret = CLI_DONE;

	if (!f)
		return cli_fail(cli_exit_of(-errno), "token file %s: %s; nothing was done", path,
				strerror(errno));
	text[0] = 0;
	if (!fgets(text, sizeof(text), f) && ferror(f))
		ret = cli_fail(CLI_FAILED, "token file %s: %s; nothing was done", path, strerror(errno));
	else if (pki_token_parse(text, token, why) < 0)
		ret = cli_fail(CLI_FAILED, "token in %s: %s; nothing was done; copy the whole line that `blkship token create` printed",
			       path, why);
	OPENSSL_cleanse(text, sizeof(text));
	if (f != stdin)
		fclose(f);
	return ret;
}

static int paths_set(struct paths *p, const char *dir)
{
	const struct { char *path; const char *name; } all[] = {
		{ p->pki, "pki" }, { p->conf, "blkshipd.conf" },
		{ p->key, "pki/key.pem" }, { p->cert, "pki/cert.pem" }, { p->ca, "pki/ca.pem" },
		{ p->new_key, "pki/key.pem.new" }, { p->new_cert, "pki/cert.pem.new" },
		{ p->new_ca, "pki/ca.pem.new" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if ((size_t)snprintf(all[i].path, CLI_PATH_BYTES, "%s/%s", dir, all[i].name) >=
		    CLI_PATH_BYTES)
			return cli_fail(CLI_FAILED, "directory %s: the name is too long", dir);
	return CLI_DONE;
}

static int dirs_make(const struct options *o, const struct paths *p)
{
	if ((mkdir(o->config_dir, 0755) < 0 && errno != EEXIST) ||
	    (mkdir(p->pki, 0700) < 0 && errno != EEXIST) || chmod(p->pki, 0700) < 0)
		return cli_fail(CLI_FAILED, "directory %s: %s; nothing was done", p->pki,
				strerror(errno));
	return CLI_DONE;
}

static void remove_new(const struct paths *p)
{
	unlink(p->new_key);
	unlink(p->new_cert);
	unlink(p->new_ca);
}

/* The certificate must be of our key and of the token's CA before it replaces any. */
static int check_new(const struct paths *p, const struct enrolment *e, char *why)
{
	struct tls_ctx *ctx;
	uint8_t sha256[32];
	int ret = pki_fingerprint_pem(e->ca, strlen(e->ca), sha256, why);

	if (ret < 0)
		return ret;
	if (memcmp(sha256, e->token->ca_sha256, 32) != 0) {
		snprintf(why, PKI_TEXT_BYTES, "the CA it sent is not the token's");
		return -EBADMSG;
	}
	ret = tls_ctx_client(p->new_ca, p->new_cert, p->new_key, &ctx, why);
	if (ret == 0)
		tls_ctx_destroy(ctx);
	return ret;
}

static int files_replace(const struct paths *p, const struct enrolment *e, char *why)
{
	int ret = pki_write_file(p->new_cert, e->cert, strlen(e->cert), why);

	if (ret == 0)
		ret = pki_write_file(p->new_ca, e->ca, strlen(e->ca), why);
	if (ret == 0)
		ret = check_new(p, e, why);
	if (ret < 0)
		return ret;
	if (rename(p->new_ca, p->ca) < 0 || rename(p->new_key, p->key) < 0 ||
	    rename(p->new_cert, p->cert) < 0) {
		ret = -errno;
		snprintf(why, PKI_TEXT_BYTES, "%.200s: %s", p->pki, strerror(-ret));
	}
	return ret;
}

/* Put the address into what is there: everything else in the file is the operator's. */
static int conf_write(const struct paths *p, const char *target, char *why)
{
	char old[CONF_BYTES] = "", new[CONF_BYTES + 512];
	size_t used = 0;
	bool in_target = false, done = false;
	char *rest = old, *line;
	int ret = access(p->conf, F_OK) == 0 ? pki_read_file(p->conf, old, sizeof(old), why) : 0;

	if (ret < 0)
		return ret;
	while ((line = strsep(&rest, "\n"))) {
		const char *text = line + strspn(line, " \t");

		if (!rest && !*line)
			break;
		if (*text == '[')
			in_target = strncmp(text, "[target]", 8) == 0;
		if (in_target && !done && strncmp(text, "address", 7) == 0 &&
		    strchr(" \t=:", text[7])) {
			used += snprintf(new + used, sizeof(new) - used, "address = %s\n", target);
			done = true;
		} else {
			used += snprintf(new + used, sizeof(new) - used, "%s\n", line);
		}
	}
	if (!done)
		used += snprintf(new + used, sizeof(new) - used, "%s[target]\naddress = %s\n",
				 used ? "\n" : "", target);
	if (used >= sizeof(new)) {
		snprintf(why, PKI_TEXT_BYTES, "%.200s is too long", p->conf);
		return -EFBIG;
	}
	return pki_write_file(p->conf, new, used, why);
}

/* -- the command -- */

static int parse(const struct command *cmd, int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "token-file", required_argument, NULL, 't' },
		{ "target", required_argument, NULL, 'a' },
		{ "config-dir", required_argument, NULL, 'c' },
		{ "force", no_argument, NULL, 'f' },
		CLI_COMMON_OPTIONS
	};
	char host[TCP_HOST_BYTES];
	uint16_t port;
	int c;

	while ((c = cli_getopt(cmd, argc, argv, longs, &o->json)) != -1) {
		if (c == 't')
			o->token_file = optarg;
		else if (c == 'a')
			o->target = optarg;
		else if (c == 'c')
			o->config_dir = optarg;
		else
			o->force = true;
	}
	cli_check_args(cmd, argc, 0, 0);
	if (!o->token_file)
		return cli_usage(cmd, "--token-file is missing; a token does not belong on a command line");
	if (!o->target)
		return cli_usage(cmd, "--target is missing");
	if (tcp_parse(o->target, WIRE_PORT, host, &port) < 0 || port == 0)
		return cli_usage(cmd, "--target: '%s' is not HOST:PORT", o->target);
	return CLI_DONE;
}

static int report_failure(const struct options *o, const struct enrolment *e)
{
	if (e->refused)
		return cli_fail(CLI_FAILED, "target %s: %s; nothing was changed here; make a new token there with `blkship token create` and use it once, in time",
				o->target, e->why);
	return cli_fail(CLI_FAILED, "target %s: %s; nothing was changed here, the token is still good if it was not used; check that blkship-targetd runs there",
			o->target, e->why);
}

static int report_success(const struct options *o, const struct enrolment *e)
{
	char until[64];

	if (o->json)
		return cli_print_json(json_pack("{s:s, s:s, s:o, s:s}", "target", o->target,
						"target_name", e->target_name, "not_after",
						cli_json_time(e->not_after_s * WHEN_NS), "config_dir",
						o->config_dir));
	when_local(e->not_after_s * WHEN_NS, until, sizeof(until));
	printf("target %s verified; certificate until %.10s\n", e->target_name, until);
	printf("next: blkship attach GROUP VOLUME DEVICE, and start blkshipd\n");
	return CLI_DONE;
}

int cmd_enroll(const struct command *cmd, int argc, char **argv)
{
	struct options o = { .config_dir = CLI_CONFIG_DEFAULT };
	char csr[PKI_PEM_BYTES], why[PKI_TEXT_BYTES], host[PKI_HOST_BYTES] = "";
	static struct enrolment e;
	struct pki_token token;
	struct paths p;
	int ret = parse(cmd, argc, argv, &o);

	if (ret == CLI_DONE)
		ret = paths_set(&p, o.config_dir);
	if (ret != CLI_DONE)
		return ret;
	if (!o.force && (access(p.key, F_OK) == 0 || access(p.cert, F_OK) == 0))
		return cli_fail(CLI_REFUSED, "this machine is enrolled already (%s is there); nothing was changed; --force replaces it",
				p.cert);
	ret = read_token(o.token_file, &token);
	if (ret == CLI_DONE)
		ret = dirs_make(&o, &p);
	if (ret != CLI_DONE)
		return ret;
	if (gethostname(host, sizeof(host)) < 0 || !pki_host_valid(host))
		strcpy(host, "source");		/* the target takes the token's name anyway */
	if (pki_request(p.new_key, host, csr, why) < 0)
		return cli_fail(CLI_FAILED, "%s; nothing was done", why);
	e.token = &token;
	e.csr = csr;
	converse(&e, o.target);
	if (e.result == 0 &&
	    (files_replace(&p, &e, why) < 0 || conf_write(&p, o.target, why) < 0)) {
		remove_new(&p);
		return cli_fail(CLI_FAILED, "%s; the certificate was issued but could not be kept; correct that, make a new token and enrol again with --force",
				why);
	}
	remove_new(&p);
	OPENSSL_cleanse(&token, sizeof(token));
	return e.result == 0 ? report_success(&o, &e) : report_failure(&o, &e);
}
