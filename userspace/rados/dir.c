// SPDX-License-Identifier: GPL-2.0-only
#include "dir.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/env_host.h"
#include "file.h"

#define ROOT_MARK	"blkship"
#define NAMES		"n/"
#define WASTE		"t/"
#define KEY_BYTES	(RADOS_NAME_BYTES + 4)
#define PAGE_KEYS	1000
#define CHANGE_TRIES	5
#define SWEEP_NR	64

static void dir_object(char *object, const char *dir)
{
	snprintf(object, RADOS_OBJECT_BYTES, "d/%s", dir);
}

static void name_key(char *key, const char *name)
{
	snprintf(key, KEY_BYTES, NAMES "%s", name);
}

static void waste_key(char *key, const struct rados_entry *e)
{
	char id[33];

	rados_id_text(e->id, id);
	snprintf(key, KEY_BYTES, WASTE "%s", id);
}

/* -- operations in parts -- */

static void op_set(rados_write_op_t op, const char *key, const struct rados_entry *e)
{
	const char *value = (const char *)e;
	const size_t bytes = sizeof(*e);

	rados_write_op_omap_set(op, &key, &value, &bytes, 1);
}

static void op_unset(rados_write_op_t op, const char *key)
{
	rados_write_op_omap_rm_keys(op, &key, 1);
}

/* Only if the key has this value; NULL: only if there is no such key. */
static void op_expect(rados_write_op_t op, const char *key, const struct rados_entry *e)
{
	rados_write_op_omap_cmp(op, key, LIBRADOS_CMPXATTR_OP_EQ, e ? (const char *)e : "",
				e ? sizeof(*e) : 0, NULL);
}

/* What was a file's entry becomes waste. */
static void op_waste(rados_write_op_t op, const struct rados_entry *e)
{
	struct rados_entry waste;
	char key[KEY_BYTES];

	rados_entry_encode(&waste, RADOS_KIND_FILE, e->id, env_host_realtime_ns(NULL));
	waste_key(key, &waste);
	op_set(op, key, &waste);
}

/* -ECANCELED: a condition did not hold. Ends the op. */
static int op_run(struct cluster *c, rados_write_op_t op, const char *object)
{
	int ret = CLUSTER_CALL(c, rados_write_op_operate(op, c->io, object, NULL, 0));

	rados_release_write_op(op);
	return ret;
}

static rados_write_op_t op_on_directory(void)
{
	rados_write_op_t op = rados_create_write_op();

	rados_write_op_assert_exists(op);
	return op;
}

/* -- reading -- */

/* Return: @ret, after it was said of which object, if what lies there is the reason. */
static int told(struct cluster *c, const char *object, int ret)
{
	if (ret == -EBADMSG)
		cluster_say(c, ENV_RADOS_ERROR, "store %s: object %s: what its omap has is not ours, or damaged; it is not used, and nothing was changed; see `rados listomapvals`, and who else may write there",
			    c->location, object);
	return ret;
}

/* As it lies there: conditions compare it. */
static int find_raw(struct cluster *c, const char *object, const char *key,
		    struct rados_entry *raw)
{
	rados_read_op_t op = rados_create_read_op();
	struct rados_entry checked;
	rados_omap_iter_t values;
	char *found_key, *value;
	size_t bytes;
	int ret, found = 0;

	rados_read_op_omap_get_vals_by_keys(op, &key, 1, &values, &found);
	ret = CLUSTER_CALL(c, rados_read_op_operate(op, c->io, object, 0));
	rados_release_read_op(op);
	if (ret == 0)
		ret = found;
	if (ret == 0)
		ret = rados_omap_get_next(values, &found_key, &value, &bytes);
	if (ret == 0 && !found_key)
		ret = -ENOENT;
	if (ret == 0)
		ret = rados_entry_check(value, bytes, &checked);
	if (ret == 0)
		memcpy(raw, value, sizeof(*raw));
	rados_omap_get_end(values);
	return told(c, object, ret);
}

int dir_find(struct cluster *c, const char *dir, const char *name, struct rados_entry *e)
{
	char object[RADOS_OBJECT_BYTES], key[KEY_BYTES];

	dir_object(object, dir);
	name_key(key, name);
	return find_raw(c, object, key, e);
}

/*
 * Who else writes there could give us names that lead elsewhere, and waste that never goes.
 * @length: of @key, which may have zero bytes in it
 */
static int key_check(const char *prefix, const char *key, size_t length,
		     const struct rados_entry *e)
{
	char waste[KEY_BYTES];

	if (strlen(key) != length || length >= KEY_BYTES)
		return -EBADMSG;
	if (strcmp(prefix, NAMES) == 0)
		return rados_name_check(key + strlen(NAMES));
	waste_key(waste, e);
	return strcmp(key, waste) == 0 ? 0 : -EBADMSG;
}

