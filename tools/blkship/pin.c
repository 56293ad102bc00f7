// SPDX-License-Identifier: GPL-2.0-only
/* pin - have a point stay: asked of the target's daemon, or done here when it has none. */
#include "pin.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../userspace/lib/home.h"
#include "../../userspace/lib/when.h"
#include "cli.h"
#include "daemon.h"

static json_t *request_of(const struct pin_change *c)
{
	char cut[32];

	if (c->release)
		return json_pack("{s:s, s:s, s:I}", "op", "unpin", "group", c->group, "id",
				 (json_int_t)c->id);
	snprintf(cut, sizeof(cut), "%llu", (unsigned long long)c->cut_seq);
	return json_pack("{s:s, s:s, s:s, s:i, s:s, s:I}", "op", "pin", "group", c->group, "cut",
			 cut, "kind", c->kind, "label", c->label, "lease_s",
			 (json_int_t)c->lease_s);
}

int pin_by_daemon(struct pin_change *c, char *why)
{
	json_t *answer;
	int ret = daemon_ask(c->store, request_of(c), &answer, why);

	if (!ret)
		c->id = json_integer_value(json_object_get(answer, "id"));
	json_decref(answer);
	return ret;
}

int pin_here(struct pin_change *c, char *why)
{
	char dir[CLI_PATH_BYTES * 2], reason[HOME_TEXT_BYTES];
	struct timeline *tl = NULL;
	struct home *home;
	int ret = home_open(c->store, NULL, &home, reason);

	if (ret) {
		snprintf(why, TIMELINE_TEXT_BYTES, "%.200s", reason);
		return ret;
	}
	snprintf(dir, sizeof(dir), "%.500s/%.60s", home_groups(home), c->group);
	ret = timeline_open(home_env(home), dir, 0, NULL, &tl, why);
	if (!ret)
		ret = c->release ? timeline_unpin(tl, c->id) :
		      timeline_pin(tl, c->cut_seq, c->kind, c->label,
				   c->lease_s * WHEN_NS, &c->id);
	timeline_close(tl);
	home_close(home);
	return ret;
}
