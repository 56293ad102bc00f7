// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a volume group says of itself, as the fuzzer wants it, its CRC made right: it is refused, or
 * all that it says of logical volumes can be laid out. Words of a good text are taken away,
 * and replaced by others of it and by such as make trouble.
 */
#include <stdlib.h>
#include <string.h>

#include "../../userspace/export/lvm.h"
#include "../../userspace/export/lvm_bytes.h"
#include "../../userspace/export/lvm_raid.h"

#define MAX_WORDS 512

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes);

#define LV(name, status, segments, rest) name " { status = [ \"READ\" , " status " ] flags = [ ] " \
	"segment_count = " segments " " rest " } "
#define SEGMENT(name, start, count, rest) name " { start_extent = " start " extent_count = " count " " rest " } "
#define STRIPED(nr, rest) "type = \"striped\" stripe_count = " nr " stripe_size = 128 stripes = [ " rest " ]"

static const char good[] =
	"vg { extent_size = 8192 physical_volumes { "
	"pv0 { id = \"d2Nx7g1tRi9GsPTAVNadeqzf8P4fj0gE\" pe_start = 2048 } "
	"pv1 { id = \"rwigHE14dW3FShYwxTo4Xfq7S0Zipifc\" pe_start = 2048 } } logical_volumes { "
	LV("one", "\"VISIBLE\"", "2", SEGMENT("s1", "0", "4", STRIPED("2", "\"pv0\" , 1 , \"pv1\" , 0"))
	   SEGMENT("s2", "4", "1", STRIPED("1", "\"pv0\" , 3")))
	LV("two", "\"VISIBLE\"", "1", SEGMENT("s1", "0", "2", "type = \"raid1\" device_count = 2 "
					      "raids = [ \"m0\" , \"i0\" , \"m1\" , \"i1\" ]"))
	LV("m0", "\"WRITE\"", "1", SEGMENT("s1", "0", "1", STRIPED("1", "\"pv0\" , 4")))
	LV("i0", "\"WRITE\"", "1", SEGMENT("s1", "0", "2", STRIPED("1", "\"pv0\" , 5")))
	LV("m1", "\"WRITE\"", "1", SEGMENT("s1", "0", "1", STRIPED("1", "\"pv1\" , 2")))
	LV("i1", "\"WRITE\"", "1", SEGMENT("s1", "0", "2", STRIPED("2", "\"pv1\" , 3 , \"pv0\" , 7")))
	LV("snap", "\"VISIBLE\"", "1", SEGMENT("s1", "0", "1", "type = \"snapshot\" origin = \"one\" "
					       "cow_store = \"two\" merging_store = \"i0\""))
	"} }";

static const char *const trouble[] = {
	"0", "1", "3", "18446744073709551615", "9007199254740992", "4294967297", "{", "}", "[", "]", "=",
	",", "\"", "\"\\\"", "#", "\"\"", "linear", "\"linear\"", "\"stacked\"", "\"pvmove0\"", "\n",
};

static void use(const struct lvm_volume *lv)
{
	size_t i = 0;

	if (lv->type[0])
		return;
	if (!lv->nr_pieces || lv->nr_metas > LVM_RAID_MAX_IMAGES)
		abort();
	for (; i < lv->nr_pieces; i += lv->pieces[i].nr_stripes) {
		const struct lvm_piece *p = &lv->pieces[i];

		if (!p->nr_stripes || p->nr_stripes > lv->nr_pieces - i)
			abort();
		for (uint32_t k = 0; k < p->nr_stripes; k++)
			if (!p[k].length_bytes || p[k].offset_bytes > INT64_MAX - p[k].length_bytes ||
			    p[k].length_bytes != p->length_bytes || p[k].nr_stripes != p->nr_stripes ||
			    (p->nr_stripes > 1 && (p[k].stripe_bytes != p->stripe_bytes ||
						   !p->stripe_bytes || p->length_bytes % p->stripe_bytes)))
				abort();
	}
}

static size_t split(char *text, const char **words)
{
	size_t nr = 0;

	for (char *word = strtok(text, " "); word && nr < MAX_WORDS; word = strtok(NULL, " "))
		words[nr++] = word;
	return nr;
}

/* Three bytes of input each: which word, and what is there. */
static size_t make(const uint8_t *input, size_t bytes, char *text)
{
	const size_t nr_trouble = sizeof(trouble) / sizeof(trouble[0]);
	const char *words[MAX_WORDS];
	char copy[sizeof(good)], *at = text;
	size_t nr;

	memcpy(copy, good, sizeof(good));
	nr = split(copy, words);
	for (size_t i = 0; i + 2 < bytes; i += 3) {
		size_t word = (input[i] | input[i + 1] << 8) % nr;

		words[word] = input[i + 2] < 128 ? trouble[input[i + 2] % nr_trouble] :
			      input[i + 2] == UINT8_MAX ? "" : words[(word + input[i + 2]) % nr];
	}
	for (size_t i = 0; i < nr; i++)
		at = stpcpy(stpcpy(at, words[i]), " ");
	return at - text;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes)
{
	/* No word is longer than an id. */
	char *text = malloc(MAX_WORDS * (LVM_ID_BYTES + 4));
	struct lvm_text where = { .bytes = make(input, bytes, text) };
	struct lvm_group group;
	char *exact = malloc(where.bytes);

	memcpy(exact, text, where.bytes);
	free(text);
	where.crc = lvm_crc(exact, where.bytes);
	if (lvm_group_parse(exact, &where, &group) == 0) {
		for (size_t i = 0; i < group.nr_volumes; i++)
			use(&group.volumes[i]);
		lvm_group_fini(&group);
	} else if (!bytes) {
		abort();	/* the good one itself */
	}
	free(exact);
	return 0;
}
