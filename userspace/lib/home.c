// SPDX-License-Identifier: GPL-2.0-only
#include "home.h"

#include <dlfcn.h>
#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../rados/env_rados.h"
#include "../rados/rados_format.h"
#include "container_of.h"
#include "env_posix.h"
#include "log.h"

#define PLUGIN_PATH	"/usr/lib/blkship/blkship-rados.so"
#define PLUGIN_VARIABLE	"BLKSHIP_RADOS_SO"	/* another one, in tests */

struct home {
	struct env *env;
	char groups[PATH_MAX + 16];
	const struct env_rados_plugin *rados;	/* NULL: a directory */
	struct loop_poll poll;
	bool attached;
};

bool home_valid(const char *location)
{
	struct rados_location where;

	return strlen(location) < HOME_LOCATION_BYTES &&
	       rados_location_parse(location, &where) == 0;
}

/* -- what the store says -- */

static int conf_line(void *arg, const char *section, const char *name, const char *value)
{
	if (strcmp(section, "target") == 0 && strcmp(name, "groups") == 0)
		snprintf(arg, HOME_LOCATION_BYTES, "%s", value);
	return 1;	/* the daemon is who complains about others */
}

static int conf_read(const char *store, char *location, char *why)
{
	char path[PATH_MAX + 32];
	int line;

	snprintf(path, sizeof(path), "%s/targetd.conf", store);
	line = access(path, F_OK) < 0 ? 0 : ini_parse(path, conf_line, location);
	if (line == 0 && (!*location || home_valid(location)))
		return 0;
	if (line)
		snprintf(why, HOME_TEXT_BYTES, "%.300s:%d: not understood", path, line);
	else
		snprintf(why, HOME_TEXT_BYTES, "%.200s: groups = %.100s: not rados:POOL or rados:POOL/NAMESPACE",
			 path, location);
	return -EINVAL;
}

/* -- a cluster -- */

static void say(enum env_rados_level level, const char *text)
{
	if (level == ENV_RADOS_ERROR)
		log_error("%s", text);
	else if (level == ENV_RADOS_WARNING)
		log_warning("%s", text);
	else
		log_info("%s", text);
}

/* Loaded once and never unloaded: librados has threads. */
static int plugin_load(const struct env_rados_plugin **out, char *why)
{
	const char *path = getenv(PLUGIN_VARIABLE);
	const struct env_rados_plugin *plugin = NULL;
	void *object;

	if (!path)
		path = PLUGIN_PATH;
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!object) {
		snprintf(why, HOME_TEXT_BYTES, "%.200s; a store on a Ceph cluster needs the package blkship-rados",
			 dlerror());
		return -ENOPKG;
	}
	plugin = dlsym(object, ENV_RADOS_SYMBOL);
	dlclose(object);
	if (!plugin || plugin->version != ENV_RADOS_VERSION) {
		snprintf(why, HOME_TEXT_BYTES, "%.200s is not of this version of blkship; install the same version of blkship-rados",
			 path);
		return -ENOEXEC;
	}
	*out = plugin;
	return 0;
}

static void on_ended(struct loop_poll *poll, uint32_t events)
{
	struct home *p = container_of(poll, struct home, poll);

	p->rados->pump(p->env);
}

static int open_rados(struct home *p, const char *location, struct loop *loop, char *why)
{
	char text[ENV_RADOS_TEXT_BYTES];
	int ret = plugin_load(&p->rados, why);

	if (ret == 0) {
		ret = p->rados->create(location, say, &p->env, text);
		if (ret < 0)
			snprintf(why, HOME_TEXT_BYTES, "%s", text);
	}
	if (ret < 0)
		return ret;
	snprintf(p->groups, sizeof(p->groups), "%s", location);
	p->attached = loop;
	if (loop)
		loop_poll_start(loop, &p->poll, p->rados->fd(p->env), POLLIN, on_ended);
	return 0;
}

/* -- a directory -- */

static int open_posix(struct home *p, const char *store, struct loop *loop)
{
	char *real = realpath(store, NULL);

	snprintf(p->groups, sizeof(p->groups), "%s/groups", real ? real : store);
	free(real);
	return env_posix_create(loop, &p->env);
}

/* "" in @location: in the directory itself. */
static int location_find(const char *store, char *location, char *why)
{
	location[0] = 0;
	if (strncmp(store, RADOS_PREFIX, strlen(RADOS_PREFIX)) != 0)
		return conf_read(store, location, why);
	snprintf(location, HOME_LOCATION_BYTES, "%s", store);
	return 0;
}

bool home_is_forkable(const char *store)
{
	char location[HOME_LOCATION_BYTES], why[HOME_TEXT_BYTES];

	return location_find(store, location, why) < 0 || !*location;
}

int home_open(const char *store, struct loop *loop, struct home **out, char *why)
{
	struct home *p = calloc(1, sizeof(*p));
	char location[HOME_LOCATION_BYTES];
	int ret;

	snprintf(why, HOME_TEXT_BYTES, "out of memory");
	if (!p)
		return -ENOMEM;
	ret = location_find(store, location, why);
	if (ret == 0)
		ret = *location ? open_rados(p, location, loop, why) : open_posix(p, store, loop);
	if (ret < 0) {
		free(p);
		return ret;
	}
	*out = p;
	return 0;
}

void home_detach(struct home *p)
{
	if (p->attached)
		loop_poll_stop(&p->poll);
	p->attached = false;
}

void home_close(struct home *p)
{
	if (!p)
		return;
	if (p->rados)
		p->rados->destroy(p->env);
	else
		env_posix_destroy(p->env);
	free(p);
}

struct env *home_env(struct home *p)
{
	return p->env;
}

const char *home_groups(const struct home *p)
{
	return p->groups;
}

bool home_is_remote(const struct home *p)
{
	return p->rados;
}

int home_prepare(struct home *p)
{
	return p->env->ops->mkdir(p->env, p->groups);
}

int home_takeover(struct home *p)
{
	return p->rados ? p->rados->takeover(p->env) : -EOPNOTSUPP;
}

size_t home_pump(struct home *p)
{
	return p->rados ? p->rados->pump(p->env) : env_posix_pump(p->env);
}
