// SPDX-License-Identifier: GPL-2.0-only
/* test_group - the store of a target with one group, in a directory of its own under /tmp. */
#include "test_group.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "../../userspace/lib/env_posix.h"
#include "test_steps.h"

#define VOLUME_BYTES	(1u << 20)

int test_group_create(struct test_group *g)
{
	char groups[48];
	int ret;

	*g = (struct test_group){ .store = "/tmp/blkship-test-XXXXXX" };
	if (!mkdtemp(g->store))
		return -errno;
	snprintf(groups, sizeof(groups), "%s/groups", g->store);
	snprintf(g->dir, sizeof(g->dir), "%s/erp", groups);
	if (mkdir(groups, 0700))
		return -errno;
	ret = test_group_open(g);
	return ret ? ret : test_greet(g->tl, "data", VOLUME_BYTES);
}

int test_group_open(struct test_group *g)
{
	char why[TIMELINE_TEXT_BYTES];
	int ret = env_posix_create(NULL, &g->env);

	return ret ? ret : timeline_open(g->env, g->dir, TIMELINE_CREATE, "web1", &g->tl, why);
}

void test_group_close(struct test_group *g)
{
	timeline_close(g->tl);
	env_posix_destroy(g->env);
	g->tl = NULL;
	g->env = NULL;
}

int test_group_append(struct test_group *g, struct test_batch *b)
{
	int ret;

	b->volumes[b->nr_volumes++].size_bytes = VOLUME_BYTES;
	test_batch_end(b);
	ret = test_batch_append(b, g->tl);
	test_batch_free(b);
	if (!ret)
		test_flush(g->env, g->tl);
	return ret;
}

int test_group_remove(const struct test_group *g)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", g->store);
	return system(command);
}
