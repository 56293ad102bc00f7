// SPDX-License-Identifier: GPL-2.0-only
/* What a running target does when the command line asks, and what of it it refuses. */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../userspace/lib/control_socket.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/store/branches.h"
#include "../../userspace/target/control.h"
#include "../host/sim_env.h"
#include "../host/test_batch.h"
#include "../host/test_steps.h"

static void on_progress(void *arg, struct group *g, void *live)
{
}

struct rig {
	struct sim_env *sim;
	struct groups *groups;
	struct timeline *tl;	/* of group "erp", with the point 1:1 */
};

static void groups_init(struct rig *r)
{
	const struct groups_params params = { .env = sim_env_env(r->sim), .dir = "/g",
					      .progress = on_progress };

	assert_int_equal(groups_create(&params, &r->groups), 0);
}

static void rig_init(struct rig *r)
{
	char why[GROUP_TEXT_BYTES];
	struct test_batch b;
	struct group *g;

	r->sim = sim_env_create(1);
	sim_env_env(r->sim)->ops->mkdir(sim_env_env(r->sim), "/g");
	groups_init(r);
	assert_int_equal(groups_get(r->groups, "erp", "web1", &g, why), 0);
	r->tl = group_timeline(g);
	assert_int_equal(test_greet(r->tl, "v", 1 << 20), 0);
	test_batch_begin(&b, 1, seq_pack(1, 1));
	b.volumes[b.nr_volumes++].size_bytes = 1 << 20;
	test_batch_end(&b);
	assert_int_equal(test_append(r->sim, r->tl, &b), 0);
}

static void rig_fini(struct rig *r)
{
	groups_destroy(r->groups);
	sim_env_destroy(r->sim);
}

/* What it answers, as text; the caller's to free. */
static char *ask(struct rig *r, const char *request)
{
	json_t *in = json_loads(request, 0, NULL), *out = control_answer(r->groups, in);
	char *text = json_dumps(out, JSON_COMPACT);

	json_decref(in);
	json_decref(out);
	return text;
}

static void expect(struct rig *r, const char *request, const char *part)
{
	char *text = ask(r, request);

	if (!strstr(text, part))
		fail_msg("%s: %s, without %s", request, text, part);
	free(text);
}

static void a_point_is_pinned_and_released(void **state)
{
	struct timeline_pin *pins;
	struct rig r;
	size_t nr;

	rig_init(&r);
	expect(&r, "{\"op\":\"pin\",\"group\":\"erp\",\"cut\":\"281474976710657\",\"kind\":1,"
		   "\"label\":\"audit\"}", "{\"id\":1}");
	assert_int_equal(timeline_pins(r.tl, &pins, &nr), 0);
	assert_int_equal(nr, 1);
	assert_int_equal(pins[0].cut_seq, seq_pack(1, 1));
	assert_string_equal(pins[0].label, "audit");
	free(pins);
	expect(&r, "{\"op\":\"unpin\",\"group\":\"erp\",\"id\":1}", "{\"id\":1}");
	assert_int_equal(timeline_pins(r.tl, &pins, &nr), 0);
	assert_int_equal(nr, 0);
	free(pins);
	rig_fini(&r);
}

/* Else a command would write to it while the daemon begins to. */
static void a_group_without_a_source_is_opened(void **state)
{
	struct rig r;

	rig_init(&r);
	groups_destroy(r.groups);
	groups_init(&r);
	assert_null(groups_next(r.groups, NULL));
	expect(&r, "{\"op\":\"pin\",\"group\":\"erp\",\"cut\":\"281474976710657\",\"kind\":1}",
	       "{\"id\":1}");
	assert_non_null(groups_next(r.groups, NULL));
	rig_fini(&r);
}

