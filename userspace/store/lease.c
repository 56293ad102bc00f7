// SPDX-License-Identifier: GPL-2.0-only
#include "lease.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/crc32c.h"
#include "array.h"

#define MAGIC		"BSE1"
#define VERSION		1
#define NAME_LENGTH	(LEASE_NAME_BYTES - 1)

static int leases_path(char *path, const char *dir)
{
	int length = snprintf(path, LEASE_PATH_BYTES, "%s/" LEASES_DIR, dir);

	return length < LEASE_PATH_BYTES - NAME_LENGTH - 2 ? 0 : -ENAMETOOLONG;
}

int leases_make(struct env *env, const char *dir)
{
	char path[LEASE_PATH_BYTES];
	int ret = leases_path(path, dir);

	if (!ret)
		ret = env->ops->mkdir(env, path);
	return ret == -EEXIST ? 0 : ret;
}

/* -- the reader's side -- */

static int lease_write(struct lease *l, unsigned int flags)
{
	struct env_file *file;
	int ret = l->env->ops->open(l->env, l->path, ENV_WRITE | flags, &file);

	if (ret)
		return ret;
	ret = l->env->ops->write(l->env, file, &l->file, sizeof(l->file), 0);
	if (!ret)
		ret = l->env->ops->datasync(l->env, file);
	l->env->ops->close(l->env, file);
	return ret;
}

int lease_take(struct lease *l, struct env *env, const char *dir, uint64_t cut_seq,
	       const char *label)
{
	uint64_t id;
	int ret;

	memset(l, 0, sizeof(*l));
	l->env = env;
	env->ops->random(env, &id, sizeof(id));
	ret = leases_path(l->path, dir);
	if (!ret)
		ret = leases_make(env, dir);
	if (ret)
		return ret;
	snprintf(l->path + strlen(l->path), NAME_LENGTH + 2, "/%016llx.%016llx",
		 (unsigned long long)cut_seq, (unsigned long long)id);
	memcpy(l->file.magic, MAGIC, sizeof(l->file.magic));
	l->file.version = htole16(VERSION);
	l->file.made_ns = htole64(env->ops->realtime_ns(env));
	snprintf(l->file.label, sizeof(l->file.label), "%s", label);
	ret = lease_write(l, ENV_CREATE);
	if (ret)
		env->ops->unlink(env, l->path);
	return ret;
}

int lease_renew(struct lease *l)
{
	int ret;

	l->file.renewals = htole64(le64toh(l->file.renewals) + 1);
	ret = lease_write(l, 0);
	return ret == -ENOENT ? lease_write(l, ENV_CREATE) : ret;
}

void lease_drop(struct lease *l)
{
	l->env->ops->unlink(l->env, l->path);
}

/* -- names -- */

struct names {
	struct leases *leases;
	int error;
};

static bool name_parse(const char *name, uint64_t *cut_seq, uint64_t *id)
{
	char again[NAME_LENGTH + 1];
	unsigned long long cut, number;

	if (strlen(name) != NAME_LENGTH || sscanf(name, "%16llx.%16llx", &cut, &number) != 2)
		return false;
	snprintf(again, sizeof(again), "%016llx.%016llx", cut, number);
	*cut_seq = cut;
	*id = number;
	return strcmp(again, name) == 0;
}

static void name_take(void *arg, const char *name)
{
	struct names *n = arg;
	struct leases *l = n->leases;
	uint64_t cut_seq, id;

	if (!name_parse(name, &cut_seq, &id))
		return;
	for (size_t i = 0; i < l->nr; i++)
		if (l->items[i].cut_seq == cut_seq && l->items[i].id == id) {
			l->items[i].there = true;
			return;
		}
	if (l->nr == LEASES_MAX)
		n->error = -E2BIG;
	else if (!array_reserve(&l->items, &l->max, l->nr + 1))
		n->error = -ENOMEM;
	else
		l->items[l->nr++] = (struct lease_seen){ .cut_seq = cut_seq, .id = id,
							 .there = true };
}

/* With @skipped some of them are not in @l, and the others are. */
static int names_read(struct leases *l, struct env *env, const char *dir, int *skipped)
{
	struct names n = { .leases = l };
	char path[LEASE_PATH_BYTES];
	int ret;

	for (size_t i = 0; i < l->nr; i++)
		l->items[i].there = false;
	snprintf(path, sizeof(path), "%s/" LEASES_DIR, dir);
	ret = env->ops->list(env, path, name_take, &n);
	*skipped = n.error;
	return ret == -ENOENT ? 0 : ret;
}

/* -- the side of who drops points -- */

static void seen_name(const struct lease_seen *s, char *name)
{
	snprintf(name, LEASE_NAME_BYTES, "%016llx.%016llx", (unsigned long long)s->cut_seq,
		 (unsigned long long)s->id);
}

