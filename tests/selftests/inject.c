// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults made on purpose, on kernels with fault injection. The n-th allocation or
 * copy from or to userspace of this thread fails, for n = 1, 2 ... until an
 * operation has no n-th one: each time it must succeed or fail as a whole, and
 * what it leaves must be usable. Reports and leaks are the guest's business.
 * Then the disk fails: requests are refused below the volume.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/dm-ioctl.h>
#include <linux/netlink.h>

#include "fault.h"
#include "harness.h"
#include "raw.h"
#include "selftest.h"

#define GROUP	"inj"
#define VOLUME	"v0"
#define NAME	"t0"
#define REGION	((uint64_t)BLKSHIP_REGION_BYTES)
#define REGIONS	(DISK_SECTORS * 512 / REGION)
#define FAULTS_MAX 3000u	/* an operation that has more is not of ours */
#define TIMEOUT_S 900		/* of a test, which may be some hundred operations */

/* -- trying -- */

/*
 * What is tried. Between begin and end nothing fails on purpose. end() gets what
 * run() returned, 0 or -errno, and puts everything back; it returns what is wrong,
 * or NULL.
 */
struct operation {
	const char *name;
	void (*begin)(void);
	int (*run)(void);
	const char *(*end)(int ret);
};

/*
 * Whether an error leaves it open that the operation was done: where the answer
 * could not be delivered.
 */
static bool answer_lost(int ret)
{
	return ret == -EFAULT || ret == -ENOBUFS;
}

static void try_all(struct __test_metadata *_metadata, const struct operation *o)
{
	unsigned int n, errors = 0;
	const char *wrong = NULL;
	bool hit = true;
	int ret = 0;

	for (n = 1; hit && !wrong && n <= FAULTS_MAX; n++) {
		if (o->begin)
			o->begin();
		fail_nth(n);
		ret = o->run();
		hit = fault_happened();
		wrong = o->end(ret);
		errors += ret != 0;
	}
	TH_LOG("%s: %u faults, %u errors", o->name, n - 2, errors);
	EXPECT_NULL(wrong)
		TH_LOG("%s: fault %u, result %d: %s", o->name, n - 1, ret, wrong);
	/* Without a fault it is done, and there is something that can fail. */
	EXPECT_FALSE(hit);
	EXPECT_EQ(0, ret);
	EXPECT_GT(n, 2);
}

/* -- the device -- */

static int table_load(uint64_t sectors)
{
	return raw_dm(DM_TABLE_LOAD, NAME,
		      DISK " 0 " GROUP " " VOLUME " ring_mib 1", sectors);
}

static int device_resume(void)
{
	return raw_dm(DM_DEV_SUSPEND, NAME, NULL, 0);
}

static void must(int ret, const char *what)
{
	if (ret)
		give_up("%s: %s", what, strerror(-ret));
}

static void device_create(void)
{
	must(raw_dm(DM_DEV_CREATE, NAME, NULL, 0), "DM_DEV_CREATE");
}

static void device_load(void)
{
	device_create();
	must(table_load(DISK_SECTORS), "DM_TABLE_LOAD");
}

static void device_start(void)
{
	device_load();
	must(device_resume(), "DM_DEV_SUSPEND");
}

/* -- what there is -- */

static bool group_exists(void)
{
	int ret = raw_ask(BLKSHIP_CMD_GROUP_GET, GROUP, NULL);

	if (ret && ret != -ENOENT)
		give_up("GROUP_GET: %s", strerror(-ret));
	return !ret;
}

static const char *group_remove(void)
{
	int ret = raw_ask(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL);

	return ret && ret != -ENOENT ? "the group cannot be deleted" : NULL;
}

/* Remove device, volume and group, as far as they are there. */
static const char *device_end(void)
{
	int ret = raw_ask(BLKSHIP_CMD_VOLUME_DEL, GROUP, VOLUME);

	if (ret && ret != -ENOENT)
		return "the volume cannot be detached";
	ret = raw_dm(DM_DEV_REMOVE, NAME, NULL, 0);
	if (ret && ret != -ENXIO)
		return "the device cannot be removed";
	return group_remove();
}

/* Done when it succeeded, not done when it failed. */
static bool fits(int ret, bool done)
{
	return answer_lost(ret) || done == !ret;
}

/* -- operations on groups and volumes -- */

static int group_new_run(void)
{
	return raw_request(BLKSHIP_CMD_GROUP_NEW, NLM_F_ACK, GROUP, NULL);
}

