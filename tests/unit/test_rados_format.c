// SPDX-License-Identifier: GPL-2.0-only
/* docs/RADOS.md against the code; names, values and owners. */
#include "unit.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../userspace/rados/rados_format.h"

#define DOC "docs/RADOS.md"
#include "doc.h"

static const struct doc_field fields[] = {
	DOC_FIELD(rados_root, magic), DOC_FIELD(rados_root, version),
	DOC_FIELD(rados_root, reserved), DOC_FIELD(rados_root, piece_bytes),
	DOC_FIELD(rados_root, pieces_step),
	DOC_FIELD(rados_entry, version), DOC_FIELD(rados_entry, kind),
	DOC_FIELD(rados_entry, reserved), DOC_FIELD(rados_entry, removed_ns),
	DOC_FIELD(rados_entry, id),
	DOC_FIELD(rados_pieces, version), DOC_FIELD(rados_pieces, reserved),
	DOC_FIELD(rados_pieces, limit),
};

static void the_document_has_every_field(void **state)
{
	doc_expect_fields(fields, sizeof(fields) / sizeof(fields[0]));
	assert_int_equal(sizeof(struct rados_root), 16);
	assert_int_equal(sizeof(struct rados_entry), 32);
	assert_int_equal(sizeof(struct rados_pieces), 8);
}

static void locations(void **state)
{
	static const char *const bad[] = { "", "rados", "rados:", "rados:/x", "rados:a/", "rados:a/b/c",
					   "rados:a b", "rados:a/b\n", "/srv/x", "RADOS:a" };
	struct rados_location l;
	char longest[200] = "rados:";

	assert_int_equal(rados_location_parse("rados:pool", &l), 0);
	assert_string_equal(l.pool, "pool");
	assert_string_equal(l.space, "");
	assert_int_equal(rados_location_parse("rados:a.b-c_1/erp", &l), 0);
	assert_string_equal(l.pool, "a.b-c_1");
	assert_string_equal(l.space, "erp");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!rados_location_parse(bad[i], &l))
			fail_msg("'%s' was taken", bad[i]);
	memset(longest + 6, 'x', sizeof(l.pool));
	assert_int_equal(rados_location_parse(longest, &l), -EINVAL);
	longest[6 + sizeof(l.pool) - 1] = 0;
	assert_int_equal(rados_location_parse(longest, &l), 0);
}