struct page {
	void (*each)(void *arg, const char *key, const struct rados_entry *e);
	void *arg;
	char last[KEY_BYTES];	/* key */
	bool more;
};

static int page_read(struct cluster *c, const char *object, const char *prefix, struct page *p)
{
	rados_read_op_t op = rados_create_read_op();
	rados_omap_iter_t values;
	unsigned char more = 0;
	int ret, inner = 0;

	rados_read_op_omap_get_vals2(op, p->last, prefix, PAGE_KEYS, &values, &more, &inner);
	ret = CLUSTER_CALL(c, rados_read_op_operate(op, c->io, object, 0));
	rados_release_read_op(op);
	if (ret == 0)
		ret = inner;
	while (ret == 0) {
		struct rados_entry e;
		char *key, *value;
		size_t length, bytes;

		ret = rados_omap_get_next2(values, &key, &value, &length, &bytes);
		if (ret || !key)
			break;
		ret = rados_entry_check(value, bytes, &e);
		if (ret == 0)
			ret = key_check(prefix, key, length, &e);
		if (ret)
			break;
		strcpy(p->last, key);
		p->each(p->arg, key + strlen(prefix), &e);
	}
	rados_omap_get_end(values);
	p->more = more;
	return told(c, object, ret);
}

static int keys_read(struct cluster *c, const char *dir, const char *prefix, struct page *p)
{
	char object[RADOS_OBJECT_BYTES];
	int ret;

	dir_object(object, dir);
	do {
		ret = page_read(c, object, prefix, p);
	} while (ret == 0 && p->more);
	return ret;
}

int dir_list(struct cluster *c, const char *dir,
	     void (*each)(void *arg, const char *name, const struct rados_entry *e), void *arg)
{
	struct page p = { .each = each, .arg = arg };

	return keys_read(c, dir, NAMES, &p);
}

/* -- directories -- */

int dir_root(struct cluster *c)
{
	char buf[64];
	int ret = CLUSTER_CALL(c, rados_getxattr(c->io, "d/", ROOT_MARK, buf, sizeof(buf)));

	if (ret == -ENODATA || ret == -ERANGE)
		return -EBADMSG;
	return ret < 0 ? ret : rados_root_check(buf, ret);
}

static int root_make(struct cluster *c)
{
	rados_write_op_t op = rados_create_write_op();
	struct rados_root root;

	rados_root_encode(&root);
	rados_write_op_create(op, LIBRADOS_CREATE_EXCLUSIVE, NULL);
	rados_write_op_setxattr(op, ROOT_MARK, (const char *)&root, sizeof(root));
	return op_run(c, op, "d/");
}

static void join(char *path, const char *dir, const char *name)
{
	snprintf(path, RADOS_PATH_BYTES + RADOS_NAME_BYTES, "%s%s%s", dir, *dir ? "/" : "", name);
}

int dir_make(struct cluster *c, const char *dir, const char *name)
{
	char object[RADOS_OBJECT_BYTES], path[RADOS_PATH_BYTES + RADOS_NAME_BYTES];
	struct rados_entry e;
	rados_write_op_t op;
	int ret;

	if (!*name)
		return root_make(c);
	ret = dir_find(c, dir, name, &e);
	if (ret != -ENOENT)
		return ret ? ret : -EEXIST;
	/* The object first: a name leads to something. One without a name is used again. */
	join(path, dir, name);
	if (strlen(path) >= RADOS_PATH_BYTES)
		return -ENAMETOOLONG;
	dir_object(object, path);
	op = rados_create_write_op();
	rados_write_op_create(op, LIBRADOS_CREATE_IDEMPOTENT, NULL);
	ret = op_run(c, op, object);
	if (ret)
		return ret;
	rados_entry_encode(&e, RADOS_KIND_DIRECTORY, NULL, 0);
	return dir_add(c, dir, name, &e);
}

int dir_check(struct cluster *c, const char *dir, const char *name)
{
	struct rados_entry e;
	int ret;

	if (!*name)
		return dir_root(c);
	ret = dir_find(c, dir, name, &e);
	return ret ? ret : e.kind == RADOS_KIND_DIRECTORY ? 0 : -ENOTDIR;
}

/* -- names -- */

int dir_add(struct cluster *c, const char *dir, const char *name, const struct rados_entry *e)
{
	char object[RADOS_OBJECT_BYTES], key[KEY_BYTES];
	rados_write_op_t op = op_on_directory();
	int ret;

	dir_object(object, dir);
	name_key(key, name);
	op_expect(op, key, NULL);
	op_set(op, key, e);
	ret = op_run(c, op, object);
	return ret == -ECANCELED ? -EEXIST : ret;
}

static int file_remove(struct cluster *c, const char *dir, const char *name,
		       const struct rados_entry *e)
{
	char object[RADOS_OBJECT_BYTES], key[KEY_BYTES];
	rados_write_op_t op = op_on_directory();
	int ret;

	dir_object(object, dir);
	name_key(key, name);
	op_expect(op, key, e);
	op_unset(op, key);
	op_waste(op, e);
	ret = op_run(c, op, object);
	return ret == -ECANCELED ? -ENOENT : ret;
}

