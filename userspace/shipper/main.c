// SPDX-License-Identifier: GPL-2.0-only
/*
 * blkshipd - serves every group that the running kernel has.
 *
 * The daemon writes to no disk: what it says goes to standard error, what it
 * knows to a socket. It locks its memory, because paging it in could need the
 * very disk it protects.
 */
#include <errno.h>
#include <getopt.h>
#include <ini.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "../lib/env_posix.h"
#include "../lib/knl.h"
#include "../lib/log.h"
#include "../lib/segment_format.h"
#include "../lib/status_socket.h"
#include "../lib/sysblock.h"
#include "../lib/tls.h"
#include "capture_dev.h"
#include "source.h"

#define DEFAULT_CONFIG_DIR "/etc/blkship"
#define DEFAULT_SOCKET "/run/blkship/blkshipd.sock"
#define MAX_GROUPS 64
#define RESCAN_NS UINT64_C(10000000000)

struct config {
	char target[256];
	char codec[16];
	unsigned long cut_mib, cut_ms;
};

struct daemon {
	struct config config;
	struct source_params params;
	struct loop *loop;
	struct env *env;
	struct source *sources[MAX_GROUPS];
	unsigned int nr_sources, nr_stopping;
	struct knl *events;
	struct loop_poll events_poll;
	struct loop_timer rescan;
	struct loop_call release;
	struct loop_signals signals;
	struct status_socket status;
	bool stopping;
};

static const char usage_text[] =
	"usage: blkshipd [--config-dir DIR] [--socket PATH]\n"
	"\n"
	"Ships every group of the running kernel to the target named in\n"
	"DIR/blkshipd.conf, in the foreground, until SIGTERM.\n"
	"\n"
	"  --config-dir DIR  configuration and pki/ (default " DEFAULT_CONFIG_DIR ")\n"
	"  --socket PATH     where `blkship status` asks (default " DEFAULT_SOCKET ")\n"
	"  --help            this text\n";

/* -- configuration -- */

static bool is_number(const char *text, unsigned long *out)
{
	char *end;

	errno = 0;
	*out = strtoul(text, &end, 10);
	return *text && !*end && !errno;
}

static int config_set(void *arg, const char *section, const char *name, const char *value)
{
	struct config *c = arg;

	if (!strcmp(section, "target") && !strcmp(name, "address"))
		return snprintf(c->target, sizeof(c->target), "%s", value) <
		       (int)sizeof(c->target);
	if (!strcmp(section, "ship") && !strcmp(name, "compress"))
		return (!strcmp(value, "lz4") || !strcmp(value, "none")) &&
		       snprintf(c->codec, sizeof(c->codec), "%s", value) > 0;
	if (!strcmp(section, "ship") && !strcmp(name, "cut_mib"))
		return is_number(value, &c->cut_mib) && c->cut_mib >= 1 && c->cut_mib <= 32;
	if (!strcmp(section, "ship") && !strcmp(name, "cut_ms"))
		return is_number(value, &c->cut_ms) && c->cut_ms >= 10 && c->cut_ms <= 15000;
	return 0;		/* unknown: a slip of the pen is not to pass in silence */
}

static int config_read(struct config *c, const char *dir)
{
	char path[512];
	int line;

	*c = (struct config){ .codec = "lz4", .cut_mib = 32, .cut_ms = 1000 };
	snprintf(path, sizeof(path), "%s/blkshipd.conf", dir);
	line = ini_parse(path, config_set, c);
	if (line < 0) {
		log_error("configuration %s: cannot be read; nothing is shipped; enrol this machine first: blkship enroll --token-file - --target HOST:PORT",
			  path);
		return -ENOENT;
	}
	if (line > 0) {
		log_error("configuration %s, line %d: not understood; nothing is shipped; correct it (target: address; ship: compress = lz4|none, cut_mib = 1..32, cut_ms = 10..15000)",
			  path, line);
		return -EINVAL;
	}
	if (!c->target[0]) {
		log_error("configuration %s: [target] address is missing; nothing is shipped; enrol this machine, or add it",
			  path);
		return -EINVAL;
	}
	return 0;
}

