/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * doc - what a document says of a format, held against the code. One document for a program:
 * doc_load and doc_free are its group's setup and teardown, DOC its path.
 */
#ifndef BLKSHIP_DOC_H
#define BLKSHIP_DOC_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

#define DOC_MAX_BYTES (1 << 20)

struct doc_field {
	const char *record, *field;
	size_t offset, bytes;
};
#define DOC_FIELD(s, f) { #s, #f, offsetof(struct s, f), sizeof(((struct s *)0)->f) }

static char *doc;

static inline int doc_load(void **state)
{
	FILE *f = fopen(DOC, "r");

	doc = calloc(1, DOC_MAX_BYTES);
	if (!f || !doc || !fread(doc, 1, DOC_MAX_BYTES - 1, f))
		return -1;
	fclose(f);
	return 0;
}

static inline int doc_free(void **state)
{
	free(doc);
	return 0;
}

/* Each field has a row with its offset and size, in the section of its struct. */
static inline void doc_expect_fields(const struct doc_field *fields, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		char heading[64], row[96], *at, *end, *found;

		snprintf(heading, sizeof(heading), "### `struct %s`\n", fields[i].record);
		snprintf(row, sizeof(row), "\n| %zu | %zu | `%s` |", fields[i].offset,
			 fields[i].bytes, fields[i].field);
		at = strstr(doc, heading);
		assert_non_null(at);
		end = strstr(at + 1, "\n#");
		found = strstr(at, row);
		if (!found || (end && found > end))
			fail_msg("%s: no row %s", heading, row + 1);
	}
}

/* Bytes under a fence of that name, 16 a line. */
static inline void doc_expect_bytes(const char *fence, const uint8_t *bytes, size_t nr)
{
	char want[4096], *out = want + sprintf(want, "```%s", fence);

	for (size_t i = 0; i < nr; i++) {
		if (i % 16 == 0)
			out += sprintf(out, "\n%04zx ", i);
		out += sprintf(out, " %02x", bytes[i]);
	}
	sprintf(out, "\n```");
	if (!strstr(doc, want))
		fail_msg("not in the document:\n%s", want);
}

#endif
