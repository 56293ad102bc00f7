// SPDX-License-Identifier: GPL-2.0-only
/* control - what a running target is asked to do for the command line. */
#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/log.h"
#include "../store/branches.h"

static json_t *failed(int error, const char *text)
{
	return json_pack("{s:s, s:i}", "error", text, "errno", -error);
}

static json_t *answered(struct group *g, const char *what, int ret, uint64_t id)
{
	if (ret)
		return failed(ret, strerror(-ret));
	log_info("group %s: %s %llu, asked for on this machine", group_name(g), what,
		 (unsigned long long)id);
	return json_pack("{s:I}", "id", (json_int_t)id);
}

static json_t *pin(struct group *g, const json_t *request)
{
	const char *cut = json_string_value(json_object_get(request, "cut"));
	const char *label = json_string_value(json_object_get(request, "label"));
	json_int_t kind = json_integer_value(json_object_get(request, "kind"));
	json_int_t lease_s = json_integer_value(json_object_get(request, "lease_s"));
	uint64_t id = json_integer_value(json_object_get(request, "id"));
	int ret;

	if (!cut || kind < TIMELINE_PIN_HOLD || kind > TIMELINE_PIN_BRANCH || lease_s < 0 ||
	    lease_s > INT32_MAX)
		return failed(-EINVAL, "the request is not understood");
	ret = timeline_pin(group_timeline(g), strtoull(cut, NULL, 10), kind, label ? label : "",
			   lease_s * UINT64_C(1000000000), &id);
	return answered(g, "pin", ret, id);
}

/* Who feeds it loses protection: that has to be wanted, as has a branch without points. */
static json_t *promote(struct group *g, const json_t *request)
{
	const char *branch = json_string_value(json_object_get(request, "branch"));
	bool force = json_is_true(json_object_get(request, "force"));
	char why[TIMELINE_TEXT_BYTES];
	int ret;

	if (!branch)
		return failed(-EINVAL, "the request is not understood");
	if (group_live(g) && !force)
		return json_pack("{s:b}", "fed", 1);
	ret = branch_promote(group_timeline(g), branch, force, why);
	if (ret)
		return failed(ret, why);
	log_warning("group %s: branch %s is its main line from now on, asked for on this machine; its source is refused, what it had shipped past the branch's beginning stays",
		    group_name(g), branch);
	return json_pack("{}");
}

json_t *control_answer(struct groups *groups, const json_t *request)
{
	const char *op = json_string_value(json_object_get(request, "op"));
	const char *name = json_string_value(json_object_get(request, "group"));
	uint64_t id = json_integer_value(json_object_get(request, "id"));
	char why[GROUP_TEXT_BYTES];
	struct group *g;

	if (!op || !name)
		return failed(-EINVAL, "the request is not understood");
	if (groups_open(groups, name, &g, why))
		return json_pack("{s:b}", "not_open", 1);
	if (strcmp(op, "pin") == 0)
		return pin(g, request);
	if (strcmp(op, "promote") == 0)
		return promote(g, request);
	if (strcmp(op, "unpin") == 0)
		return answered(g, "released pin", timeline_unpin(group_timeline(g), id), id);
	return failed(-EINVAL, "the request is not understood");
}