static void machine_id(uint8_t out[16])
{
	char text[33] = "";
	FILE *f = fopen("/etc/machine-id", "re");

	memset(out, 0, 16);
	if (!f)
		return;
	if (fgets(text, sizeof(text), f))
		for (int i = 0; i < 16 && text[2 * i] && text[2 * i + 1]; i++)
			sscanf(text + 2 * i, "%2hhx", &out[i]);
	fclose(f);
}

/* -- groups -- */

static struct source *source_find(const struct daemon *d, const char *group)
{
	for (unsigned int i = 0; i < d->nr_sources; i++)
		if (!strcmp(source_group(d->sources[i]), group))
			return d->sources[i];
	return NULL;
}

static int group_found(void *arg, const struct knl_group *g)
{
	struct daemon *d = arg;

	if (source_find(d, g->name))
		return 0;
	if (d->nr_sources == MAX_GROUPS) {
		log_error("group %s: not served; this daemon serves %d groups at most", g->name,
			  MAX_GROUPS);
		return 0;
	}
	if (source_create(&d->params, g->name, &d->sources[d->nr_sources])) {
		log_error("group %s: not served: out of memory; looked at again in 10 s", g->name);
		return 0;
	}
	d->nr_sources++;
	log_info("group %s: served, to %s", g->name, d->config.target);
	return 0;
}

/* A group without volumes is let go, so that it can be removed. */
static void on_released(void *arg)
{
	struct loop_call *release = arg;
	struct daemon *d = (void *)((char *)release - offsetof(struct daemon, release));

	loop_defer(d->loop, release, release->fn);
}

static void release_now(struct loop_call *call)
{
	struct daemon *d = (void *)((char *)call - offsetof(struct daemon, release));
	char why[KNL_TEXT_BYTES];
	struct knl *nl;

	/* A daemon that ends stops them all, and counts on each to say so. */
	for (unsigned int i = 0; i < d->nr_sources && !d->stopping; i++) {
		struct source *src = d->sources[i];

		if (!source_is_stopped(src))
			continue;
		log_info("group %s: has no volumes any more and is not served", source_group(src));
		/* Whoever detached the last volume could not, with us bound to it. */
		if (!knl_open(&nl, why)) {
			knl_group_del(nl, source_group(src), why);
			knl_close(nl);
		}
		source_destroy(src);
		d->sources[i--] = d->sources[--d->nr_sources];
	}
}

static int volume_seen(void *arg, const struct knl_volume *v)
{
	return 1;
}

static void group_release(struct daemon *d, struct source *src)
{
	char why[KNL_TEXT_BYTES];
	struct knl *nl;
	int ret;

	if (knl_open(&nl, why))
		return;
	ret = knl_volumes(nl, source_group(src), volume_seen, NULL, why);
	knl_close(nl);
	if (ret || d->stopping)
		return;			/* it has some, or we do not know */
	d->release.fn = release_now;
	source_stop(src, on_released, &d->release);
}

static void groups_scan(struct daemon *d)
{
	char why[KNL_TEXT_BYTES] = "";
	struct knl *nl;

	if (knl_open(&nl, why))
		return;			/* said when we started; looked at again */
	if (knl_groups(nl, group_found, d, why))
		log_error("groups of the kernel: %s; looked at again in 10 s", why);
	knl_close(nl);
}

/* What somebody has to know: what happened, what it means, what to do. */
static const struct alarm {
	enum blkship_event event;
	const char *text;
} alarms[] = {
	{ BLKSHIP_EVENT_VOLUME_LOST,
	  "its front end went away without `blkship detach`; it is diverged and will be read back as a whole when it returns; attach it again" },
	{ BLKSHIP_EVENT_TIMEOUT,
	  "an I/O does not end; its range is tracked, points go on after it is read back; check the disk" },
	{ BLKSHIP_EVENT_UNSEEN,
	  "a write reached the disk past the tap; its range is tracked and read back, points go on after that; if this goes on, find what writes there and report it; `blkship info` has the count" },
	{ BLKSHIP_EVENT_DIVERGED,
	  "a raw command that may change its data was sent to the disk; it is diverged, there are no new points, earlier ones stay good; when the commands have ended, attach it again, then all of it is read back" },
	{ BLKSHIP_EVENT_META_OFF,
	  "its metadata device failed; writes and points go on, but after a crash all of it will be read back; check that device, then attach the volume again" },
};

