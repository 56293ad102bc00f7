// SPDX-License-Identifier: GPL-2.0-only
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../userspace/lib/pki.h"
#include "../../userspace/lib/tls.h"

#define SECOND_NS 1000000000u

/* One CA of ours, one of others, and a source's certificate from each. */
static char dir[64];

static const char *in_dir(const char *name)
{
	static char path[8][128];
	static int next;
	char *out = path[next++ % 8];

	snprintf(out, sizeof(path[0]), "%s/%s", dir, name);
	return out;
}

static void make_pki(const char *which, const char *host)
{
	char csr[PKI_PEM_BYTES], cert[PKI_PEM_BYTES], path[128], why[PKI_TEXT_BYTES];
	uint64_t not_after_s;

	assert_int_equal(mkdir(in_dir(which), 0700), 0);
	assert_int_equal(pki_init(in_dir(which), "dr1", (const char *[]){ "localhost" }, 1, why), 0);
	snprintf(path, sizeof(path), "%s/%s/key.pem", dir, which);
	assert_int_equal(pki_request(path, host, csr, why), 0);
	assert_int_equal(pki_sign(in_dir(which), csr, strlen(csr), host, cert, &not_after_s, why), 0);
	snprintf(path, sizeof(path), "%s/%s/cert.pem", dir, which);
	assert_int_equal(pki_write_file(path, cert, strlen(cert), why), 0);
}

/* The source's certificate again, but ended an hour ago. */
static void make_expired(void)
{
	FILE *f = fopen(in_dir("ours/cert.pem"), "r");
	X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);
	EVP_PKEY *ca_key;

	fclose(f);
	f = fopen(in_dir("ours/ca.key"), "r");
	ca_key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	fclose(f);
	X509_gmtime_adj(X509_getm_notBefore(cert), -7200);
	X509_gmtime_adj(X509_getm_notAfter(cert), -3600);
	assert_true(X509_sign(cert, ca_key, EVP_sha256()) > 0);
	f = fopen(in_dir("ours/expired.pem"), "w");
	PEM_write_X509(f, cert);
	fclose(f);
	X509_free(cert);
	EVP_PKEY_free(ca_key);
}