static const char *group_new_end(int ret)
{
	bool good = fits(ret, group_exists());

	raw_close();
	return good ? group_remove() : "the group does not fit the result";
}

static void group_begin(void)
{
	raw_open();
	must(group_new_run(), "GROUP_NEW");
}

static int group_del_run(void)
{
	return raw_request(BLKSHIP_CMD_GROUP_DEL, NLM_F_ACK, GROUP, NULL);
}

static const char *group_del_end(int ret)
{
	bool good = fits(ret, !group_exists());

	raw_close();
	return good ? group_remove() : "the group does not fit the result";
}

static int group_get_run(void)
{
	return raw_request(BLKSHIP_CMD_GROUP_GET, NLM_F_ACK, GROUP, NULL);
}

static int groups_dump_run(void)
{
	return raw_request(BLKSHIP_CMD_GROUP_GET, NLM_F_DUMP, NULL, NULL);
}

static int volumes_dump_run(void)
{
	return raw_request(BLKSHIP_CMD_VOLUME_GET, NLM_F_DUMP, GROUP, NULL);
}

static const char *request_end(int ret)
{
	raw_close();
	return ret == -EAGAIN ? "no answer" : NULL;
}

static int volume_del_run(void)
{
	return raw_request(BLKSHIP_CMD_VOLUME_DEL, NLM_F_ACK, GROUP, VOLUME);
}

static void volume_del_begin(void)
{
	device_start();
	raw_open();
}

static const char *volume_del_end(int ret)
{
	raw_close();
	if (!ret && raw_ask(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL) != -EBUSY)
		return "the device has lost its volume";
	return device_end();
}

/* -- operations on a tap -- */

static const char *tap_end(void)
{
	int ret = raw_ask(BLKSHIP_CMD_VOLUME_DEL, GROUP, VOLUME);

	if (ret && ret != -ENOENT)
		return "the tap cannot be detached";
	return group_remove();
}

static int tap_add_run(void)
{
	return raw_request(BLKSHIP_CMD_TAP_ADD, NLM_F_ACK, GROUP, VOLUME);
}

/* One that has failed leaves nothing, and the disk can be tapped. */
static const char *tap_add_end(int ret)
{
	bool good = fits(ret, group_exists());
	const char *wrong;

	raw_close();
	if (!good)
		return "the group does not fit the result";
	wrong = tap_end();
	if (wrong || !ret)
		return wrong;
	raw_open();
	ret = tap_add_run();
	raw_close();
	return ret ? "the disk cannot be tapped any more" : tap_end();
}

static void tap_begin(void)
{
	raw_open();
	must(tap_add_run(), "TAP_ADD");
}

static const char *tap_del_end(int ret)
{
	raw_close();
	/* A group with a volume cannot go. */
	if (!fits(ret, raw_ask(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL) != -EBUSY))
		return "the volume does not fit the result";
	return tap_end();
}

/* -- operations on the device -- */

static int table_load_run(void)
{
	return table_load(DISK_SECTORS);
}

static const char *table_load_end(int ret)
{
	if (!fits(ret, group_exists()))
		return "the group does not fit the result";
	if (raw_dm(DM_TABLE_CLEAR, NAME, NULL, 0))
		return "the table cannot be dropped";
	return group_exists() ? "the group is left behind" : NULL;
}

static const char *device_resume_end(int ret)
{
	(void)ret;
	return device_end();
}

static int table_grow_run(void)
{
	return table_load(DISK_SECTORS / 2);
}

static const char *table_grow_end(int ret)
{
	int cleared = raw_dm(DM_TABLE_CLEAR, NAME, NULL, 0);

	(void)ret;
	return cleared ? "the new table cannot be dropped" : NULL;
}

static int status_run(void)
{
	return raw_dm(DM_TABLE_STATUS, NAME, NULL, 0);
}

static const char *nothing_end(int ret)
{
	(void)ret;
	return NULL;
}

static int remove_run(void)
{
	return raw_dm(DM_DEV_REMOVE, NAME, NULL, 0);
}

/* -- operations of the consumer -- */

static struct ring ring;
static struct {
	uint64_t at;
	size_t bytes;
	int rights;
	void *memory;
} areas[] = {
	{ BLKSHIP_MMAP_KERNEL, 4096, PROT_READ, MAP_FAILED },
	{ BLKSHIP_MMAP_CONSUMER, 4096, PROT_READ | PROT_WRITE, MAP_FAILED },
	{ BLKSHIP_MMAP_DESC, 65536, PROT_READ, MAP_FAILED },
	{ BLKSHIP_MMAP_PAYLOAD, 1 << 20, PROT_READ, MAP_FAILED },
};
static int consumer_fd;

