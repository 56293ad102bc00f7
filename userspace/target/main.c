// SPDX-License-Identifier: GPL-2.0-only
/* blkship-targetd: takes what sources ship and keeps it. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <ini.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../lib/container_of.h"
#include "../lib/control_socket.h"
#include "../lib/key_source.h"
#include "../lib/log.h"
#include "../lib/loop.h"
#include "../lib/pki.h"
#include "../lib/home.h"
#include "../lib/status_socket.h"
#include "limits_conf.h"
#include "retention_conf.h"
#include "server.h"

#define LISTEN_DEFAULT	"0.0.0.0:7443"
#define LOOP_ENTRIES	256
#define NAP_MS		20
#define PATIENCE_MS	3000
#define STOP_NS		30000000000ull	/* a disk that hangs must not keep us for ever */

static const char usage_text[] =
"usage: blkship-targetd --store DIR [--listen ADDR:PORT] [--port-file FILE] [--takeover]\n"
"\n"
"Takes what enrolled sources ship and keeps it under DIR, which\n"
"`blkship target init --store DIR` has made.\n"
"\n"
"  --store DIR         where everything is kept\n"
"  --listen ADDR:PORT  default: listen in DIR/targetd.conf, or " LISTEN_DEFAULT "\n"
"  --port-file FILE    write the port here when it is open (with port 0: the one found)\n"
"  --takeover          of groups on a Ceph cluster (groups = rados:... in DIR/targetd.conf):\n"
"                      fence out whoever has them, then begin\n";

struct options {
	char *store;		/* absolute */
	char listen[128];
	const char *port_file;
	char *key_file, *key_command;	/* of targetd.conf */
	struct keyring *keys;		/* NULL: what is kept is not encrypted */
	bool takeover;
	struct retention_conf retention;
	struct limits_conf limits;
	char why[RETENTION_TEXT_BYTES];	/* what is wrong with the configuration */
};

struct daemon {
	const struct options *options;
	struct loop *loop;
	struct server *server;
	struct loop_timer stop_timer;
	bool hung;
};

static int conf_line(void *arg, const char *section, const char *name, const char *value)
{
	struct options *o = arg;
	int ret;

	if (strcmp(section, "target") == 0 && strcmp(name, "listen") == 0) {
		if (!o->listen[0])
			snprintf(o->listen, sizeof(o->listen), "%s", value);
		return 1;
	}
	if (strcmp(section, "target") == 0 && strcmp(name, "key_file") == 0 && !o->key_file)
		return (o->key_file = strdup(value)) != NULL;
	if (strcmp(section, "target") == 0 && strcmp(name, "key_command") == 0 && !o->key_command)
		return (o->key_command = strdup(value)) != NULL;
	if (strcmp(section, "target") == 0 && strcmp(name, "groups") == 0)
		return home_valid(value);
	ret = retention_conf_line(&o->retention, section, name, value, o->why);
	if (ret == -ENOENT)
		ret = limits_conf_line(&o->limits, section, name, value, o->why);
	if (ret == -ENOENT)
		snprintf(o->why, sizeof(o->why), "not understood");
	else if (ret == -ENOMEM)
		snprintf(o->why, sizeof(o->why), "out of memory");
	return ret == 0;	/* else an error, with its line */
}

static int conf_read(struct options *o)
{
	char path[PATH_MAX + 32];
	int line;

	snprintf(path, sizeof(path), "%s/targetd.conf", o->store);
	retention_conf_init(&o->retention);
	limits_conf_init(&o->limits);
	line = access(path, F_OK) < 0 ? 0 : ini_parse(path, conf_line, o);
	if (line) {
		log_error("%s:%d: %s; nothing was started; what may be there, each once: [target] with listen = ADDRESS:PORT, groups = rados:POOL/NAMESPACE, key_file = FILE or key_command = PROGRAM ..., reclaim_mib_per_s = 64, max_bytes = SIZE, retention = " RETENTION_DEFAULT ", immutable = " RETENTION_CONF_IMMUTABLE " and packing = " RETENTION_CONF_PACKING ", and [group NAME] with the last four",
			  path, line, *o->why ? o->why : "not understood");
		return -EINVAL;
	}
	if (!o->listen[0])
		strcpy(o->listen, LISTEN_DEFAULT);
	return 0;
}

