// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a write has because of another comes after that one in the ring, also when it
 * is submitted first and changes while it is being copied.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../../userspace/lib/crc32c.h"
#include "harness.h"
#include "selftest.h"

#define GROUP		"order"
#define LONG_BYTES	(4u << 20)
#define LOG_BYTES	4096u
/* Enough of what is looked for; and so long is it waited for, for at least one. */
#define ENOUGH		10
#define PATIENCE_S	60

static struct ring ring;
static uint64_t pos;			/* descriptors below were looked at */
static uint64_t logged;			/* of the newest log record seen */
static atomic_bool stop;
/* The end of the long write: the number of a log write that is durable. */
static _Atomic uint64_t *durable;

FIXTURE(order) {
	int fd, log_fd;
	void *buf;
};

FIXTURE_VARIANT(order) {
	bool tap;
	bool overlap;		/* others write to the blocks of the long write */
};

FIXTURE_VARIANT_ADD(order, dm) {
	.tap = false,
};

FIXTURE_VARIANT_ADD(order, tap) {
	.tap = true,
};

FIXTURE_VARIANT_ADD(order, dm_overlap) {
	.tap = false, .overlap = true,
};

FIXTURE_VARIANT_ADD(order, tap_overlap) {
	.tap = true, .overlap = true,
};

FIXTURE_SETUP(order)
{
	if (variant->tap) {
		tap_create(DISK, GROUP, "v0", 32);
		tap_create(OTHER_DISK, GROUP, "v1", 32);
		self->fd = open(DISK, O_RDWR | O_DIRECT);
		self->log_fd = open(OTHER_DISK, O_RDWR | O_DIRECT);
	} else {
		volume_create("t0", DISK, GROUP, "v0", 32);
		volume_create("t1", OTHER_DISK, GROUP, "v1", 32);
		self->fd = dm_open("t0");
		self->log_fd = dm_open("t1");
	}
	ring_bind(&ring, GROUP);
	pos = ring_head(&ring);
	/* In huge pages, so that it is one bio and one record. */
	self->buf = aligned_alloc(LONG_BYTES, LONG_BYTES);
	madvise(self->buf, LONG_BYTES, MADV_HUGEPAGE);
	memset(self->buf, 0, LONG_BYTES);
	durable = (_Atomic uint64_t *)((uint8_t *)self->buf + LONG_BYTES) - 1;
}

FIXTURE_TEARDOWN(order)
{
	close(self->fd);
	close(self->log_fd);
	free(self->buf);
	ring_unbind(&ring);
	if (variant->tap) {
		tap_remove(GROUP, "v0");
		tap_remove(GROUP, "v1");
	} else {
		volume_remove("t0", GROUP, "v0");
		volume_remove("t1", GROUP, "v1");
	}
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
}

/* Writes a number to the log; when it is there, to the page of the long write. */
static void *log_thread(void *arg)
{
	uint64_t *block = aligned_alloc(LOG_BYTES, LOG_BYTES), n = 0;
	int fd = *(int *)arg;

	while (!stop) {
		memset(block, 0, LOG_BYTES);
		block[0] = ++n;
		if (pwrite(fd, block, LOG_BYTES, 0) != LOG_BYTES)
			give_up("the log cannot be written");
		*durable = n;
	}
	free(block);
	return NULL;
}

/* Writes where the long write does. */
static void *overlap_thread(void *arg)
{
	void *block = pattern(LOG_BYTES, 7);
	int fd = *(int *)arg;

	while (!stop)
		if (pwrite(fd, block, LOG_BYTES, LONG_BYTES / 2) != LOG_BYTES)
			give_up("the disk cannot be written");
	free(block);
	return NULL;
}

static uint64_t word_at_end(const struct blkship_desc *d)
{
	uint64_t word;

	memcpy(&word, ring_payload(&ring, d) + d->length_bytes - sizeof(word),
	       sizeof(word));
	return word;
}

/*
 * The ring up to the watermark: what is wrong with its order or its records, or "".
 * Where writes overlap there are events of which the ring has no record, and records
 * that are gaps.
 */
static const char *disorder(bool overlap)
{
	uint64_t watermark = ring_watermark(&ring), head = ring_head(&ring);
	uint64_t seq = pos ? ring_desc(&ring, pos - 1)->seq : 0;
	static char wrong[128];

	for (; pos < head; pos++) {
		const struct blkship_desc *d = ring_desc(&ring, pos);

		if (d->seq > watermark)
			break;
		if (pos && d->seq != seq + 1 && !overlap) {
			snprintf(wrong, sizeof(wrong), "no record %llu",
				 (unsigned long long)seq + 1);
			return wrong;
		}
		seq = d->seq;
		if (d->state == BLKSHIP_STATE_ABORTED ||
		    (d->state == BLKSHIP_STATE_GAP && overlap))
			continue;
		if (d->state != BLKSHIP_STATE_DONE ||
		    crc32c(ring_payload(&ring, d), d->length_bytes) != d->crc32c) {
			snprintf(wrong, sizeof(wrong), "record %llu is bad",
				 (unsigned long long)seq);
			return wrong;
		}
		if (d->volume == 1) {
			memcpy(&logged, ring_payload(&ring, d), sizeof(logged));
		} else if (d->offset_bytes + d->length_bytes == LONG_BYTES &&
			   word_at_end(d) > logged) {
			snprintf(wrong, sizeof(wrong),
				 "record %llu has what was written because of %llu, the log has %llu",
				 (unsigned long long)seq,
				 (unsigned long long)word_at_end(d),
				 (unsigned long long)logged);
			return wrong;
		}
	}
	return "";
}

TEST_F(order, what_depends_on_a_write_comes_after_it)
{
	/* With dm one that others wait for cannot go behind them: it is a gap. */
	const uint64_t *met = variant->overlap && !variant->tap ?
		(const uint64_t *)&ring.kernel->uncaptured :
		(const uint64_t *)&ring.kernel->renewed;
	time_t until = time(NULL) + PATIENCE_S;
	pthread_t log, overlap;
	const char *wrong = "";

	ASSERT_EQ(0, pthread_create(&log, NULL, log_thread, &self->log_fd));
	if (variant->overlap) {
		ASSERT_EQ(0, pthread_create(&overlap, NULL, overlap_thread,
					    &self->fd));
	}
	while (!wrong[0] && time(NULL) < until &&
	       __atomic_load_n(met, __ATOMIC_RELAXED) < ENOUGH) {
		EXPECT_EQ(LONG_BYTES, pwrite(self->fd, self->buf, LONG_BYTES, 0));
		wrong = disorder(variant->overlap);
		ring_release_all(&ring);
	}
	stop = true;
	pthread_join(log, NULL);
	if (variant->overlap)
		pthread_join(overlap, NULL);
	EXPECT_STREQ("", wrong);
	EXPECT_TRUE(ring_settle(&ring));
	EXPECT_STREQ("", disorder(variant->overlap));
	EXPECT_GE(*met, 1);
	EXPECT_EQ(0, ring.kernel->aborted);
	if (!variant->overlap) {
		EXPECT_EQ(0, ring.kernel->uncaptured);
	}
}

TEST_HARNESS_MAIN