static int consumer_try(void)
{
	static uint64_t bits[REGIONS / 64];
	static struct blkship_bind bind;
	static struct blkship_take take;
	static struct blkship_map_read read;
	static struct blkship_volume_info info;

	bind = (struct blkship_bind){ GROUP, BLKSHIP_ABI_VERSION, 0 };
	take = (struct blkship_take){
		.count = REGIONS, .max_regions = 7, .bitmap = (uintptr_t)bits,
	};
	read = (struct blkship_map_read){
		.which = BLKSHIP_MAP_REPAIRING, .count = REGIONS,
		.bitmap = (uintptr_t)bits,
	};
	info = (struct blkship_volume_info){ .volume = 0 };

	consumer_fd = open("/dev/blkship", O_RDWR | O_CLOEXEC);
	if (consumer_fd < 0 || ioctl(consumer_fd, BLKSHIP_IOC_BIND, &bind))
		return -errno;
	for (unsigned int i = 0; i < ARRAY_SIZE(areas); i++) {
		areas[i].memory = mmap(NULL, areas[i].bytes, areas[i].rights,
				       MAP_SHARED, consumer_fd, areas[i].at);
		if (areas[i].memory == MAP_FAILED)
			return -errno;
	}
	if (ioctl(consumer_fd, BLKSHIP_IOC_TAKE, &take) ||
	    ioctl(consumer_fd, BLKSHIP_IOC_MAP_READ, &read) ||
	    ioctl(consumer_fd, BLKSHIP_IOC_VOLUME, &info))
		return -errno;
	return take.taken == 7 && info.repairing_regions == 7 ? 0 : -EPROTO;
}

static const char *consumer_end(int ret)
{
	unsigned int dirty;

	for (unsigned int i = 0; i < ARRAY_SIZE(areas); i++) {
		if (areas[i].memory != MAP_FAILED)
			munmap(areas[i].memory, areas[i].bytes);
		areas[i].memory = MAP_FAILED;
	}
	if (consumer_fd >= 0)
		close(consumer_fd);
	if (ret == -EPROTO)
		return "not as many regions taken as asked for";
	if (ring_try(&ring, GROUP))
		return "the next consumer cannot bind";
	dirty = ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, REGIONS);
	ring_unbind(&ring);
	return dirty == REGIONS ? NULL : "a region is not dirty any more";
}

static int volume_fd;
static void *data;
static uint64_t newest;

static void write_begin(void)
{
	newest = ring_newest(&ring);
}

static int write_run(void)
{
	ssize_t done = pwrite(volume_fd, data, 8192, 3 * REGION);

	return done < 0 ? -errno : done == 8192 ? 0 : -EIO;
}

static const char *write_end(int ret)
{
	const struct blkship_desc *d = ring_find(&ring, newest + 1);

	if (!ring_settle(&ring))
		return "the ring does not settle";
	ring_release_all(&ring);
	if (!ret && (!d || d->state != BLKSHIP_STATE_DONE ||
		     d->length_bytes != 8192))
		return "it was not captured";
	return NULL;
}

/* -- loading the module -- */

static int module_fd;

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static int module_run(void)
{
	return syscall(SYS_finit_module, module_fd, "", 0) ? -errno : 0;
}

static const char *module_end(int ret)
{
	if (exists("/sys/module/blkship") != !ret ||
	    exists("/dev/blkship") != !ret || raw_dm_target_exists("blkship") != !ret)
		return "what is left does not fit the result";
	if (!ret && syscall(SYS_delete_module, "blkship", 0))
		return "it cannot be unloaded";
	return NULL;
}

/* -- the tests -- */

FIXTURE(faults) {
};

FIXTURE_SETUP(faults)
{
	if (!faults_possible()) {
		/* The kernel that is built for this must not get away with it. */
		ASSERT_EQ(NULL, strstr(sh_line("uname -r"), "debug"));
		SKIP(return, "this kernel has no fault injection");
	}
	faults_init();
	raw_init();
}

FIXTURE_TEARDOWN(faults)
{
	faults_only_below(NULL);
	raw_fini();
}

