// SPDX-License-Identifier: GPL-2.0-only
#include "mapping.h"

#include "../../userspace/lib/home.h"
#include "../../userspace/store/branches.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../userspace/lib/env_host.h"
#include "../../userspace/lib/name.h"
#include "../../userspace/lib/seq.h"
#include "cli.h"
#include "unmount.h"

#define MAX_MAPPINGS	9999
#define STOP_MS		10000
#define STOP_WRITER_MS	90000	/* it flushes, for which a Ceph cluster may take 60 s */
#define FUSE_SUFFIX	".fuse"
#define UDEV_SOCKET	"/run/udev/control"	/* there while it runs */

/* As the kernel shows it: what lies on files in it is found by their paths. */
static int map_dir(const char *run_dir, char *path)
{
	char real[PATH_MAX];

	if (!realpath(run_dir, real))
		return -errno;
	if (strlen(real) > MAPPING_PATH_BYTES / 2)
		return -ENAMETOOLONG;
	snprintf(path, MAPPING_PATH_BYTES, "%.300s/map", real);
	return 0;
}

/* GROUP-N; anything else is none of ours. */
static bool mapping_name_valid(const char *name)
{
	const char *dash = strrchr(name, '-');
	char group[NAME_BYTES + 1];

	if (!dash || (size_t)(dash - name) >= sizeof(group) || !dash[1] || dash[1] == '0' ||
	    strspn(dash + 1, "0123456789") != strlen(dash + 1) || strlen(dash + 1) > 4)
		return false;
	memcpy(group, name, dash - name);
	group[dash - name] = 0;
	return name_valid(group);
}

static int lock_dir(struct mapping *m)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/lock", m->dir);
	m->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (m->lock < 0)
		return -errno;
	if (flock(m->lock, LOCK_EX | LOCK_NB) == 0)
		return 0;
	close(m->lock);
	m->lock = -1;
	return -EBUSY;
}

/* -- making -- */

static int make_dir(const char *run_dir, const char *group, struct mapping *m, char *why)
{
	char path[MAPPING_PATH_BYTES], *slash;
	int ret = mkdir(run_dir, 0755) < 0 && errno != EEXIST ? -errno : map_dir(run_dir, path);

	if (ret == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
		ret = -errno;
	for (int i = 1; ret == 0 && i <= MAX_MAPPINGS; i++) {
		snprintf(m->name, sizeof(m->name), "%.31s-%d", group, i);
		slash = strchr(m->name, '/');	/* GROUP/BRANCH */
		if (slash)
			*slash = '.';
		snprintf(m->dir, sizeof(m->dir), "%.440s/%s", path, m->name);
		if (mkdir(m->dir, 0700) == 0)
			return lock_dir(m);
		if (errno != EEXIST)
			ret = -errno;
	}
	if (ret == 0)
		ret = -ENOSPC;
	snprintf(why, MAPPING_TEXT_BYTES, "%.400s: %s", run_dir, ret == -ENOSPC ?
		 "too many mappings; `blkship unmap` those that are not needed" : strerror(-ret));
	return ret;
}

int mapping_save(const struct mapping *m)
{
	char path[PATH_MAX], part[PATH_MAX];

	snprintf(path, sizeof(path), "%s/state.json", m->dir);
	snprintf(part, sizeof(part), "%s/state.json.new", m->dir);
	if (!m->state || json_dump_file(m->state, part, JSON_INDENT(2)) < 0)
		return -EIO;
	return rename(part, path) < 0 ? -errno : 0;
}

/* In a build directory the plugin lies beside us; installed, nbdkit knows where. */
static void plugin_path(char *path)
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 40);
	char *slash;

	path[n > 0 ? n : 0] = 0;
	slash = strrchr(path, '/');
	if (slash)
		strcpy(slash + 1, "nbdkit-blkship-plugin.so");
	if (!slash || access(path, R_OK) < 0)
		strcpy(path, "blkship");
}

static const char *state_text(const struct mapping *m, const char *key)
{
	const char *text = json_string_value(json_object_get(m->state, key));

	return text ? text : "";
}