static int keys_load(struct options *o)
{
	const struct key_source source = { o->key_file, o->key_command };
	char id[KEY_ID_TEXT_BYTES], why[KEY_SOURCE_TEXT_BYTES];
	int ret = key_source_load(&source, &o->keys, why);

	if (ret < 0) {
		log_error("store %s: %s; nothing was started; see key_file and key_command in its targetd.conf",
			  o->store, why);
		return ret;
	}
	if (o->keys) {
		keyring_id_text(keyring_newest_id(o->keys), id);
		log_info("store %s: what comes in is encrypted with key %s", o->store, id);
	}
	return 0;
}

static int options_parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "store", required_argument, NULL, 's' },
		{ "listen", required_argument, NULL, 'l' },
		{ "port-file", required_argument, NULL, 'p' },
		{ "takeover", no_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *store = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 's') {
			store = optarg;
		} else if (c == 'l') {
			snprintf(o->listen, sizeof(o->listen), "%s", optarg);
		} else if (c == 'p') {
			o->port_file = optarg;
		} else if (c == 't') {
			o->takeover = true;
		} else if (c == 'h') {
			fputs(usage_text, stdout);
			exit(0);
		} else {
			return -EINVAL;
		}
	}
	if (!store || optind < argc)
		return -EINVAL;
	o->store = realpath(store, NULL);
	if (!o->store) {
		log_error("store %s: %s; nothing was started; `blkship target init --store %s` makes one",
			  store, strerror(errno), store);
		exit(1);
	}
	return 0;
}

/* Again and again, for PATIENCE_MS: a daemon that was killed may not be gone wholly. */
static int lock_patiently(int fd)
{
	const struct timespec nap = { .tv_nsec = NAP_MS * 1000000 };

	for (int waited_ms = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; waited_ms += NAP_MS) {
		if (errno != EWOULDBLOCK || waited_ms >= PATIENCE_MS)
			return -errno;
		nanosleep(&nap, NULL);
	}
	return 0;
}

/* One daemon a store. The descriptor is kept to the end. */
static int store_lock(const char *store)
{
	char path[PATH_MAX + 32];
	int fd;

	snprintf(path, sizeof(path), "%s/run/lock", store);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		log_error("%s: %s; nothing was started; is %s a store? `blkship target init` makes one",
			  path, strerror(errno), store);
		return -errno;
	}
	if (lock_patiently(fd) < 0) {
		log_error("store %s: another blkship-targetd serves it; nothing was started; stop that one first",
			  store);
		close(fd);
		return -EBUSY;
	}
	return fd;
}

static void on_stopped(void *arg)
{
	loop_stop(((struct daemon *)arg)->loop);
}

static void on_retention(void *arg, const char *group, struct groups_retention *out)
{
	retention_conf_get(&((struct daemon *)arg)->options->retention, group, out);
}

static void on_stop_timeout(struct loop_timer *t)
{
	struct daemon *d = container_of(t, struct daemon, stop_timer);

	d->hung = true;
	loop_stop(d->loop);
}

struct daemon_signals {
	struct loop_signals signals;
	struct daemon *daemon;
};

static void on_signal(struct loop_signals *s, int signo)
{
	struct daemon *d = container_of(s, struct daemon_signals, signals)->daemon;

	log_info("signal %s: closing the sessions and finishing what was committed",
		 sigabbrev_np(signo));
	loop_timer_start(d->loop, &d->stop_timer, STOP_NS, 0, on_stop_timeout);
	server_stop(d->server);
}

static json_t *make_status(void *arg)
{
	return server_status(((struct daemon *)arg)->server);
}

static json_t *answer_control(void *arg, const json_t *request)
{
	return server_control(((struct daemon *)arg)->server, request);
}

/* Both for this machine only; the daemon does its work without them. */
static void sockets_start(struct daemon *d, const struct options *o, struct status_socket *status,
			  struct control_socket *control)
{
	char path[PATH_MAX + 32];
	int ret;

	snprintf(path, sizeof(path), "%s/run/status.sock", o->store);
	ret = status_socket_start(d->loop, status, path, make_status, d);
	if (ret < 0)
		log_warning("status socket %s: %s; the daemon works, but cannot be asked", path,
			    strerror(-ret));
	snprintf(path, sizeof(path), "%s/run/control.sock", o->store);
	ret = control_socket_start(d->loop, control, path, answer_control, d);
	if (ret < 0)
		log_warning("control socket %s: %s; the daemon works, but takes no holds", path,
			    strerror(-ret));
}

static int write_port(const char *path, uint16_t port)
{
	char text[16], why[PKI_TEXT_BYTES];
	int ret;

	if (!path)
		return 0;
	snprintf(text, sizeof(text), "%u\n", port);
	ret = pki_write_file(path, text, strlen(text), why);
	if (ret < 0)
		log_error("port file: %s; nothing was started", why);
	return ret;
}