/* The rest of loading is not ours, and long. */
TEST_F_TIMEOUT(faults, load_the_module, TIMEOUT_S)
{
	static const struct operation load = {
		"loading the module", NULL, module_run, module_end,
	};

	ASSERT_EQ(0, syscall(SYS_delete_module, "blkship", 0));
	module_fd = open("/test/blkship.ko", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, module_fd);
	faults_only_below("do_one_initcall");
	try_all(_metadata, &load);
	faults_only_below(NULL);
	ASSERT_EQ(0, module_run());
	close(module_fd);
}

TEST_F_TIMEOUT(faults, make_and_delete_a_group, TIMEOUT_S)
{
	static const struct operation operations[] = {
		{ "making a group", raw_open, group_new_run, group_new_end },
		{ "deleting a group", group_begin, group_del_run,
		  group_del_end },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(operations); i++)
		try_all(_metadata, &operations[i]);
}

TEST_F_TIMEOUT(faults, load_a_table, TIMEOUT_S)
{
	static const struct operation load = {
		"loading a table", NULL, table_load_run, table_load_end,
	};

	/*
	 * A slab cache whose making fails half-way, as device-mapper makes one for
	 * a table, leaks its name: 6.12 does that by itself.
	 */
	faults_not_below("do_kmem_cache_create");
	device_create();
	try_all(_metadata, &load);
	EXPECT_EQ(0, raw_dm(DM_DEV_REMOVE, NAME, NULL, 0));
}

TEST_F_TIMEOUT(faults, attach_and_detach, TIMEOUT_S)
{
	static const struct operation operations[] = {
		{ "the first resume", device_load, device_resume,
		  device_resume_end },
		{ "detaching a volume", volume_del_begin, volume_del_run,
		  volume_del_end },
		{ "removing a device", device_start, remove_run,
		  device_resume_end },
	};

	faults_not_below("do_kmem_cache_create");
	for (unsigned int i = 0; i < ARRAY_SIZE(operations); i++)
		try_all(_metadata, &operations[i]);
}

static const struct operation tap_operations[] = {
	{ "tapping a disk", raw_open, tap_add_run, tap_add_end },
	{ "detaching a tap", tap_begin, volume_del_run, tap_del_end },
};

TEST_F_TIMEOUT(faults, tap_and_detach, TIMEOUT_S)
{
	raw_tap_devices(netlink_dev(DISK), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(tap_operations); i++)
		try_all(_metadata, &tap_operations[i]);
}

/* With a metadata device. */
TEST_F_TIMEOUT(faults, tap_and_detach_with_meta, TIMEOUT_S)
{
	ASSERT_EQ(0, sh("dd if=/dev/zero of=" OTHER_DISK " bs=1M count=2 oflag=direct 2>/dev/null"));
	raw_tap_devices(netlink_dev(DISK), netlink_dev(OTHER_DISK));
	for (unsigned int i = 0; i < ARRAY_SIZE(tap_operations); i++)
		try_all(_metadata, &tap_operations[i]);
	EXPECT_EQ(0, sh("dd if=/dev/zero of=" OTHER_DISK " bs=1M count=2 oflag=direct 2>/dev/null"));
}

/* With a volume attached. */
FIXTURE(attached) {
};

FIXTURE_SETUP(attached)
{
	faults_setup(_metadata, NULL, NULL);
	if (_metadata->exit_code)
		return;
	device_start();
}

FIXTURE_TEARDOWN(attached)
{
	EXPECT_NULL(device_end());
	faults_teardown(_metadata, NULL, NULL);
}

TEST_F_TIMEOUT(attached, look_and_list, TIMEOUT_S)
{
	static const struct operation operations[] = {
		{ "loading a table of another size", NULL, table_grow_run,
		  table_grow_end },
		{ "the status of a device", NULL, status_run, nothing_end },
		{ "looking at a group", raw_open, group_get_run, request_end },
		{ "listing groups", raw_open, groups_dump_run, request_end },
		{ "listing volumes", raw_open, volumes_dump_run, request_end },
	};

	faults_not_below("do_kmem_cache_create");
	for (unsigned int i = 0; i < ARRAY_SIZE(operations); i++)
		try_all(_metadata, &operations[i]);
}

TEST_F_TIMEOUT(attached, consume, TIMEOUT_S)
{
	static const struct operation binding = {
		"binding, mapping and taking regions", NULL, consumer_try,
		consumer_end,
	};

	try_all(_metadata, &binding);
}

