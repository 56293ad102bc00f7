// SPDX-License-Identifier: GPL-2.0-only
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../userspace/lib/tcp.h"

#define SECOND_NS 1000000000ull

static void addresses_are_taken_apart(void **state)
{
	static const struct { const char *text, *host; int port; } cases[] = {
		{ "dr1", "dr1", 7443 }, { "dr1:1", "dr1", 1 }, { "10.0.0.1:65535", "10.0.0.1", 65535 },
		{ "[::1]:80", "::1", 80 }, { "[::1]", "::1", 7443 }, { "h:0", "h", 0 },
		{ "", NULL, 0 }, { ":1", NULL, 0 }, { "h:", NULL, 0 }, { "h:x", NULL, 0 },
		{ "h:1x", NULL, 0 }, { "h:65536", NULL, 0 }, { "::1", NULL, 0 }, { "[::1", NULL, 0 },
		{ "[::1]x", NULL, 0 }, { "h:-1", NULL, 0 }, { "h: 1", NULL, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char host[TCP_HOST_BYTES];
		uint16_t port;
		int ret = tcp_parse(cases[i].text, 7443, host, &port);

		assert_int_equal(ret, cases[i].host ? 0 : -EINVAL);
		if (ret < 0)
			continue;
		assert_string_equal(host, cases[i].host);
		assert_int_equal(port, cases[i].port);
	}
}

static struct {
	bool called;
	int fd;
	char why[512];
} result;

static void connected(struct tcp_connect *tc, int fd, const char *why)
{
	assert_false(result.called);
	result.called = true;
	result.fd = fd;
	snprintf(result.why, sizeof(result.why), "%s", why);
}

static void connect_to(struct loop *l, const char *target, uint64_t timeout_ns)
{
	struct tcp_connect tc = { .active = false };

	result.called = false;
	assert_int_equal(tcp_connect_start(l, &tc, target, 7443, timeout_ns, connected), 0);
	assert_false(result.called);
	while (!result.called)
		assert_int_equal(loop_turn(l, SECOND_NS), 0);
}

static void connections_are_made_or_explained(void **state)
{
	char target[64], why[TCP_TEXT_BYTES];
	struct tcp_connect tc = { .active = false };
	struct loop *l;
	uint16_t port, again;
	int fd;

	assert_int_equal(loop_create(8, &l), 0);
	fd = tcp_listen("127.0.0.1:0", 7443, &port, why);
	assert_true(fd >= 0 && port);
	snprintf(target, sizeof(target), "127.0.0.1:%u", port);
	assert_int_equal(tcp_listen(target, 7443, &again, why), -EADDRINUSE);
	assert_non_null(strstr(why, "Address already in use"));
	assert_int_equal(tcp_listen("localhost:1", 7443, &again, why), -EINVAL);

	connect_to(l, target, 10 * SECOND_NS);
	assert_true(result.fd >= 0);
	close(result.fd);
	/* A name: IPv6 may refuse, IPv4 has it. */
	snprintf(target, sizeof(target), "localhost:%u", port);
	connect_to(l, target, 10 * SECOND_NS);
	assert_true(result.fd >= 0);
	close(result.fd);

	/* Given up in the middle: nothing is called, nothing leaks. */
	assert_int_equal(tcp_connect_start(l, &tc, target, 7443, SECOND_NS, connected), 0);
	tcp_connect_stop(&tc);
	tcp_connect_stop(&tc);
	assert_int_equal(tcp_connect_start(l, &tc, "a:b:c", 7443, SECOND_NS, connected), -EINVAL);

	close(fd);
	connect_to(l, target, 10 * SECOND_NS);
	assert_int_equal(result.fd, -ECONNREFUSED);
	assert_non_null(strstr(result.why, "Connection refused"));
	assert_memory_equal(result.why, "localhost:", 10);
	connect_to(l, "127.0.0.1:1", 0);
	assert_int_equal(result.fd, -ETIMEDOUT);
	loop_destroy(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_taken_apart),
		cmocka_unit_test(connections_are_made_or_explained),
	};

	return cmocka_run_group_tests_name("tcp", tests, NULL, NULL);
}