/* From the open port to the end of the last session. */
static int daemon_run(struct daemon *d, const struct options *o, uint16_t port)
{
	static const int signos[] = { SIGTERM, SIGINT };
	struct daemon_signals signals = { .daemon = d };
	struct status_socket status = { 0 };
	struct control_socket control = { 0 };
	int ret = loop_signals_start(d->loop, &signals.signals, signos, 2, on_signal);

	if (ret < 0) {
		log_error("signals: %s; nothing was started", strerror(-ret));
		return ret;
	}
	sockets_start(d, o, &status, &control);
	ret = write_port(o->port_file, port);
	if (ret == 0) {
		log_info("blkship-targetd: store %s, listening on %s (port %u)", o->store, o->listen,
			 port);
		ret = loop_run(d->loop);
		if (ret < 0) {
			log_error("event loop: %s; ended; what was acknowledged is safe; start it again",
				  strerror(-ret));
			_exit(1);	/* operations may be in flight: nothing can be freed */
		}
	}
	control_socket_stop(&control);
	status_socket_stop(&status);
	loop_signals_stop(&signals.signals);
	return ret;
}

/* Where the groups are; with --takeover nobody else writes there when this returns. */
static int daemon_home(const struct options *o, struct loop *loop, struct home **out)
{
	char why[HOME_TEXT_BYTES];
	int ret = home_open(o->store, loop, out, why);

	if (ret < 0) {
		log_error("%s; nothing was started", why);
		return ret;
	}
	if (!o->takeover)
		return 0;
	ret = home_takeover(*out);
	if (ret >= 0) {
		log_info("%s: taken over; %d locks there were somebody else's", home_groups(*out), ret);
		return 0;
	}
	log_error("%s: taking over: %s; nothing was started%s", home_groups(*out), strerror(-ret),
		  ret == -EOPNOTSUPP ? "; --takeover is for groups on a Ceph cluster" : "");
	home_detach(*out);
	home_close(*out);
	return ret;
}

static int daemon_start(const struct options *o, int lock)
{
	struct daemon d = { .options = o };
	struct server_params params = { .store = o->store, .listen = o->listen,
					.keys = o->keys, .limits = &o->limits,
					.retention = on_retention, .stopped = on_stopped,
					.arg = &d };
	char why[SERVER_TEXT_BYTES];
	uint16_t port;
	int ret;

	ret = loop_create(LOOP_ENTRIES, &d.loop);
	if (ret < 0) {
		log_error("io_uring: %s; nothing was started; see /proc/sys/kernel/io_uring_disabled",
			  strerror(-ret));
		return ret;
	}
	/* The next daemon must not write before our last write has ended. */
	ret = loop_keep_open(d.loop, lock);
	if (ret < 0)
		log_warning("store %s: lock: %s; going on; after a kill -9 wait a second before the next start",
			    o->store, strerror(-ret));
	ret = daemon_home(o, d.loop, &params.home);
	if (ret < 0)
		goto out_loop;
	params.loop = d.loop;
	ret = server_create(&params, &d.server, &port, why);
	if (ret < 0) {
		log_error("%s; nothing was started", why);
		goto out_home;
	}
	ret = daemon_run(&d, o, port);
	if (d.hung) {
		/* Its buffers are the kernel's, or librados's, until the disk answers. */
		log_error("store %s: the disk does not answer; ended without it; what was acknowledged is safe",
			  o->store);
		_exit(1);
	}
	loop_timer_stop(&d.stop_timer);
	server_destroy(d.server);
out_home:
	home_detach(params.home);
	loop_destroy(d.loop);
	d.loop = NULL;
	home_close(params.home);
out_loop:
	loop_destroy(d.loop);
	return ret;
}

int main(int argc, char **argv)
{
	struct options o = { .port_file = NULL };
	struct rlimit files;
	int lock = -1, ret;

	if (options_parse(argc, argv, &o) < 0) {
		fputs(usage_text, stderr);
		return 2;
	}
	umask(077);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	ret = conf_read(&o);
	if (ret == 0)
		ret = lock = store_lock(o.store);
	if (ret >= 0)
		ret = keys_load(&o);
	if (ret >= 0)
		ret = daemon_start(&o, lock);
	if (lock >= 0)
		close(lock);
	keyring_free(o.keys);
	free(o.key_file);
	free(o.key_command);
	retention_conf_fini(&o.retention);
	limits_conf_fini(&o.limits);
	free(o.store);
	return ret < 0 ? 1 : 0;
}