static int setup_group(void **state)
{
	strcpy(dir, "/tmp/blkship-unit-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	make_pki("ours", "web1");
	make_pki("others", "web1");
	make_expired();
	return 0;
}

static int teardown_group(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf -- '%s'", dir);
	return system(command);
}

/* One end of a connection and what happened to it. */
struct end {
	struct tls_ctx *ctx;
	struct tls_conn *conn;
	bool ready, closed, destroy_on_input, echo, hold;
	int drains;
	enum tls_close how;
	char why[TLS_TEXT_BYTES];
	char identity[TLS_IDENTITY_BYTES];
	uint8_t *got;
	size_t got_bytes, want_bytes;	/* takes frames of want_bytes, or anything when 0 */
};

static void on_ready(struct tls_conn *c, void *arg)
{
	struct end *e = arg;

	e->ready = true;
	if (tls_conn_identity(c))
		strcpy(e->identity, tls_conn_identity(c));
}

static size_t on_input(struct tls_conn *c, const void *buf, size_t bytes, void *arg)
{
	struct end *e = arg;

	assert_int_equal((uintptr_t)buf % 8, 0);
	if (e->hold)
		return 0;
	if (e->want_bytes && bytes < e->want_bytes)
		return 0;
	if (e->want_bytes)
		bytes = e->want_bytes;
	if (e->got) {
		memcpy(e->got + e->got_bytes, buf, bytes);
	}
	e->got_bytes += bytes;
	if (e->echo)
		assert_int_equal(tls_conn_send(c, buf, bytes), 0);
	if (e->destroy_on_input) {
		tls_conn_destroy(c);
		e->conn = NULL;
	}
	return bytes;
}

static void on_drain(struct tls_conn *c, void *arg)
{
	((struct end *)arg)->drains++;
}

static void on_closed(struct tls_conn *c, enum tls_close how, const char *why, void *arg)
{
	struct end *e = arg;

	assert_false(e->closed);
	e->closed = true;
	e->how = how;
	snprintf(e->why, sizeof(e->why), "%s", why);
	tls_conn_destroy(c);
	e->conn = NULL;
}

static const struct tls_conn_ops ops = { on_ready, on_input, on_drain, on_closed };

struct pair {
	struct loop *loop;
	struct end server, client;
};

static void pair_open(struct pair *p, struct tls_ctx *client_ctx)
{
	char why[TLS_TEXT_BYTES];
	int fds[2];

	memset(p, 0, sizeof(*p));
	assert_int_equal(loop_create(16, &p->loop), 0);
	assert_int_equal(tls_ctx_server(in_dir("ours/ca.pem"), in_dir("ours/server.pem"),
					in_dir("ours/server.key"), &p->server.ctx, why), 0);
	p->client.ctx = client_ctx;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(tls_conn_create(p->loop, p->server.ctx, fds[0], &ops, &p->server,
					 &p->server.conn), 0);
	assert_int_equal(tls_conn_create(p->loop, p->client.ctx, fds[1], &ops, &p->client,
					 &p->client.conn), 0);
}

static struct tls_ctx *client_ctx(const char *ca, const char *cert, const char *key)
{
	struct tls_ctx *ctx;
	char why[TLS_TEXT_BYTES];

	assert_int_equal(tls_ctx_client(in_dir(ca), in_dir(cert), in_dir(key), &ctx, why), 0);
	return ctx;
}

static void pair_close(struct pair *p)
{
	tls_conn_destroy(p->server.conn);
	tls_conn_destroy(p->client.conn);
	tls_ctx_destroy(p->server.ctx);
	tls_ctx_destroy(p->client.ctx);
	loop_destroy(p->loop);
}

/* Turn until *flag; a test that hangs is a test that failed. */
static void turn_until(struct pair *p, const bool *flag)
{
	uint64_t end_ns = loop_now_ns() + 20ull * SECOND_NS;

	while (!*flag) {
		assert_true(loop_now_ns() < end_ns);
		assert_int_equal(loop_turn(p->loop, SECOND_NS), 0);
	}
}

static void pair_ready(struct pair *p)
{
	turn_until(p, &p->server.ready);
	turn_until(p, &p->client.ready);
}

static void good_certificates_meet(void **state)
{
	struct pair p;

	pair_open(&p, client_ctx("ours/ca.pem", "ours/cert.pem", "ours/key.pem"));
	assert_int_equal(tls_conn_send(p.client.conn, "x", 1), -ENOTCONN);
	pair_ready(&p);
	assert_string_equal(p.server.identity, "web1");
	assert_string_equal(p.client.identity, "dr1");
	p.server.echo = true;
	assert_int_equal(tls_conn_send(p.client.conn, "hello", 5), 0);
	while (p.client.got_bytes < 5)
		assert_int_equal(loop_turn(p.loop, SECOND_NS), 0);
	assert_true(p.client.drains > 0);
	/* The last words before the end arrive. */
	p.server.echo = false;
	assert_int_equal(tls_conn_send(p.client.conn, "bye", 3), 0);
	tls_conn_finish(p.client.conn);
	turn_until(&p, &p.server.closed);
	turn_until(&p, &p.client.closed);
	assert_int_equal(p.server.got_bytes, 8);
	assert_int_equal(p.server.how, TLS_CLOSE_PEER);
	assert_int_equal(p.client.how, TLS_CLOSE_LOCAL);
	pair_close(&p);
}

static void much_data_in_frames_of_odd_length(void **state)
{
	enum { FRAME = 100003, NR = 300 };
	uint8_t *data = malloc((size_t)FRAME * NR);
	uint64_t seed = 3;
	struct pair p;
	size_t sent = 0;

	for (size_t i = 0; i < (size_t)FRAME * NR; i++)
		data[i] = unit_random(&seed) >> 56;
	pair_open(&p, client_ctx("ours/ca.pem", "ours/cert.pem", "ours/key.pem"));
	pair_ready(&p);
	p.server.got = malloc((size_t)FRAME * NR);
	p.server.want_bytes = FRAME;
	p.server.hold = true;	/* until the pipe is full */
	for (int i = 0; p.server.got_bytes < (size_t)FRAME * NR; i++) {
		while (sent < (size_t)FRAME * NR && tls_conn_unsent(p.client.conn) < 1u << 20) {
			assert_int_equal(tls_conn_send(p.client.conn, data + sent, FRAME), 0);
			sent += FRAME;
		}
		assert_int_equal(loop_turn(p.loop, p.server.hold ? 1000000 : SECOND_NS), 0);
		if (i == 200) {
			assert_true(sent < (size_t)FRAME * NR);	/* held back */
			p.server.hold = false;
			tls_conn_resume(p.server.conn);
		}
	}
	assert_memory_equal(data, p.server.got, (size_t)FRAME * NR);
	free(p.server.got);
	free(data);
	pair_close(&p);
}

static void whole_frames_fit_and_more_is_bounded(void **state)
{
	uint8_t *frame = calloc(1, TLS_MAX_FRAME_BYTES);
	struct pair p;
	int ret = 0;

	pair_open(&p, client_ctx("ours/ca.pem", "ours/cert.pem", "ours/key.pem"));
	pair_ready(&p);
	p.server.want_bytes = TLS_MAX_FRAME_BYTES;
	for (int i = 0; i < 40 && ret == 0; i++)
		ret = tls_conn_send(p.client.conn, frame, TLS_MAX_FRAME_BYTES);
	assert_int_equal(ret, -ENOBUFS);
	assert_in_range(tls_conn_unsent(p.client.conn), TLS_MAX_UNSENT / 2, TLS_MAX_UNSENT);
	while (p.server.got_bytes < 10u * TLS_MAX_FRAME_BYTES)
		assert_int_equal(loop_turn(p.loop, SECOND_NS), 0);
	free(frame);
	pair_close(&p);
}

static void destroyed_in_a_callback(void **state)
{
	struct pair p;

	pair_open(&p, client_ctx("ours/ca.pem", "ours/cert.pem", "ours/key.pem"));
	pair_ready(&p);
	p.server.destroy_on_input = true;
	assert_int_equal(tls_conn_send(p.client.conn, "x", 1), 0);
	turn_until(&p, &p.client.closed);
	assert_null(p.server.conn);
	pair_close(&p);
}

/* Both ends must say what is wrong; "" when a side has nothing to say. */
static void expect_refusal(struct tls_ctx *ctx, const char *server_why, const char *client_why)
{
	struct pair p;

	pair_open(&p, ctx);
	turn_until(&p, &p.server.closed);
	turn_until(&p, &p.client.closed);
	if (!strstr(p.server.why, server_why) || !strstr(p.client.why, client_why))
		fail_msg("server: %s; client: %s", p.server.why, p.client.why);
	assert_false(p.server.ready);
	assert_int_equal(p.client.how, TLS_CLOSE_AUTH);
	assert_int_equal(p.server.how, TLS_CLOSE_AUTH);
	pair_close(&p);
}

static void a_source_of_another_ca_is_refused(void **state)
{
	expect_refusal(client_ctx("ours/ca.pem", "others/cert.pem", "others/key.pem"),
		       "certificate verify failed", "refused our certificate: ");
}

static void an_expired_source_is_refused(void **state)
{
	expect_refusal(client_ctx("ours/ca.pem", "ours/expired.pem", "ours/key.pem"),
		       "certificate has expired", "refused our certificate: certificate expired");
}

static void a_target_of_another_ca_is_refused(void **state)
{
	expect_refusal(client_ctx("others/ca.pem", "others/cert.pem", "others/key.pem"),
		       "refused our certificate: unknown CA", "certificate verify failed: self");
}

static void a_source_is_no_target_and_a_target_no_source(void **state)
{
	struct tls_ctx *ctx;
	char why[TLS_TEXT_BYTES];
	struct pair p;

	expect_refusal(client_ctx("ours/ca.pem", "ours/server.pem", "ours/server.key"),
		       "certificate", "refused our certificate");
	/* The source's certificate at the server's side. */
	pair_open(&p, client_ctx("ours/ca.pem", "ours/cert.pem", "ours/key.pem"));
	tls_conn_destroy(p.server.conn);
	tls_conn_destroy(p.client.conn);
	tls_ctx_destroy(p.server.ctx);
	assert_int_equal(tls_ctx_server(in_dir("ours/ca.pem"), in_dir("ours/cert.pem"),
					in_dir("ours/key.pem"), &ctx, why), 0);
	p.server.ctx = ctx;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(tls_conn_create(p.loop, p.server.ctx, fds[0], &ops, &p.server,
					 &p.server.conn), 0);
	assert_int_equal(tls_conn_create(p.loop, p.client.ctx, fds[1], &ops, &p.client,
					 &p.client.conn), 0);
	turn_until(&p, &p.client.closed);
	assert_int_equal(p.client.how, TLS_CLOSE_AUTH);
	assert_non_null(strstr(p.client.why, "certificate verify failed"));
	pair_close(&p);
}

static void enrolment_needs_the_fingerprint_and_no_certificate(void **state)
{
	struct tls_ctx *ctx;
	char why[TLS_TEXT_BYTES];
	uint8_t sha256[32];
	struct pair p;

	assert_int_equal(pki_fingerprint(in_dir("ours/ca.pem"), sha256, why), 0);
	assert_int_equal(tls_ctx_enroll(sha256, &ctx, why), 0);
	pair_open(&p, ctx);
	pair_ready(&p);
	assert_string_equal(p.server.identity, "");
	assert_string_equal(p.client.identity, "dr1");
	pair_close(&p);

	sha256[5] ^= 1;
	assert_int_equal(tls_ctx_enroll(sha256, &ctx, why), 0);
	expect_refusal(ctx, "refused our certificate", "fingerprint is in the token");
	/* The server's own certificate is no CA, whatever the token says. */
	assert_int_equal(pki_fingerprint(in_dir("ours/server.pem"), sha256, why), 0);
	assert_int_equal(tls_ctx_enroll(sha256, &ctx, why), 0);
	pair_open(&p, ctx);
	turn_until(&p, &p.client.closed);
	assert_int_equal(p.client.how, TLS_CLOSE_AUTH);
	pair_close(&p);
}

static void old_tls_and_plain_text_are_refused(void **state)
{
	struct pair p;
	SSL_CTX *old = SSL_CTX_new(TLS_client_method());
	SSL *ssl;
	int fds[2];

	pair_open(&p, client_ctx("ours/ca.pem", "ours/cert.pem", "ours/key.pem"));
	tls_conn_destroy(p.client.conn);
	p.client.conn = NULL;
	turn_until(&p, &p.server.closed);
	assert_non_null(strstr(p.server.why, "during the handshake"));

	SSL_CTX_set_max_proto_version(old, TLS1_2_VERSION);
	ssl = SSL_new(old);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	p.server.closed = false;
	assert_int_equal(tls_conn_create(p.loop, p.server.ctx, fds[0], &ops, &p.server,
					 &p.server.conn), 0);
	SSL_set_fd(ssl, fds[1]);
	assert_int_equal(SSL_connect(ssl), -1);
	turn_until(&p, &p.server.closed);
	assert_string_equal(p.server.why, "TLS: unsupported protocol");
	SSL_free(ssl);
	SSL_CTX_free(old);
	close(fds[1]);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	p.server.closed = false;
	assert_int_equal(tls_conn_create(p.loop, p.server.ctx, fds[0], &ops, &p.server,
					 &p.server.conn), 0);
	assert_int_equal(write(fds[1], "SSH-2.0-x\r\n", 11), 11);
	turn_until(&p, &p.server.closed);
	assert_string_equal(p.server.why, "TLS: wrong version number");
	assert_int_equal(p.server.how, TLS_CLOSE_PROTOCOL);
	close(fds[1]);
	pair_close(&p);
}

static void unusable_files_are_named(void **state)
{
	struct tls_ctx *ctx;
	char why[TLS_TEXT_BYTES];

	assert_int_equal(tls_ctx_client(in_dir("none.pem"), in_dir("ours/cert.pem"),
					in_dir("ours/key.pem"), &ctx, why), -ENOENT);
	assert_non_null(strstr(why, "none.pem"));
	assert_int_equal(tls_ctx_client(in_dir("ours/ca.pem"), in_dir("ours/cert.pem"),
					in_dir("others/key.pem"), &ctx, why), -EBADMSG);
	assert_non_null(strstr(why, "key values mismatch"));
	assert_int_equal(chmod(in_dir("others/key.pem"), 0644), 0);
	assert_int_equal(tls_ctx_client(in_dir("ours/ca.pem"), in_dir("others/cert.pem"),
					in_dir("others/key.pem"), &ctx, why), -EACCES);
	assert_int_equal(chmod(in_dir("others/key.pem"), 0600), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_certificates_meet),
		cmocka_unit_test(much_data_in_frames_of_odd_length),
		cmocka_unit_test(whole_frames_fit_and_more_is_bounded),
		cmocka_unit_test(destroyed_in_a_callback),
		cmocka_unit_test(a_source_of_another_ca_is_refused),
		cmocka_unit_test(an_expired_source_is_refused),
		cmocka_unit_test(a_target_of_another_ca_is_refused),
		cmocka_unit_test(a_source_is_no_target_and_a_target_no_source),
		cmocka_unit_test(enrolment_needs_the_fingerprint_and_no_certificate),
		cmocka_unit_test(old_tls_and_plain_text_are_refused),
		cmocka_unit_test(unusable_files_are_named),
	};

	return cmocka_run_group_tests_name("tls", tests, setup_group, teardown_group);
}