static void entry_count(void *arg, const char *name, const struct rados_entry *e)
{
	++*(size_t *)arg;
}

/* Nobody makes files in it meanwhile: who removes it has it to himself. */
static int directory_remove(struct cluster *c, const char *dir, const char *name,
			    const struct rados_entry *e)
{
	char object[RADOS_OBJECT_BYTES], path[RADOS_PATH_BYTES + RADOS_NAME_BYTES], key[KEY_BYTES];
	struct page waste = { .each = entry_count };
	rados_write_op_t op;
	size_t nr = 0;
	int ret;

	join(path, dir, name);
	ret = dir_list(c, path, entry_count, &nr);
	if (ret == 0 && !nr) {
		dir_sweep(c, path, 0, UINT64_MAX);
		waste.arg = &nr;
		ret = keys_read(c, path, WASTE, &waste);
	}
	if (ret == 0 && nr)
		ret = -ENOTEMPTY;
	if (ret)
		return ret;
	dir_object(object, dir);
	name_key(key, name);
	op = op_on_directory();
	op_expect(op, key, e);
	op_unset(op, key);
	ret = op_run(c, op, object);
	if (ret)
		return ret == -ECANCELED ? -ENOENT : ret;
	/* Without its name it is nothing; one that stays is used again. */
	dir_object(object, path);
	CLUSTER_CALL(c, rados_remove(c->io, object));
	return 0;
}

int dir_remove(struct cluster *c, const char *dir, const char *name)
{
	struct rados_entry e;
	int ret = dir_find(c, dir, name, &e);

	if (ret)
		return ret;
	return e.kind == RADOS_KIND_FILE ? file_remove(c, dir, name, &e) :
					   directory_remove(c, dir, name, &e);
}

static int rename_once(struct cluster *c, const char *dir, const char *from, const char *to)
{
	char object[RADOS_OBJECT_BYTES], from_key[KEY_BYTES], to_key[KEY_BYTES];
	struct rados_entry source, target;
	rados_write_op_t op;
	int ret = dir_find(c, dir, from, &source), over;

	if (ret)
		return ret;
	over = dir_find(c, dir, to, &target);
	if (over && over != -ENOENT)
		return over;
	if (source.kind != RADOS_KIND_FILE || (!over && target.kind != RADOS_KIND_FILE))
		return -EISDIR;
	dir_object(object, dir);
	name_key(from_key, from);
	name_key(to_key, to);
	op = op_on_directory();
	op_expect(op, from_key, &source);
	op_expect(op, to_key, over ? NULL : &target);
	op_unset(op, from_key);
	op_set(op, to_key, &source);
	if (!over)
		op_waste(op, &target);
	return op_run(c, op, object);
}

int dir_rename(struct cluster *c, const char *dir, const char *from, const char *to)
{
	int ret = -ECANCELED;

	if (strcmp(from, to) == 0)
		return 0;
	for (int i = 0; ret == -ECANCELED && i < CHANGE_TRIES; i++)
		ret = rename_once(c, dir, from, to);
	return ret;
}

/* -- waste -- */

struct sweep {
	struct rados_entry entries[SWEEP_NR];
	size_t nr;
	uint64_t before_ns, until_ns;
	bool late;
};

static void sweep_each(void *arg, const char *id, const struct rados_entry *e)
{
	struct sweep *s = arg;

	if (s->nr < SWEEP_NR && e->removed_ns <= s->before_ns)
		s->entries[s->nr++] = *e;
}

/* One round, in which one goes, however late it is; returns whether there may be more. */
static bool sweep_round(struct cluster *c, const char *dir, struct sweep *s)
{
	struct page p = { .each = sweep_each, .arg = s };
	char object[RADOS_OBJECT_BYTES], key[KEY_BYTES];

	s->nr = 0;
	if (keys_read(c, dir, WASTE, &p))
		return false;
	dir_object(object, dir);
	for (size_t i = 0; i < s->nr; i++) {
		rados_write_op_t op;

		if (s->late)
			return true;
		if (file_destroy(c, s->entries[i].id))
			return false;
		op = op_on_directory();
		waste_key(key, &s->entries[i]);
		op_unset(op, key);
		if (op_run(c, op, object))
			return false;
		s->late = env_host_monotonic_ns(NULL) >= s->until_ns;
	}
	return s->nr == SWEEP_NR;
}

bool dir_sweep(struct cluster *c, const char *dir, uint64_t age_ns, uint64_t until_ns)
{
	struct sweep s = { .before_ns = env_host_realtime_ns(NULL) - age_ns, .until_ns = until_ns };
	bool more;

	do
		more = sweep_round(c, dir, &s);
	while (more && !s.late);
	return !more;
}