static void on_event(void *arg, enum blkship_event event, const char *group, const char *volume)
{
	struct daemon *d = arg;
	struct source *src = source_find(d, group);

	for (size_t i = 0; i < sizeof(alarms) / sizeof(alarms[0]); i++)
		if (alarms[i].event == event)
			log_error("group %s: volume %s: %s", group, volume ? volume : "?",
				  alarms[i].text);
	if (event == BLKSHIP_EVENT_OVERFLOW)
		log_warning("group %s: the ring is full; the application is not affected, its writes are tracked and read back later",
			    group);
	if (event == BLKSHIP_EVENT_GROUP_NEW)
		groups_scan(d);
	if (src && (event == BLKSHIP_EVENT_VOLUME_ADD || event == BLKSHIP_EVENT_VOLUME_DEL ||
		    event == BLKSHIP_EVENT_RESIZE))
		source_refresh(src);
	if (src && event == BLKSHIP_EVENT_VOLUME_DEL)
		group_release(d, src);
}

static void look_at_all(struct daemon *d)
{
	groups_scan(d);
	for (unsigned int i = 0; i < d->nr_sources; i++)
		source_check(d->sources[i]);
}

static void on_events(struct loop_poll *p, uint32_t events)
{
	struct daemon *d = (void *)((char *)p - offsetof(struct daemon, events_poll));

	if (knl_events_read(d->events) == 0)
		return;
	log_warning("events of the module were lost, too many came at once; groups and volumes are looked at anew; alarms among them are in the kernel's log and in `blkship info`");
	look_at_all(d);
}

/* A group may have been made before we listened, and the module may come later than we do. */
static void on_rescan(struct loop_timer *t)
{
	struct daemon *d = (void *)((char *)t - offsetof(struct daemon, rescan));
	char why[KNL_TEXT_BYTES];

	if (!d->events && !knl_events_open(&d->events, on_event, d, why))
		loop_poll_start(d->loop, &d->events_poll, knl_events_fd(d->events), POLLIN,
				on_events);
	look_at_all(d);
}

/* -- life -- */

static json_t *volume_status(const struct knl_volume *v)
{
	const char *state = v->flags & BLKSHIP_VOLUME_DIVERGED ? "diverged" :
			    v->flags & BLKSHIP_VOLUME_DETACHED ? "detached" : "capturing";
	struct sysblock dev;

	if (sysblock_find("/sys", v->dev_major, v->dev_minor, v->dev_start_bytes, v->size_bytes,
			  &dev))
		snprintf(dev.name, sizeof(dev.name), "%u:%u", v->dev_major, v->dev_minor);
	return json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:I}", "volume", v->name, "device", dev.name,
			 "front", v->front, "state", state,
			 "size_bytes", (json_int_t)v->size_bytes,
			 "dirty_bytes", (json_int_t)((v->dirty_regions + v->repairing_regions) *
						     BLKSHIP_REGION_BYTES),
			 "unseen", (json_int_t)v->unseen);
}

static json_t *make_status(void *arg)
{
	struct daemon *d = arg;
	json_t *groups = json_array();
	struct knl_volume *volumes = NULL;
	char why[KNL_TEXT_BYTES];
	size_t nr = 0;
	struct knl *nl;

	if (!knl_open(&nl, why)) {
		if (knl_volume_list(nl, NULL, &volumes, &nr, why))
			nr = 0;
		knl_close(nl);
	}
	for (unsigned int i = 0; i < d->nr_sources; i++) {
		json_t *group = source_status(d->sources[i]), *members = json_array();

		for (size_t j = 0; j < nr; j++)
			if (!strcmp(volumes[j].group, source_group(d->sources[i])))
				json_array_append_new(members, volume_status(&volumes[j]));
		json_object_set_new(group, "volumes", members);
		json_array_append_new(groups, group);
	}
	free(volumes);
	return json_pack("{s:i,s:s,s:s,s:o}", "schema", 1, "role", "source", "target",
			 d->config.target, "groups", groups);
}

static void on_stopped(void *arg)
{
	struct daemon *d = arg;

	if (--d->nr_stopping == 0)
		loop_stop(d->loop);
}

