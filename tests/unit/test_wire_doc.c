// SPDX-License-Identifier: GPL-2.0-only
/* docs/WIRE.md against userspace/lib/wire_format.h: every field at its offset. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/wire_format.h"

struct field {
	const char *name;	/* "struct.field" */
	size_t at, bytes;
};

#define F(s, f) { #s "." #f, offsetof(struct s, f), sizeof(((struct s *)0)->f) }

static const struct field fields[] = {
	F(wire_header, magic), F(wire_header, version), F(wire_header, type),
	F(wire_header, flags), F(wire_header, stream), F(wire_header, payload_bytes),
	F(wire_header, seq), F(wire_header, crc), F(wire_header, reserved),
	F(wire_hello, version_min), F(wire_hello, version_max), F(wire_hello, features),
	F(wire_hello, group), F(wire_hello, instance), F(wire_hello, machine),
	F(wire_hello, incarnation), F(wire_hello, epoch), F(wire_hello, newest_seq),
	F(wire_hello, durable_ordinal), F(wire_hello, nr_volumes), F(wire_hello, reserved),
	F(wire_hello_volume, index), F(wire_hello_volume, reserved),
	F(wire_hello_volume, flags), F(wire_hello_volume, size_bytes),
	F(wire_hello_volume, name), F(wire_hello_volume, identity),
	F(wire_hello_volume, kept_instance), F(wire_hello_volume, kept_ordinal),
	F(wire_hello_volume, kept_incarnation), F(wire_hello_volume, kept_log_no),
	F(wire_hello_answer, status), F(wire_hello_answer, version),
	F(wire_hello_answer, features), F(wire_hello_answer, incarnation),
	F(wire_hello_answer, epoch), F(wire_hello_answer, cut_seq),
	F(wire_hello_answer, ordinal), F(wire_hello_answer, time_ns),
	F(wire_hello_answer, readback_no), F(wire_hello_answer, hold_id),
	F(wire_hello_answer, last_gap_seq), F(wire_hello_answer, repaired_t0),
	F(wire_hello_answer, credit_bytes), F(wire_hello_answer, nr_holds),
	F(wire_hello_answer, nr_volumes), F(wire_hello_answer, text),
	F(wire_open_hold, id), F(wire_open_hold, from_seq),
	F(wire_answer_volume, index), F(wire_answer_volume, volume),
	F(wire_answer_volume, flags),
	F(wire_ack, received_ordinal), F(wire_ack, durable_ordinal), F(wire_ack, credit_bytes),
	F(wire_error, code), F(wire_error, reserved), F(wire_error, text),
	F(wire_enroll, token_id), F(wire_enroll, secret), F(wire_enroll, host),
	F(wire_enroll, csr_bytes), F(wire_enroll, reserved),
	F(wire_enroll_answer, cert_bytes), F(wire_enroll_answer, ca_bytes),
	F(wire_enroll_answer, not_after_s),
};

/* "u32", "u8[16]", "char[32]" */
static size_t type_bytes(const char *type)
{
	const char *count = strchr(type, '[');
	size_t nr = count ? strtoul(count + 1, NULL, 10) : 1;

	if (strncmp(type, "char", 4) == 0)
		return nr;
	assert_int_equal(type[0], 'u');
	return nr * strtoul(type + 1, NULL, 10) / 8;
}

static void every_field_is_where_the_page_says(void **state)
{
	FILE *f = fopen("docs/WIRE.md", "r");
	char line[1024], in[64] = "", type[16], name[64], full[160];
	size_t at, end = 0, total = 0, next = 0;

	if (!f)
		fail_msg("docs/WIRE.md: run this from the top of the tree");
	while (fgets(line, sizeof(line), f)) {
		if (line[0] == '#') {
			assert_int_equal(end, total);	/* the last struct is complete */
			end = total = 0;
			in[0] = 0;
			sscanf(line, "### `struct %63[a-z_]`, %zu bytes", in, &total);
			continue;
		}
		if (!in[0] || sscanf(line, "| %zu | %15[^| ] | %63[a-z0-9_] |", &at, type, name) != 3)
			continue;
		if (strncmp(type, "u", 1) != 0 && strncmp(type, "char", 4) != 0)
			continue;		/* a table of values, not of fields */
		snprintf(full, sizeof(full), "%s.%s", in, name);
		assert_true(next < ARRAY_SIZE(fields));
		assert_string_equal(full, fields[next].name);
		assert_int_equal(at, fields[next].at);
		assert_int_equal(type_bytes(type), fields[next].bytes);
		assert_int_equal(at, end);		/* no holes */
		end = at + type_bytes(type);
		next++;
	}
	fclose(f);
	assert_int_equal(end, total);
	assert_int_equal(next, ARRAY_SIZE(fields));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_is_where_the_page_says),
	};

	return cmocka_run_group_tests_name("wire doc", tests, NULL, NULL);
}
