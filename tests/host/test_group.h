/* SPDX-License-Identifier: GPL-2.0-only */
/* test_group - the store of a target with one group, in a directory of its own under /tmp. */
#ifndef TEST_GROUP_H
#define TEST_GROUP_H

#include "../../userspace/lib/env.h"
#include "../../userspace/store/timeline.h"
#include "test_batch.h"

struct test_group {
	char store[32];
	char dir[64];		/* of the group, "erp" */
	struct env *env;	/* NULL: closed */
	struct timeline *tl;
};

/** test_group_create - and open it; with an empty volume "data" of 1 MiB; 0 or -errno */
int test_group_create(struct test_group *g);

/** test_group_open - as its writer; 0 or -errno */
int test_group_open(struct test_group *g);
void test_group_close(struct test_group *g);

/** test_group_append - end a batch, append it, free it; it is durable; 0 or the first error */
int test_group_append(struct test_group *g, struct test_batch *b);

/** test_group_remove - all of the store; 0, or something is left */
int test_group_remove(const struct test_group *g);

#endif
