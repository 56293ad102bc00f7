// SPDX-License-Identifier: GPL-2.0-only
/* See test_steps.h. */
#include "test_steps.h"

#include "../../userspace/lib/env_posix.h"
#include "../../userspace/store/index.h"

int test_greet(struct timeline *tl, const char *volume, uint64_t size_bytes)
{
	const struct timeline_volume *v;
	struct timeline_state state;
	uint32_t incarnation;
	int ret = timeline_volume(tl, volume, size_bytes, "", &v);

	timeline_state(tl, &state);
	if (!ret && !state.incarnation)
		ret = timeline_grant(tl, (const uint8_t *)"0123456789abcdef", &incarnation);
	return ret;
}

int test_append(struct sim_env *sim, struct timeline *tl, struct test_batch *b)
{
	int ret = test_batch_append(b, tl);

	test_batch_free(b);
	if (ret)
		return ret;
	timeline_flush(tl);
	sim_env_complete_all(sim);
	return 0;
}

void test_flush(struct env *env, struct timeline *tl)
{
	timeline_flush(tl);
	while (env_posix_pump(env) || !timeline_idle(tl))
		;
}

int test_index(struct env *env, struct timeline *tl)
{
	struct index_job *job;

	while ((job = timeline_index_plan(tl))) {
		int made = index_job_run(job, env, NULL);
		int taken = timeline_index_take(tl, job);

		if (made || taken)
			return made ? made : taken;
	}
	return 0;
}