TEST_F_TIMEOUT(attached, write, TIMEOUT_S)
{
	static const struct operation writing = {
		"writing", write_begin, write_run, write_end,
	};

	sh("dmsetup mknodes");
	ring_bind(&ring, GROUP);
	volume_fd = dm_open(NAME);
	data = pattern(8192, 1);
	try_all(_metadata, &writing);
	close(volume_fd);
	free(data);
	ring_unbind(&ring);
}

/* An event that cannot be told must not be missed in silence. */
TEST_F_TIMEOUT(faults, lost_event_is_told, TIMEOUT_S)
{
	int events = netlink_listen(), error = 0;
	socklen_t size = sizeof(error);
	struct netlink_event event;
	unsigned int n, lost = 0;
	bool hit = true, told = true;

	faults_only_below("blkship_event");
	for (n = 1; hit && told && n <= FAULTS_MAX; n++) {
		raw_open();
		fail_nth(n);
		group_new_run();
		hit = fault_happened();
		raw_close();
		/* Asking for the error takes it away. */
		getsockopt(events, SOL_SOCKET, SO_ERROR, &error, &size);
		lost += error == ENOBUFS;
		/* With it the socket may be closed to more until it is read. */
		if (error == ENOBUFS)
			recv(events, &event, sizeof(event), MSG_DONTWAIT);
		told = error == ENOBUFS ||
		       (netlink_next(events, &event) &&
			event.event == BLKSHIP_EVENT_GROUP_NEW);
		group_remove();
		if (!netlink_expect(events, BLKSHIP_EVENT_GROUP_DEL, NULL))
			told = false;
	}
	close(events);
	TH_LOG("%u faults, %u lost events", n - 2, lost);
	EXPECT_TRUE(told);
	EXPECT_FALSE(hit);
	EXPECT_NE(0, lost);
}

/* -- the disk -- */

#define WRITES 64

static void disk_fails(bool on)
{
	fault_set("fail_make_request/times", "-1");
	fault_set("fail_make_request/interval", "1");
	fault_set("fail_make_request/probability", on ? "50" : "0");
	sh("echo %d > /sys/block/%s/make-it-fail", on, DISK + strlen("/dev/"));
}

/* Each at a region of its own: what failed there is told by its dirty bit. */
TEST_F(faults, disk_refuses_some_writes)
{
	struct async *writes[WRITES];
	unsigned int failed = 0, wrong = 0;
	const struct blkship_desc *d;
	bool region_failed[WRITES];
	uint64_t base;

	volume_create(NAME, DISK, GROUP, VOLUME, 4);
	ring_bind(&ring, GROUP);
	ring_clean(&ring, 0);
	volume_fd = dm_open(NAME);
	data = pattern(8192, 2);
	base = ring_newest(&ring);
	disk_fails(true);
	for (unsigned int i = 0; i < WRITES; i++)
		writes[i] = async_write(volume_fd, data, 8192, i * REGION);
	for (unsigned int i = 0; i < WRITES; i++) {
		long ret = async_wait(writes[i]);

		region_failed[i] = ret != 8192;
		failed += region_failed[i];
		wrong += region_failed[i] && ret != -EIO;
	}
	disk_fails(false);
	EXPECT_NE(0, failed);
	EXPECT_LT(failed, WRITES);
	EXPECT_EQ(0, wrong);
	/* Each took a seq, each failure another, and so did each that was renewed. */
	EXPECT_TRUE(ring_settle(&ring));
	EXPECT_EQ(base + WRITES + failed + ring.kernel->renewed,
		  ring_newest(&ring));
	EXPECT_EQ(failed, ring.kernel->failed);
	/* The records of those that failed say so, and no others. */
	for (uint64_t seq = base + 1; seq <= ring_newest(&ring); seq++) {
		d = ring_find(&ring, seq);
		if (d && d->state != BLKSHIP_STATE_ABORTED &&
		    (d->state == BLKSHIP_STATE_FAILED) !=
		    region_failed[d->offset_bytes / REGION])
			wrong++;
	}
	EXPECT_EQ(0, wrong);
	/* Their ranges are dirty, and no others. */
	for (unsigned int i = 0; i < WRITES; i++) {
		EXPECT_EQ(region_failed[i],
			  ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, i, 1));
	}
	EXPECT_EQ(failed, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, REGIONS));
	/* Then the disk takes writes again. */
	EXPECT_EQ(8192, pwrite(volume_fd, data, 8192, 0));
	close(volume_fd);
	free(data);
	ring_unbind(&ring);
	volume_remove(NAME, GROUP, VOLUME);
	EXPECT_NULL(group_remove());
}

TEST_HARNESS_MAIN