static void set_own(struct mapping *m)
{
	const char *id = state_text(m, "id");

	m->own[0] = 0;
	if (*id)
		snprintf(m->own, sizeof(m->own), "%.460s/%.16s", m->dir, id);
}

static bool is_writable(const struct mapping *m)
{
	return json_is_true(json_object_get(m->state, "writable"));
}

static bool is_branch(const struct mapping *m)
{
	return json_is_string(json_object_get(m->state, "branch"));
}

/* When it has been taken down. Then there is one server, and of all volumes. */
static bool keeps_writes(const struct mapping *m)
{
	return is_branch(m) && !json_is_true(json_object_get(m->state, "drop_branch"));
}

static void server_socket(const struct mapping *m, const char *volume, char *path)
{
	if (volume)
		snprintf(path, PATH_MAX, "%s/%.31s.sock", m->dir, volume);
	else
		snprintf(path, PATH_MAX, "%s", m->socket);
}

/* What gives the plugin its keys, in @text; NULL: nothing does. */
static char *key_argument(const struct key_source *keys, char *text, size_t bytes)
{
	if (!keys->file && !keys->command)
		return NULL;
	snprintf(text, bytes, "%s=%s", keys->file ? "key-file" : "key-command",
		 keys->file ? keys->file : keys->command);
	return text;
}

/*
 * @volume: NULL for all, read-only or of a branch. @ranges: what it is of, or NULL.
 * A server of its own for each that can be written over an overlay: nbdkit's cow filter has
 * one, which all exports would share.
 */
static int start_server(const struct mapping *m, const char *volume, char *const *ranges,
			char *why)
{
	char pid[PATH_MAX], plugin[PATH_MAX], store[PATH_MAX + 8], group[80], point[64], socket[PATH_MAX];
	char name[NAME_BYTES + 16], only[NAME_BYTES + 16], key[PATH_MAX + 16];
	const struct key_source keys = {
		json_string_value(json_object_get(m->state, "key_file")),
		json_string_value(json_object_get(m->state, "key_command")),
	};
	char *argv[20 + MAPPING_MAX_PARAMETERS] = { "nbdkit", "-f", "-P", pid, "-U", socket };
	char branch[NAME_BYTES + 8];
	size_t nr = 6;

	snprintf(name, sizeof(name), "%.31s%snbdkit", volume ? volume : "", volume ? "." : "");
	snprintf(pid, sizeof(pid), "%s/%s.pid", m->dir, name);
	server_socket(m, volume, socket);
	plugin_path(plugin);
	snprintf(store, sizeof(store), "store=%s", state_text(m, "store"));
	snprintf(group, sizeof(group), "group=%s", state_text(m, "group"));
	/* By its cut: "latest" may be another one by now. */
	snprintf(point, sizeof(point), "point=seq:%s", state_text(m, "seq"));
	if (volume) {
		snprintf(only, sizeof(only), "volume=%.31s", volume);
		argv[nr++] = "--filter=cow";
	}
	argv[nr++] = plugin;
	argv[nr++] = store;
	argv[nr++] = group;
	argv[nr++] = point;
	if (volume)
		argv[nr++] = only;
	while (ranges && *ranges)
		argv[nr++] = *ranges++;
	if (is_branch(m)) {
		snprintf(branch, sizeof(branch), "branch=%.31s", state_text(m, "branch"));
		argv[nr++] = branch;
		argv[nr++] = "create=true";
	}
	if (json_is_true(json_object_get(m->state, "force")))
		argv[nr++] = "force=true";
	argv[nr] = key_argument(&keys, key, sizeof(key));
	return helper_start(m->dir, name, argv, volume || is_branch(m), why);
}

bool mapping_via_parse(const char *text, enum mapping_via *via)
{
	static const char *const names[] = {
		[MAPPING_VIA_AUTO] = "auto", [MAPPING_VIA_NBD] = "nbd", [MAPPING_VIA_FUSE] = "fuse",
	};

	for (size_t i = MAPPING_VIA_AUTO; i < ARRAY_SIZE(names); i++)
		if (strcmp(text, names[i]) == 0) {
			*via = i;
			return true;
		}
	return false;
}