static void seen_path(const struct lease_seen *s, const char *dir, char *path)
{
	char name[LEASE_NAME_BYTES];

	seen_name(s, name);
	snprintf(path, LEASE_PATH_BYTES, "%s/" LEASES_DIR "/%s", dir, name);
}

/* A directory, a pipe, a link to another file: it has the name, and no reader made it. */
static bool is_no_file(int error)
{
	return error == -EISDIR || error == -ENXIO || error == -ELOOP;
}

/* What is in it: 0; -ENOENT it is gone; -errno. Whatever it is, a change shows a reader. */
static int seen_read(const struct lease_seen *s, struct env *env, const char *dir,
		     struct lease_file *out)
{
	char path[LEASE_PATH_BYTES];
	struct env_file *file;
	int64_t got;
	int ret;

	memset(out, 0, sizeof(*out));
	seen_path(s, dir, path);
	ret = env->ops->open(env, path, ENV_READ | ENV_NOFOLLOW, &file);
	if (ret)
		return ret;
	got = env->ops->read(env, file, out, sizeof(*out), 0);
	env->ops->close(env, file);
	return got < 0 ? got : 0;
}

/* What is known of it stays as it is, so that it is over as soon as it can be read. */
static void odd_note(struct leases *l, struct lease_seen *s, int error)
{
	seen_name(s, l->odd);
	l->odd_error = error;
	l->odd_counts = s->there = !is_no_file(error);
}

static void seen_look(struct leases *l, struct lease_seen *s, struct env *env, const char *dir,
		      uint64_t now_ns)
{
	char path[LEASE_PATH_BYTES];
	struct lease_file file;
	int ret = seen_read(s, env, dir, &file);
	uint32_t crc = crc32c(&file, sizeof(file));

	if (ret == -ENOENT) {
		s->there = false;
	} else if (ret) {
		odd_note(l, s, ret);
	} else if (!s->changed_ns || crc != s->crc) {
		s->crc = crc;
		s->changed_ns = now_ns;
	} else if (now_ns - s->changed_ns >= LEASE_END_NS) {
		seen_path(s, dir, path);
		env->ops->unlink(env, path);
		s->there = false;
	}
}

int leases_look(struct leases *l, struct env *env, const char *dir, uint64_t now_ns)
{
	size_t kept = 0;
	int skipped, ret = names_read(l, env, dir, &skipped);

	if (ret)
		return ret;
	l->odd[0] = 0;
	for (size_t i = 0; i < l->nr; i++)
		if (l->items[i].there)
			seen_look(l, &l->items[i], env, dir, now_ns);
	for (size_t i = 0; i < l->nr; i++)
		if (l->items[i].there)
			l->items[kept++] = l->items[i];
	l->nr = kept;
	return skipped;
}

void leases_fini(struct leases *l)
{
	free(l->items);
	memset(l, 0, sizeof(*l));
}

/* -- for people -- */

static bool is_lease(const struct lease_file *file)
{
	return !memcmp(file->magic, MAGIC, sizeof(file->magic)) &&
	       le16toh(file->version) == VERSION;
}

/* Whoever may write to the store has written it. */
static void label_copy(char *to, const char *from)
{
	snprintf(to, LEASE_LABEL_BYTES, "%.*s", LEASE_LABEL_BYTES - 1, from);
	for (; *to; to++)
		if (*to < ' ' || *to > '~')
			*to = '?';
}

int leases_list(struct env *env, const char *dir, struct lease_info **out, size_t *nr)
{
	struct leases l = { 0 };
	struct lease_info *infos;
	int skipped, ret = names_read(&l, env, dir, &skipped);

	*nr = 0;
	if (!ret && skipped != -E2BIG)
		ret = skipped;
	infos = malloc((l.nr + 1) * sizeof(*infos));
	if (!infos)
		ret = -ENOMEM;
	for (size_t i = 0; i < l.nr && !ret; i++) {
		struct lease_info *info = &infos[*nr];
		struct lease_file file;
		int error = seen_read(&l.items[i], env, dir, &file);

		if (error == -ENOENT || is_no_file(error))
			continue;
		info->cut_seq = l.items[i].cut_seq;
		info->made_ns = 0;
		if (error) {
			snprintf(info->label, sizeof(info->label), "cannot be read: %s",
				 strerror(-error));
		} else if (!is_lease(&file)) {
			strcpy(info->label, "is no lease of this version");
		} else {
			info->made_ns = le64toh(file.made_ns);
			label_copy(info->label, file.label);
		}
		++*nr;
	}
	leases_fini(&l);
	if (ret) {
		free(infos);
		return ret;
	}
	*out = infos;
	return skipped;
}

#define TEXT_OF(n)	#n
#define TEXT(n)		TEXT_OF(n)

const char *leases_error_text(int error)
{
	return error == -E2BIG ? "more than " TEXT(LEASES_MAX) " leases" : strerror(-error);
}
