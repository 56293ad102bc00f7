// SPDX-License-Identifier: GPL-2.0-only
/* What a server is told of logical volumes in several pieces: where on which volume, and what beside what. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../tools/blkship/lv_join.h"
#include "../../tools/blkship/mapping.h"
#include "lvm_disk.h"

#define A LVM_DISK_ID
#define B "rwigHE14dW3FShYwxTo4Xfq7S0Zipifc"

#define PV_BYTES (16u << 20)

static void note_pv(struct lv_join *join, const char *volume, const char *file, const char *id,
		    uint64_t offset_bytes)
{
	struct content c = { .offset_bytes = offset_bytes, .length_bytes = PV_BYTES };

	memcpy(c.pv, id, sizeof(c.pv));
	assert_int_equal(lv_join_note(join, volume, file, &c, NULL), 0);
}

static void note_lv(struct lv_join *join, const char *volume, const struct lvm_piece *pieces, size_t nr)
{
	struct content c = { .lv = "vg/lv", .pieces = calloc(nr, sizeof(*pieces)), .nr_pieces = nr };

	memcpy(c.pieces, pieces, nr * sizeof(*pieces));
	assert_int_equal(lv_join_note(join, volume, "/dev/null", &c, NULL), 0);
	assert_null(c.pieces);
}

static void stripes_are_told_before_their_pieces(void **state)
{
	static const struct lvm_piece pieces[] = {
		{ A, 0, 8192, 1, 0 }, { A, 8192, 4096, 2, 1024 }, { B, 0, 4096, 2, 1024 },
		{ B, 4096, 1024, 2, 512 }, { A, 12288, 1024, 2, 512 }, { B, 61440, 4096, 1, 0 },
	};
	static const char *const wanted[] = {
		"join=one:1048576:8192", "stripe=2:1024", "join=one:1056768:4096", "join=two:0:4096",
		"stripe=2:512", "join=two:4096:1024", "join=one:1060864:1024", "join=two:61440:4096",
	};
	struct lv_join join = { .nr_lvs = 0 };
	const char *why_not;
	char **got;

	note_pv(&join, "one", "/dev/null", A, 1 << 20);
	note_lv(&join, "one", pieces, ARRAY_SIZE(pieces));
	assert_null(lv_join_parameters(&join, &join.lvs[0], &why_not));
	assert_non_null(strstr(why_not, "not all of which are in the group"));
	note_pv(&join, "two", "/dev/null", B, 0);
	got = lv_join_parameters(&join, &join.lvs[0], &why_not);
	assert_null(why_not);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		assert_string_equal(got[i], wanted[i]);
	assert_null(got[ARRAY_SIZE(wanted)]);
	free(got);
	/* Whose is it, of two that say they are the one. */
	note_pv(&join, "copy", "/dev/null", B, 0);
	assert_null(lv_join_parameters(&join, &join.lvs[0], &why_not));
	assert_non_null(strstr(why_not, "the same one"));
	lv_join_fini(&join);
}

static void what_does_not_fit_is_refused(void **state)
{
	static const struct lvm_piece pieces[] = { { A, 0, 4096, 2, 512 }, { B, PV_BYTES - 3584, 4096, 2, 512 } };
	struct lvm_piece many[MAPPING_MAX_PARAMETERS];
	struct lv_join join = { .nr_lvs = 0 };
	const char *why_not;
	char **got;

	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct lvm_piece){ A, 0, 512, 2, 512 };
	note_pv(&join, "one", "/dev/null", A, 0);
	note_pv(&join, "two", "/dev/null", B, 0);
	note_lv(&join, "one", pieces, ARRAY_SIZE(pieces));
	assert_null(lv_join_parameters(&join, &join.lvs[0], &why_not));
	assert_non_null(strstr(why_not, "behind the end"));
	/* Two of three parameters are pieces: not 172, but 170. */
	note_lv(&join, "one", many, 172);
	assert_null(lv_join_parameters(&join, &join.lvs[1], &why_not));
	assert_non_null(strstr(why_not, "too many pieces"));
	note_lv(&join, "one", many, 170);
	got = lv_join_parameters(&join, &join.lvs[2], &why_not);
	assert_non_null(got);
	assert_string_equal(got[252], "stripe=2:512");
	assert_null(got[255]);
	free(got);
	lv_join_fini(&join);
}

static void write_at(int fd, const void *data, size_t bytes, uint64_t offset)
{
	assert_int_equal(pwrite(fd, data, bytes, offset), bytes);
}

/* Only what its disks say makes a mirror one image: read anew, each where its volume says. */
static void a_mirror_is_asked_for_its_state(void **state)
{
	static const struct lvm_piece image[] = { { A, 4096, LVM_DISK_MIRROR_BYTES, 1, 0 } };
	const struct lvm_piece metas[] = { { A, 512, 4096, 1, 0 }, { B, 8192, 4096, 1, 0 } };
	char path[] = "/tmp/lv_join.XXXXXX";
	int fd = mkstemp(path);
	struct content c = { .lv = "vg/m", .pieces = malloc(sizeof(image)), .nr_pieces = 1,
			     .metas = malloc(sizeof(metas)), .nr_metas = 2 };
	struct lv_join join = { .nr_lvs = 0 };
	uint8_t sb[LVM_DISK_SECTOR_BYTES];
	const char *why_not;
	char **got;

	assert_true(fd >= 0);
	memcpy(c.pieces, image, sizeof(image));
	memcpy(c.metas, metas, sizeof(metas));
	assert_int_equal(lv_join_note(&join, "one", path, &c, NULL), 0);
	assert_null(c.metas);
	note_pv(&join, "one", path, A, 0);
	assert_null(lv_join_parameters(&join, &join.lvs[0], &why_not));
	assert_non_null(strstr(why_not, "cannot be read"));
	assert_int_equal(ftruncate(fd, PV_BYTES), 0);
	assert_null(lv_join_parameters(&join, &join.lvs[0], &why_not));
	assert_non_null(strstr(why_not, "not all of which are in the group"));
	note_pv(&join, "two", path, B, 1024);
	assert_null(lv_join_parameters(&join, &join.lvs[0], &why_not));
	assert_non_null(strstr(why_not, "is not understood"));
	lvm_disk_superblock(sb, 0);
	write_at(fd, sb, sizeof(sb), 512);
	lvm_disk_superblock(sb, 1);
	write_at(fd, sb, sizeof(sb), 1024 + 8192);
	got = lv_join_parameters(&join, &join.lvs[0], &why_not);
	assert_null(why_not);
	assert_string_equal(got[0], "join=one:4096:8388608");
	assert_null(got[1]);
	free(got);
	write_at(fd, "\2", 1, 512 + 24);	/* the other one has failed */
	assert_null(lv_join_parameters(&join, &join.lvs[0], &why_not));
	assert_non_null(strstr(why_not, "an image has failed"));
	lv_join_fini(&join);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stripes_are_told_before_their_pieces),
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(a_mirror_is_asked_for_its_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
