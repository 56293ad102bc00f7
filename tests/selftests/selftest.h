/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * selftest - what the programs that test the real module share: volumes made by
 * dmsetup, the consumer's side of a ring, netlink. They run as root in a throw-away
 * guest with the module loaded, and have their tests in the form of harness.h.
 */
#ifndef BLKSHIP_SELFTEST_H
#define BLKSHIP_SELFTEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/blkship.h>

#ifndef ARRAY_SIZE	/* the kernel's kselftest.h has it as well */
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#endif
#define DISK		"/dev/vda"	/* 64 MiB, scratch */
#define OTHER_DISK	"/dev/vdb"	/* the same */
#define DISK_SECTORS	131072ULL

/* End a test, of which this is the process, that cannot go on: it has failed. */
_Noreturn void give_up(const char *what, ...)
	__attribute__((format(printf, 1, 2)));

/* -- the system -- */

/* Run a command of the shell; its exit status. */
int sh(const char *command, ...) __attribute__((format(printf, 1, 2)));
/* First line of a command's output, in a buffer of this function. */
const char *sh_line(const char *command, ...)
	__attribute__((format(printf, 1, 2)));
/* dmsetup create NAME with a table of one line; gives up when it fails. */
void dm_create(const char *name, const char *table, ...)
	__attribute__((format(printf, 2, 3)));
void dm_remove(const char *name);
/* A blkship volume of the whole disk with a ring of so many MiB. */
void volume_create(const char *name, const char *disk, const char *group,
		   const char *volume, unsigned int ring_mib);
/* Detach on purpose, remove the dm device. */
void volume_remove(const char *name, const char *group, const char *volume);
/* The same with the tap; gives up when it is refused. */
void tap_create(const char *device, const char *group, const char *volume,
		unsigned int ring_mib);
void tap_remove(const char *group, const char *volume);
/* Open /dev/mapper/NAME for direct reads and writes. */
int dm_open(const char *name);
void sleep_ms(unsigned int ms);
/* Poll until it is true; false after 10 s. */
bool wait_until(bool (*is_true)(void *), void *arg);

/* A buffer for direct I/O, filled with a pattern of this seed. */
void *pattern(size_t bytes, unsigned int seed);

/* A write in a thread of its own. */
struct async;
struct async *async_write(int fd, const void *buf, size_t bytes, uint64_t at);
/* Wait for its end; what pwrite() returned, or -errno. */
long async_wait(struct async *a);
bool async_ended(struct async *a);

/* -- the consumer's side -- */

struct ring {
	int fd;
	const struct blkship_ring_kernel *kernel;
	struct blkship_ring_consumer *consumer;
	const struct blkship_desc *descs;
	const uint8_t *payload;
};

/* Open, bind, map. ring_try() returns 0 or -errno; ring_bind() gives up. */
int ring_try(struct ring *r, const char *group);
void ring_bind(struct ring *r, const char *group);
void ring_unbind(struct ring *r);
uint64_t ring_newest(const struct ring *r);
uint64_t ring_watermark(const struct ring *r);
uint64_t ring_head(const struct ring *r);
/* Wait for the watermark to reach the newest seq. */
bool ring_settle(const struct ring *r);
const struct blkship_desc *ring_desc(const struct ring *r, uint64_t pos);
const uint8_t *ring_payload(const struct ring *r, const struct blkship_desc *d);
/* Give back all descriptors below the watermark. */
void ring_release_all(struct ring *r);
/* The descriptor with this seq, or NULL when the ring has none: a gap. */
const struct blkship_desc *ring_find(const struct ring *r, uint64_t seq);
/* Number of dirty (or repairing) regions of [first, first + count). */
unsigned int ring_marked(const struct ring *r, unsigned int volume,
			 unsigned int which, uint64_t first,
			 unsigned int count);
/* Take all dirty regions over and acknowledge them: nothing is dirty then. */
void ring_clean(const struct ring *r, unsigned int volume);

/* -- netlink -- */

/* 0 or -errno; text of the kernel's extended ack in netlink_message. */
int netlink_command(int command, const char *group, const char *volume);
extern char netlink_message[256];
/* A device's number, as the kernel has it. */
uint32_t netlink_dev(const char *device);
/* Attach a tap; the same. */
int netlink_tap(const char *device, const char *group, const char *volume,
		unsigned int ring_mib);
/* With a metadata device, unless that is NULL. */
int netlink_tap_meta(const char *device, const char *meta, const char *group, const char *volume,
		     unsigned int ring_mib);

struct netlink_event {
	unsigned int event;		/* enum blkship_event */
	char group[BLKSHIP_NAME_BYTES];
	char volume[BLKSHIP_NAME_BYTES];
};
/* Listen to events; a socket or -errno. */
int netlink_listen(void);
/* The next event; false after 5 s. */
bool netlink_next(int fd, struct netlink_event *event);
/* Wait for a particular event, passing over others. */
bool netlink_expect(int fd, unsigned int event, const char *volume);

/* List: fn gets the attributes of each message, index by enum blkship_attr. */
struct nlattr;
int netlink_dump(int command, const char *group,
		 void (*fn)(struct nlattr **attrs, void *arg), void *arg);

#endif