static void paths(void **state)
{
	static const char *const bad[] = { "x", "//", "/", "/a/", "/a//b", "/.", "/..", "/a/../b", "/../a" };
	char dir[RADOS_PATH_BYTES], name[RADOS_NAME_BYTES], longest[RADOS_PATH_BYTES + 300];

	assert_int_equal(rados_path_split("", dir, name), 0);
	assert_string_equal(dir, "");
	assert_string_equal(name, "");
	assert_int_equal(rados_path_split("/erp", dir, name), 0);
	assert_string_equal(dir, "");
	assert_string_equal(name, "erp");
	assert_int_equal(rados_path_split("/erp/branches/..a", dir, name), 0);
	assert_string_equal(dir, "erp/branches");
	assert_string_equal(name, "..a");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (rados_path_split(bad[i], dir, name) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
	/* The longest there may be fit, to the byte. */
	memset(longest, 'd', sizeof(longest));
	longest[0] = longest[RADOS_PATH_BYTES] = '/';
	longest[RADOS_PATH_BYTES + RADOS_NAME_BYTES] = 0;
	assert_int_equal(rados_path_split(longest, dir, name), 0);
	assert_int_equal(strlen(dir), RADOS_PATH_BYTES - 1);
	assert_int_equal(strlen(name), RADOS_NAME_BYTES - 1);
	longest[RADOS_PATH_BYTES + RADOS_NAME_BYTES] = 'd';
	longest[RADOS_PATH_BYTES + RADOS_NAME_BYTES + 1] = 0;
	assert_int_equal(rados_path_split(longest, dir, name), -ENAMETOOLONG);
	longest[RADOS_PATH_BYTES] = 'd';
	longest[RADOS_PATH_BYTES + 1] = '/';
	longest[RADOS_PATH_BYTES + 3] = 0;
	assert_int_equal(rados_path_split(longest, dir, name), -ENAMETOOLONG);
}

static void names_in_directories(void **state)
{
	static const char *const bad[] = { "", ".", "..", "/", "a/b", "/a", "a/" };
	char longest[RADOS_NAME_BYTES + 1] = "";

	assert_int_equal(rados_name_check("manifest.new"), 0);
	assert_int_equal(rados_name_check("..a"), 0);
	assert_int_equal(rados_name_check(".a"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (rados_name_check(bad[i]) != -EBADMSG)
			fail_msg("'%s' was taken", bad[i]);
	memset(longest, 'n', RADOS_NAME_BYTES);
	assert_int_equal(rados_name_check(longest), -EBADMSG);
	longest[RADOS_NAME_BYTES - 1] = 0;
	assert_int_equal(rados_name_check(longest), 0);
}

static void names_of_pieces(void **state)
{
	uint8_t id[RADOS_ID_BYTES];
	char object[48];

	for (int i = 0; i < RADOS_ID_BYTES; i++)
		id[i] = 0xf0 + i;
	rados_piece_object(id, 0x1a, object);
	assert_string_equal(object, "f.f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff.0000001a");
}

static void values_are_checked(void **state)
{
	uint8_t id[RADOS_ID_BYTES] = "0123456789abcde";
	struct rados_root root;
	struct rados_entry e, out;
	struct rados_pieces p;
	uint32_t limit;

	rados_root_encode(&root);
	assert_memory_equal(&root, "BSRD\1\0\0\0\0\0\100\0\20\0\0\0", 16);
	assert_int_equal(rados_root_check(&root, 16), 0);
	assert_int_equal(rados_root_check(&root, 15), -EBADMSG);
	root.version = htole16(2);
	assert_int_equal(rados_root_check(&root, 16), -EPROTONOSUPPORT);
	root.version = 0;
	assert_int_equal(rados_root_check(&root, 16), -EBADMSG);
	rados_root_encode(&root);
	root.piece_bytes = htole32(1 << 20);
	assert_int_equal(rados_root_check(&root, 16), -EBADMSG);

	rados_entry_encode(&e, RADOS_KIND_FILE, id, 0x0102030405060708);
	assert_memory_equal(&e, "\1\0\1\0\0\0\0\0\10\7\6\5\4\3\2\1" "0123456789abcde", 32);
	assert_int_equal(rados_entry_check(&e, 32, &out), 0);
	assert_int_equal(out.removed_ns, 0x0102030405060708);
	assert_memory_equal(out.id, id, sizeof(id));
	assert_int_equal(rados_entry_check(&e, 31, &out), -EBADMSG);
	e.kind = 3;
	assert_int_equal(rados_entry_check(&e, 32, &out), -EBADMSG);
	e.version = htole16(9);
	assert_int_equal(rados_entry_check(&e, 32, &out), -EPROTONOSUPPORT);

	rados_pieces_encode(&p, 32);
	assert_memory_equal(&p, "\1\0\0\0\40\0\0\0", 8);
	assert_int_equal(rados_pieces_check(&p, 8, &limit), 0);
	assert_int_equal(limit, 32);
	rados_pieces_encode(&p, 33);
	assert_int_equal(rados_pieces_check(&p, 8, &limit), -EBADMSG);
	rados_pieces_encode(&p, 0);
	assert_int_equal(rados_pieces_check(&p, 8, &limit), -EBADMSG);
	assert_int_equal(rados_pieces_check(&p, 7, &limit), -EBADMSG);
	rados_pieces_encode(&p, 1 << 18);
	assert_int_equal(rados_pieces_check(&p, 8, &limit), 0);
	rados_pieces_encode(&p, (1 << 18) + 16);
	assert_int_equal(rados_pieces_check(&p, 8, &limit), -EBADMSG);
	assert_int_equal(rados_pieces_limit(0), 16);
	assert_int_equal(rados_pieces_limit(15), 16);
	assert_int_equal(rados_pieces_limit(16), 32);
}

static enum rados_fate fate(const struct rados_owner *o, const struct rados_owner *self,
			    bool exists, uint64_t started)
{
	const struct rados_sighting seen = { exists, started };

	return rados_owner_fate(o, self, &seen);
}

static void owners(void **state)
{
	const struct rados_owner self = { "web1", "m1", "b1", 7, 100, 5000, 1 };
	struct rados_owner o = self, parsed;
	char text[RADOS_OWNER_BYTES];

	rados_owner_format(&self, text);
	assert_int_equal(rados_owner_parse(text, &parsed), 0);
	assert_memory_equal(&parsed.host, "web1", 5);
	assert_int_equal(parsed.pid_space, 7);
	assert_int_equal(parsed.pid, 100);
	assert_int_equal(parsed.started, 5000);
	assert_int_equal(parsed.nonce, 1);
	assert_int_equal(rados_owner_parse("web1 m1 b1 7 100", &parsed), -EBADMSG);
	assert_int_equal(rados_owner_parse("web1 m1 b1 7 100 5000 1 more", &parsed), -EBADMSG);
	assert_int_equal(rados_owner_parse("", &parsed), -EBADMSG);

	assert_int_equal(fate(&o, &self, true, 5000), RADOS_RUNS);
	assert_int_equal(fate(&o, &self, false, 0), RADOS_GONE);
	assert_int_equal(fate(&o, &self, true, 6000), RADOS_GONE);	/* another one has the pid now */
	assert_int_equal(fate(&o, &self, true, 0), RADOS_HIDDEN);
	o.started = 0;
	assert_int_equal(fate(&o, &self, true, 5000), RADOS_HIDDEN);
	assert_int_equal(fate(&o, &self, false, 0), RADOS_GONE);
	o.started = 5000;
	o.pid_space = 8;
	assert_int_equal(fate(&o, &self, false, 0), RADOS_ELSEWHERE);	/* a container's: who knows */
	strcpy(o.boot, "b0");
	assert_int_equal(fate(&o, &self, true, 5000), RADOS_GONE);	/* before the machine booted */
	strcpy(o.host, "web2");
	assert_int_equal(fate(&o, &self, false, 0), RADOS_ELSEWHERE);	/* a copy of this machine */
	strcpy(o.host, "web1");
	strcpy(o.machine, "m2");
	assert_int_equal(fate(&o, &self, false, 0), RADOS_ELSEWHERE);
}

/* Where something is not known, neither here nor of the owner, it proves nothing. */
static void what_is_not_known_proves_nothing(void **state)
{
	const struct rados_owner whole = { "web1", "m1", "b1", 7, 100, 5000, 1 };
	struct rados_owner o = whole, self = whole;

	strcpy(self.machine, "-");
	assert_int_equal(fate(&o, &self, false, 0), RADOS_ELSEWHERE);
	strcpy(o.machine, "-");
	assert_int_equal(fate(&o, &self, false, 0), RADOS_ELSEWHERE);
	o = self = whole;
	strcpy(o.boot, "-");
	assert_int_equal(fate(&o, &self, false, 0), RADOS_ELSEWHERE);
	o = self = whole;
	strcpy(self.boot, "-");
	assert_int_equal(fate(&o, &self, false, 0), RADOS_ELSEWHERE);
	strcpy(o.boot, "-");
	assert_int_equal(fate(&o, &self, false, 0), RADOS_ELSEWHERE);
	o = self = whole;
	o.pid_space = self.pid_space = 0;
	assert_int_equal(fate(&o, &self, false, 0), RADOS_ELSEWHERE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_document_has_every_field),
		cmocka_unit_test(locations),
		cmocka_unit_test(paths),
		cmocka_unit_test(names_in_directories),
		cmocka_unit_test(names_of_pieces),
		cmocka_unit_test(values_are_checked),
		cmocka_unit_test(owners),
		cmocka_unit_test(what_is_not_known_proves_nothing),
	};

	return cmocka_run_group_tests(tests, doc_load, doc_free);
}