static void on_signal(struct loop_signals *s, int signo)
{
	struct daemon *d = (void *)((char *)s - offsetof(struct daemon, signals));

	if (d->stopping)
		return;
	d->stopping = true;
	log_info("%s: stopping; capture goes on in the kernel and is drained by the next daemon",
		 strsignal(signo));
	loop_timer_stop(&d->rescan);
	d->nr_stopping = d->nr_sources;
	if (!d->nr_sources)
		loop_stop(d->loop);
	for (unsigned int i = 0; i < d->nr_sources; i++)
		source_stop(d->sources[i], on_stopped, d);
}


static int daemon_start(struct daemon *d, const char *config_dir, const char *socket_path)
{
	static const int signos[] = { SIGTERM, SIGINT };
	char ca[512], cert[512], key[512], why[TLS_TEXT_BYTES] = "";
	struct knl *nl;
	int ret = config_read(&d->config, config_dir);

	if (ret)
		return ret;
	snprintf(ca, sizeof(ca), "%s/pki/ca.pem", config_dir);
	snprintf(cert, sizeof(cert), "%s/pki/cert.pem", config_dir);
	snprintf(key, sizeof(key), "%s/pki/key.pem", config_dir);
	d->params.target = d->config.target;
	d->params.codec = strcmp(d->config.codec, "lz4") ? UNIT_STORED : UNIT_LZ4;
	d->params.cut_bytes = d->config.cut_mib << 20;
	d->params.cut_interval_ns = d->config.cut_ms * UINT64_C(1000000);
	d->params.opener = &capture_dev_opener;
	machine_id(d->params.machine);
	ret = tls_ctx_client(ca, cert, key, &d->params.tls, why);
	if (ret) {
		log_error("certificates in %s/pki: %s; nothing is shipped; enrol this machine: blkship enroll",
			  config_dir, why);
		return ret;
	}
	ret = loop_create(256, &d->loop);
	if (!ret)
		ret = env_posix_create(d->loop, &d->env);
	if (ret) {
		log_error("io_uring: %s; nothing is shipped; allow it for this service",
			  strerror(-ret));
		return ret;
	}
	d->params.loop = d->loop;
	d->params.env = d->env;
	ret = loop_signals_start(d->loop, &d->signals, signos, 2, on_signal);
	if (!ret) {
		ret = status_socket_start(d->loop, &d->status, socket_path, make_status, d);
		if (ret)
			log_error("status socket %s: %s; the daemon ends; is another one running?",
				  socket_path, strerror(-ret));
	}
	if (ret)
		return ret;
	if (knl_open(&nl, why))
		log_error("%s; waiting for it", why);
	else
		knl_close(nl);
	loop_timer_start(d->loop, &d->rescan, 1, RESCAN_NS, on_rescan);
	return 0;
}

static void daemon_fini(struct daemon *d)
{
	status_socket_stop(&d->status);
	if (d->events) {
		loop_poll_stop(&d->events_poll);
		knl_close(d->events);
	}
	for (unsigned int i = 0; i < d->nr_sources; i++)
		source_destroy(d->sources[i]);
	if (d->params.tls)
		tls_ctx_destroy(d->params.tls);
	if (d->loop)
		loop_destroy(d->loop);
	if (d->env)
		env_posix_destroy(d->env);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config-dir", required_argument, NULL, 'c' },
		{ "socket", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *config_dir = DEFAULT_CONFIG_DIR, *socket_path = DEFAULT_SOCKET;
	static struct daemon d;
	int c, ret;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1)
		switch (c) {
		case 'c':
			config_dir = optarg;
			break;
		case 's':
			socket_path = optarg;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			fputs(usage_text, stderr);
			return 2;
		}
	if (optind != argc) {
		fputs(usage_text, stderr);
		return 2;
	}
	if (!strcmp(socket_path, DEFAULT_SOCKET))
		mkdir("/run/blkship", 0755);
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		log_warning("memory cannot be locked: %s; the daemon may be paged out; give it CAP_IPC_LOCK",
			    strerror(errno));
	ret = daemon_start(&d, config_dir, socket_path);
	if (!ret)
		ret = loop_run(d.loop);
	daemon_fini(&d);
	return ret ? 1 : 0;
}