/*
 * Rules that come with udev activate volume groups, assemble arrays and point links by
 * UUID to what they find on a new disk and in its partitions, of loop devices too. But a
 * mount by them shows udev what it mounts, not the whole disk, writable.
 */
static int nbd_harmless(char *why)
{
	if (access(UDEV_SOCKET, F_OK) < 0)
		return 0;
	snprintf(why, NBDDEV_TEXT_BYTES, "udev runs here, and would activate what is in a copy; --via nbd all the same");
	return -EPERM;
}

/* Into the state; what is taken without having been asked for is said with the reason. */
static int choose_via(struct mapping *m, enum mapping_via via, char *text)
{
	char why[NBDDEV_TEXT_BYTES];
	bool wanted = via == MAPPING_VIA_AUTO || via == MAPPING_VIA_NBD;
	int ret = via == MAPPING_VIA_AUTO ? nbd_harmless(why) : 0;

	if (ret == 0 && wanted)
		ret = nbddev_usable(why);

	if (ret < 0 && via == MAPPING_VIA_NBD) {
		snprintf(text, MAPPING_TEXT_BYTES, "%s; without --via nbd it is done through nbdfuse and loop", why);
		return ret;
	}
	json_object_set_new(m->state, "via", via == MAPPING_VIA_NOTHING ? json_null() :
			    json_string(wanted && ret == 0 ? "nbd" : "fuse"));
	json_object_set_new(m->state, "no_nbd", ret < 0 ? json_string(why) : json_null());
	return 0;
}

/* For who takes it down from another directory. A location on a cluster is no path. */
static const char *store_name(const char *store, char *real)
{
	return !home_valid(store) && realpath(store, real) ? real : store;
}

int mapping_create(const struct mapping_request *request, struct mapping *m, char *why)
{
	const struct point_named *named = request->named;
	char text[MAPPING_TEXT_BYTES], late[MAPPING_TEXT_BYTES], store[PATH_MAX], id[20];
	uint64_t random;
	int ret;

	memset(m, 0, sizeof(*m));
	m->lock = -1;
	ret = make_dir(request->run_dir, named->name.group, m, why);
	if (ret < 0)
		return ret;
	snprintf(m->socket, sizeof(m->socket), "%.500s%s", request->socket ? request->socket : m->dir,
		 request->socket ? "" : "/nbd.sock");
	env_host_random(NULL, &random, sizeof(random));
	snprintf(id, sizeof(id), "%016llx", (unsigned long long)random);
	m->state = json_pack("{s:i, s:s, s:s, s:s, s:o, s:o, s:s, s:s?, s:s?, s:s, s:s?, s:b, s:s?, s:b, s:b, s:[]}", "schema", 1,
			     "name", m->name, "id", id, "group", named->name.group,
			     "seq", cli_json_seq(named->point->seq),
			     "time", cli_json_time(named->point->time_ns), "store",
			     store_name(request->store, store),
			     "key_file", request->keys.file, "key_command", request->keys.command,
			     "socket", m->socket, "mounted_at", request->mount_dir,
			     "writable", request->writable, "branch", request->branch,
			     "drop_branch", request->drop_branch, "force", request->force,
			     "volumes");
	set_own(m);
	ret = choose_via(m, request->via, text);
	if (ret == 0) {
		ret = mapping_save(m);
		if (ret == 0 && mkdir(m->own, 0700) < 0)
			ret = -errno;
		if (ret < 0)
			snprintf(text, sizeof(text), "%s: %s", m->dir, strerror(-ret));
	}
	if (ret == 0 && strlen(m->socket) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		ret = -ENAMETOOLONG;
		snprintf(text, sizeof(text), "socket %.200s: a path this long is none a socket can have", m->socket);
	} else if (ret == 0 && !request->writable) {
		ret = start_server(m, NULL, NULL, text);
	}
	if (ret == 0)
		return 0;
	snprintf(why, MAPPING_TEXT_BYTES, "%s", text);
	if (mapping_destroy(m, late) < 0)
		fprintf(stderr, "blkship: %s; `blkship unmap %s` tries again\n", late, m->name);
	return ret;
}