/* Not under a source, nor one without points, unless that is wanted. */
static void a_branch_is_promoted(void **state)
{
	static const char request[] =
		"{\"op\":\"promote\",\"group\":\"erp\",\"branch\":\"dr\",\"force\":false}";
	char why[TIMELINE_TEXT_BYTES];
	struct group *g;
	void *evicted;
	struct rig r;

	rig_init(&r);
	g = groups_find(r.groups, r.tl);
	expect(&r, request, "there is none of this name");
	assert_int_equal(branch_create(sim_env_env(r.sim), "/g/erp", "dr", r.tl, seq_pack(1, 1), why),
			 0);
	expect(&r, request, "it has no points");
	assert_int_equal(group_claim(g, &r, (const uint8_t *)"0123456789abcdef", &evicted), 0);
	expect(&r, request, "{\"fed\":true}");
	assert_null(timeline_main_line(r.tl));
	expect(&r, "{\"op\":\"promote\",\"group\":\"erp\",\"force\":true}", "not understood");
	expect(&r, "{\"op\":\"promote\",\"group\":\"erp\",\"branch\":\"dr\",\"force\":true}",
	       "{}");
	assert_string_equal(timeline_main_line(r.tl)->name, "dr");
	group_release(g, &r);
	expect(&r, request, "\"errno\":114");	/* EALREADY */
	rig_fini(&r);
}

static void what_cannot_be_done_is_refused(void **state)
{
	struct rig r;

	rig_init(&r);
	expect(&r, "{\"op\":\"pin\",\"group\":\"web\",\"cut\":\"1\",\"kind\":1}", "not_open");
	expect(&r, "{\"op\":\"pin\",\"group\":\"erp\",\"cut\":\"7\",\"kind\":1}", "\"errno\":2");
	expect(&r, "{\"op\":\"pin\",\"group\":\"erp\",\"cut\":7,\"kind\":1}", "not understood");
	expect(&r, "{\"op\":\"pin\",\"group\":\"erp\",\"cut\":\"7\",\"kind\":9}", "not understood");
	expect(&r, "{\"op\":\"unpin\",\"group\":\"erp\",\"id\":5}", "\"errno\":2");
	expect(&r, "{\"op\":\"drop\",\"group\":\"erp\"}", "not understood");
	expect(&r, "{\"group\":7}", "not understood");
	expect(&r, "[]", "not understood");
	rig_fini(&r);
}

/* -- the socket -- */

struct server {
	struct loop *loop;
	struct control_socket socket;
};

static json_t *echo(void *arg, const json_t *request)
{
	if (json_object_get(request, "end"))
		loop_stop(((struct server *)arg)->loop);
	return json_pack("{s:O}", "asked", request);
}

static void *client(void *path)
{
	json_t *request = json_pack("{s:i}", "n", 1), *answer;
	uintptr_t wrong = 0;

	for (int i = 0; i < 4; i++) {
		if (i == 3)
			json_object_set_new(request, "end", json_true());
		if (control_socket_ask(path, request, &answer)) {
			wrong++;
			continue;
		}
		wrong += json_integer_value(json_object_get(json_object_get(answer, "asked"),
							    "n")) != 1;
		json_decref(answer);
	}
	json_decref(request);
	return (void *)wrong;
}

static void requests_are_answered_one_by_one(void **state)
{
	char dir[] = "/tmp/blkship-control-XXXXXX", path[64];
	json_t *request = json_object(), *answer;
	struct server server;
	pthread_t thread;
	void *wrong;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	assert_int_equal(control_socket_ask(path, request, &answer), -ENOENT);
	json_decref(request);
	assert_int_equal(loop_create(16, &server.loop), 0);
	assert_int_equal(control_socket_start(server.loop, &server.socket, path, echo, &server), 0);
	assert_int_equal(pthread_create(&thread, NULL, client, path), 0);
	loop_run(server.loop);
	pthread_join(thread, &wrong);
	assert_ptr_equal(wrong, NULL);
	control_socket_stop(&server.socket);
	assert_int_equal(access(path, F_OK), -1);
	loop_destroy(server.loop);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_point_is_pinned_and_released),
		cmocka_unit_test(a_group_without_a_source_is_opened),
		cmocka_unit_test(a_branch_is_promoted),
		cmocka_unit_test(what_cannot_be_done_is_refused),
		cmocka_unit_test(requests_are_answered_one_by_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
