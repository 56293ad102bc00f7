// SPDX-License-Identifier: GPL-2.0-only
#include "daemon.h"

#include <errno.h>
#include <stdio.h>

#include "../../userspace/lib/control_socket.h"
#include "../../userspace/store/timeline.h"
#include "cli.h"

int daemon_ask(const char *store, json_t *request, json_t **answer, char *why)
{
	char path[CLI_PATH_BYTES];
	const char *error;
	int ret;

	*answer = NULL;
	snprintf(path, sizeof(path), "%s/run/control.sock", store);
	ret = request ? control_socket_ask(path, request, answer) : -ENOMEM;
	json_decref(request);
	if (ret == -ENOENT || ret == -ECONNREFUSED || ret == -ENOTDIR)
		ret = -ENOTCONN;
	if (!ret && json_is_true(json_object_get(*answer, "not_open")))
		ret = -ENXIO;
	error = json_string_value(json_object_get(*answer, "error"));
	if (!ret && error) {
		ret = -json_integer_value(json_object_get(*answer, "errno"));
		snprintf(why, TIMELINE_TEXT_BYTES, "%s", error);
	}
	if (ret) {
		json_decref(*answer);
		*answer = NULL;
	}
	return ret;
}