/* -- finding -- */

int mapping_open(const char *run_dir, const char *name, struct mapping *m)
{
	char path[MAPPING_PATH_BYTES], file[PATH_MAX];
	const char *socket;
	int ret;

	memset(m, 0, sizeof(*m));
	m->lock = -1;
	if (!mapping_name_valid(name))
		return -ENOENT;
	ret = map_dir(run_dir, path);
	if (ret < 0)
		return ret;
	snprintf(m->name, sizeof(m->name), "%s", name);
	snprintf(m->dir, sizeof(m->dir), "%.440s/%s", path, name);
	ret = lock_dir(m);
	if (ret < 0)
		return ret;
	/* Without a state it was being made when its maker ended. */
	snprintf(file, sizeof(file), "%s/state.json", m->dir);
	m->state = json_load_file(file, 0, NULL);
	set_own(m);
	socket = json_string_value(json_object_get(m->state, "socket"));
	if (socket)
		snprintf(m->socket, sizeof(m->socket), "%.511s", socket);
	return 0;
}

void mapping_close(struct mapping *m)
{
	if (m->state)
		json_decref(m->state);
	if (m->lock >= 0)
		close(m->lock);
	m->state = NULL;
	m->lock = -1;
}

static int name_compare(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

int mapping_names(const char *run_dir, char ***names, size_t *nr)
{
	char path[MAPPING_PATH_BYTES];
	struct dirent *entry;
	int ret = map_dir(run_dir, path);
	DIR *dir = ret == 0 ? opendir(path) : NULL;

	*names = NULL;
	*nr = 0;
	if (ret == 0 && !dir)
		ret = -errno;
	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	while (ret == 0 && (entry = readdir(dir))) {
		char **more;

		if (!mapping_name_valid(entry->d_name))
			continue;
		more = reallocarray(*names, *nr + 1, sizeof(**names));
		if (more) {
			*names = more;
			more[*nr] = strdup(entry->d_name);
		}
		if (more && more[*nr])
			(*nr)++;
		else
			ret = -ENOMEM;
	}
	closedir(dir);
	if (*nr)
		qsort(*names, *nr, sizeof(**names), name_compare);
	return ret;
}

/* -- using -- */

void mapping_uri(const struct mapping *m, const char *volume, char *uri)
{
	char *at = uri + snprintf(uri, MAPPING_URI_BYTES, "nbd+unix:///%.31s?socket=", volume);
	char socket[PATH_MAX];

	server_socket(m, is_writable(m) ? volume : NULL, socket);
	/* A volume's name needs no escapes, a path may. Longer ones are no sockets. */
	for (const char *p = socket; *p && at < uri + MAPPING_URI_BYTES - 4; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			     (*p >= '0' && *p <= '9') || strchr("/-._~", *p);

		at += sprintf(at, plain ? "%c" : "%%%02X", (unsigned char)*p);
	}
}

bool mapping_is_nbd(const struct mapping *m)
{
	return strcmp(state_text(m, "via"), "nbd") == 0;
}

static int nbd_file(const struct mapping *m, const char *volume, char *path, char *why)
{
	char socket[PATH_MAX], name[PATH_MAX];

	server_socket(m, is_writable(m) ? volume : NULL, socket);
	snprintf(name, sizeof(name), "%s/%.31s", m->own, volume);
	return nbddev_attach(socket, volume, name, path, why);
}

static int fuse_file(const struct mapping *m, const char *volume, char *path, char *why)
{
	char name[NAME_BYTES + 8], pid[PATH_MAX], dir[PATH_MAX], uri[MAPPING_URI_BYTES];
	char *argv[8] = { "nbdfuse", "-P", pid };
	const char *no_nbd = state_text(m, "no_nbd");
	size_t nr = 3, length;
	int ret;

	if (!is_writable(m) && !is_branch(m))
		argv[nr++] = "-r";
	argv[nr++] = path;
	argv[nr++] = uri;
	snprintf(name, sizeof(name), "%.31s" FUSE_SUFFIX, volume);
	snprintf(pid, sizeof(pid), "%s/%s.pid", m->dir, name);
	snprintf(dir, sizeof(dir), "%s/%s", m->own, name);
	snprintf(path, MAPPING_PATH_BYTES, "%.460s/disk", dir);
	mapping_uri(m, volume, uri);
	if (mkdir(dir, 0700) < 0) {
		snprintf(why, MAPPING_TEXT_BYTES, "%.400s: %s", dir, strerror(errno));
		return -errno;
	}
	ret = helper_start(m->dir, name, argv, false, why);
	if (ret < 0 && *no_nbd) {
		length = strlen(why);
		snprintf(why + length, MAPPING_TEXT_BYTES - length, "; and %.400s", no_nbd);
	}
	return ret;
}

int mapping_file(const struct mapping *m, const char *volume, char *path, char *why)
{
	return mapping_file_joined(m, volume, NULL, path, why);
}

int mapping_file_joined(const struct mapping *m, const char *volume, char *const *ranges,
			char *path, char *why)
{
	int ret = is_writable(m) ? start_server(m, volume, ranges, why) : 0;

	if (ret < 0)
		return ret;
	return mapping_is_nbd(m) ? nbd_file(m, volume, path, why) : fuse_file(m, volume, path, why);
}

/* -- taking down -- */

/*
 * What the kernel asked a server that has ended it waits for until its time-out, and so
 * would who unmounts.
 */
static int cut_dead(const struct mapping *m, const char *name, char *why)
{
	const char *dot = strrchr(name, '.');	/* VOLUME.nbdkit, or the nbdkit of all */
	char path[PATH_MAX];
	int ret;

	if (strcmp(dot ? dot + 1 : name, "nbdkit") != 0 || helper_pid(m->dir, name))
		return 0;
	snprintf(path, sizeof(path), "%s%s%.*s", m->own, dot ? "/" : "",
		 (int)(dot ? dot - name : 0), name);
	ret = nbddev_cut(path);
	if (ret < 0)
		snprintf(why, MAPPING_TEXT_BYTES, "NBD devices of %.400s: %s", path, strerror(-ret));
	return ret;
}

static int stop_fuse(const struct mapping *m, const char *name, char *why)
{
	char dir[PATH_MAX];
	int ret;

	snprintf(dir, sizeof(dir), "%s/%s", m->own, name);
	ret = unmount_dir(dir);
	if (ret == 0)
		ret = helper_stop(m->dir, name, STOP_MS);
	if (ret == 0 && rmdir(dir) < 0)
		ret = -errno;
	if (ret < 0)
		snprintf(why, MAPPING_TEXT_BYTES, "%.400s: %s", dir, strerror(-ret));
	return ret;
}

static int stop_server(const struct mapping *m, const char *name, char *why)
{
	int ret = helper_stop(m->dir, name, keeps_writes(m) ? STOP_WRITER_MS : STOP_MS);

	if (ret < 0)
		snprintf(why, MAPPING_TEXT_BYTES, "%.400s: its %s: %s", m->dir, name, strerror(-ret));
	return ret;
}

/* What in @path ends in @suffix, one after the other, named without it if @cut. */
static int stop_each(const struct mapping *m, const char *path, const char *suffix, bool cut,
		     int (*stop)(const struct mapping *m, const char *name, char *why), char *why)
{
	size_t suffix_length = strlen(suffix);
	DIR *dir = opendir(path);
	struct dirent *entry;
	int ret = dir || errno == ENOENT ? 0 : -errno;

	if (ret < 0)
		snprintf(why, MAPPING_TEXT_BYTES, "%.400s: %s", path, strerror(-ret));
	while (ret == 0 && dir && (entry = readdir(dir))) {
		size_t length = strlen(entry->d_name);

		if (length <= suffix_length ||
		    strcmp(entry->d_name + length - suffix_length, suffix) != 0)
			continue;
		if (cut)
			entry->d_name[length - suffix_length] = 0;
		ret = stop(m, entry->d_name, why);
	}
	if (dir)
		closedir(dir);
	return ret;
}

static int drop_in(struct home *home, const struct mapping *m, char *reason)
{
	const char *store = state_text(m, "store");
	char dir[PATH_MAX];
	int ret;

	/* A disk that is not mounted has the branch all the same. */
	if (!home_is_remote(home) && access(store, F_OK) < 0) {
		ret = -errno;
		snprintf(reason, HOME_TEXT_BYTES, "store %.300s: %s; its branch %.31s is dropped when it is unmapped with the store there",
			 store, strerror(-ret), state_text(m, "branch"));
		return ret;
	}
	snprintf(dir, sizeof(dir), "%.3000s/%.31s", home_groups(home), state_text(m, "group"));
	ret = branch_drop(home_env(home), dir, state_text(m, "branch"), reason);
	/* What cannot be removed now is at the next chance. */
	if (ret == 0)
		branch_sweep(home_env(home), dir);
	if (ret == -EPERM) {
		fprintf(stderr, "blkship: group %s: %s; it is kept\n", state_text(m, "group"), reason);
		return 0;
	}
	return ret == -ENOENT ? 0 : ret;	/* gone already */
}

/* That of a temporary branch: nothing serves it any more. */
static int drop_branch(const struct mapping *m, char *why)
{
	char reason[HOME_TEXT_BYTES];
	struct home *home;
	int ret;

	if (!json_is_true(json_object_get(m->state, "drop_branch")))
		return 0;
	ret = home_open(state_text(m, "store"), NULL, &home, reason);
	if (ret == 0) {
		ret = drop_in(home, m, reason);
		home_close(home);
	}
	if (ret < 0)
		snprintf(why, MAPPING_TEXT_BYTES, "%.500s", reason);
	return ret;
}

/* The lock goes last: until then nobody else touches the directory. */
static int remove_dir(const struct mapping *m)
{
	int fd = open(m->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret = 0;
	struct dirent *entry;
	struct stat st;
	DIR *dir;

	if (fd < 0)
		return -errno;
	if (*m->own && rmdir(m->own) < 0 && errno != ENOENT) {
		ret = -errno;
		close(fd);
		return ret;
	}
	/* One outside, which nbdkit could not remove if it was killed. */
	if (*m->socket && lstat(m->socket, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(m->socket);
	dir = fdopendir(fd);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, "lock") != 0)
			unlinkat(fd, entry->d_name, 0);
	if (unlinkat(fd, "lock", 0) < 0 || rmdir(m->dir) < 0)
		ret = -errno;
	if (dir)
		closedir(dir);
	return ret;
}

/* Devices, mounts and files of it: all that the kernel shows to others. */
static int take_down(const struct mapping *m, char *why)
{
	const char *mounted_at = json_string_value(json_object_get(m->state, "mounted_at"));
	int ret = stop_each(m, m->dir, ".proc", true, cut_dead, why);

	if (ret == 0)
		ret = unmount_all(m->name, m->own, keeps_writes(m) && helper_pid(m->dir, "nbdkit"), why);
	if (ret == 0 && mounted_at && json_is_true(json_object_get(m->state, "made_dir")))
		rmdir(mounted_at);	/* stays if somebody else uses it */
	if (ret == 0)
		ret = stop_each(m, m->own, FUSE_SUFFIX, false, stop_fuse, why);
	return ret;
}

int mapping_destroy(struct mapping *m, char *why)
{
	int ret;

	why[0] = 0;
	ret = *m->own ? take_down(m, why) : 0;
	if (ret == 0)
		ret = stop_each(m, m->dir, ".proc", true, stop_server, why);
	if (ret == 0)
		ret = drop_branch(m, why);
	if (ret == 0)
		ret = remove_dir(m);
	if (ret < 0 && !*why)
		snprintf(why, MAPPING_TEXT_BYTES, "%.400s: %s", m->dir, strerror(-ret));
	mapping_close(m);
	return ret;
}

int mapping_of_mount(const char *dir, char *name)
{
	int ret = unmount_find(dir, name, MAPPING_NAME_BYTES);

	return ret == 0 && !mapping_name_valid(name) ? -ENOENT : ret;
}

void mapping_mount_source(const char *name, char *source)
{
	sprintf(source, UNMOUNT_SOURCE_PREFIX "%s", name);
}
