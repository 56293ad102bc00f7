// SPDX-License-Identifier: GPL-2.0-only
#include "opener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "../lib/container_of.h"
#include "../lib/log.h"
#include "../lib/name.h"

#define RETRY_NS	60000000000ull
#define PART_OF_TIME	100	/* that trying may take */
#define BREATH_NS	1000000ull	/* between two groups, for everything else */

struct shut {
	char name[TIMELINE_NAME_BYTES];
	char why[GROUP_TEXT_BYTES];	/* "": it was not tried yet */
	uint64_t due_ns;
	TAILQ_ENTRY(shut) link;
};

struct opener {
	struct loop *loop;
	struct groups *groups;
	bool shared;
	struct loop_timer timer;
	TAILQ_HEAD(, shut) list;	/* by due_ns */
	int error;			/* of making the list */
};

static void take_name(void *arg, const char *name)
{
	struct opener *op = arg;
	struct shut *s;

	if (!name_valid(name) || op->error)
		return;
	s = calloc(1, sizeof(*s));
	if (!s) {
		op->error = -ENOMEM;
		return;
	}
	strcpy(s->name, name);
	TAILQ_INSERT_TAIL(&op->list, s, link);
}

/*
 * Told when it begins, and when the reason changes. Who has it open on this machine is a command
 * that will end.
 */
static void failure_tell(struct shut *s, int error, const char *why, int retry_s)
{
	if (strcmp(s->why, why) != 0 && error == -EBUSY)
		log_warning("group %s: %s; tried again in %d s", s->name, why, retry_s);
	else if (strcmp(s->why, why) != 0)
		log_error("ALARM: group %s: cannot be opened: %s; its points are neither thinned out nor their space given back, and its source is refused; the other groups go on; tried again every %d s; see `blkship store check %s`",
			  s->name, why, retry_s, s->name);
	strcpy(s->why, why);
}

/*
 * Of a cluster's groups somebody else may be the owner: that is no fault, and if he ends for a
 * moment they are not to be taken from him. Who has their source will ask.
 */
static bool is_anothers(const struct opener *op, const struct shut *s, int error, const char *why)
{
	if (error != -EBUSY || !op->shared)
		return false;
	log_info("group %s: left to its owner: %s; it is opened when its source comes here", s->name,
		 why);
	return true;
}

uint64_t opener_retry_ns(uint64_t took_ns)
{
	return took_ns > RETRY_NS / PART_OF_TIME ? took_ns * PART_OF_TIME : RETRY_NS;
}

/* Whether it is done with; else when it is due again is set. */
static bool try(struct opener *op, struct shut *s)
{
	uint64_t begun_ns = loop_now_ns(), retry_ns;
	char why[GROUP_TEXT_BYTES] = "";
	struct group *g;
	int ret = groups_open(op->groups, s->name, &g, why);

	/* Something else lies there, or it was never made wholly. */
	if (ret == -ENOENT || ret == -ENOTDIR)
		return true;
	if (ret == 0 && s->why[0])
		log_info("group %s: it could be opened now", s->name);
	if (ret == 0 || is_anothers(op, s, ret, why))
		return true;
	retry_ns = opener_retry_ns(loop_now_ns() - begun_ns);
	s->due_ns = loop_now_ns() + retry_ns;
	failure_tell(s, ret, why, retry_ns / 1000000000);
	return false;
}

static void wait_for_first(struct opener *op);

static void shut_insert(struct opener *op, struct shut *s)
{
	struct shut *at;

	TAILQ_FOREACH(at, &op->list, link)
		if (at->due_ns > s->due_ns)
			break;
	if (at)
		TAILQ_INSERT_BEFORE(at, s, link);
	else
		TAILQ_INSERT_TAIL(&op->list, s, link);
}

static void on_due(struct loop_timer *t)
{
	struct opener *op = container_of(t, struct opener, timer);
	struct shut *s = TAILQ_FIRST(&op->list);

	TAILQ_REMOVE(&op->list, s, link);
	if (try(op, s))
		free(s);
	else
		shut_insert(op, s);
	wait_for_first(op);
}

static void wait_for_first(struct opener *op)
{
	const struct shut *s = TAILQ_FIRST(&op->list);
	uint64_t now_ns = loop_now_ns(), delay_ns = BREATH_NS;

	if (!s)
		return;
	if (s->due_ns > now_ns + BREATH_NS)
		delay_ns = s->due_ns - now_ns;
	loop_timer_start(op->loop, &op->timer, delay_ns, 0, on_due);
}

int opener_create(struct loop *loop, struct groups *groups, bool shared, struct opener **out)
{
	struct opener *op = calloc(1, sizeof(*op));
	int ret;

	if (!op)
		return -ENOMEM;
	op->loop = loop;
	op->groups = groups;
	op->shared = shared;
	TAILQ_INIT(&op->list);
	ret = groups_names(groups, take_name, op);
	if (ret == 0)
		ret = op->error;
	if (ret) {
		opener_destroy(op);
		return ret;
	}
	wait_for_first(op);
	*out = op;
	return 0;
}

void opener_destroy(struct opener *op)
{
	struct shut *s;

	if (!op)
		return;
	loop_timer_stop(&op->timer);
	while ((s = TAILQ_FIRST(&op->list))) {
		TAILQ_REMOVE(&op->list, s, link);
		free(s);
	}
	free(op);
}

size_t opener_waiting(const struct opener *op)
{
	const struct shut *s;
	size_t nr = 0;

	if (!op)
		return 0;
	TAILQ_FOREACH(s, &op->list, link)
		nr += !s->why[0];
	return nr;
}

json_t *opener_failed(const struct opener *op)
{
	json_t *all = json_array();
	const struct shut *s;

	if (!op)
		return all;
	TAILQ_FOREACH(s, &op->list, link)
		if (s->why[0])
			json_array_append_new(all, json_pack("{s:s, s:s}", "group", s->name,
							     "error", s->why));
	return all;
}
