// SPDX-License-Identifier: GPL-2.0-only
#include "dm.h"

#include <errno.h>
#include <fcntl.h>
#include <libdevmapper.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TARGET_TYPE "blkship"

/* What libdevmapper would have printed: its first complaint is the one that counts. */
static char library_text[DM_TEXT_BYTES];

__attribute__((format(printf, 5, 6)))
static void library_log(int level, const char *file, int line, int dm_errno, const char *format,
			...)
{
	va_list args;

	if ((level & 7) > 4 || library_text[0])
		return;
	va_start(args, format);
	vsnprintf(library_text, sizeof(library_text), format, args);
	va_end(args);
}

/* udev makes the nodes where it runs, and must be waited for; else we make them. */
static bool udev_runs(void)
{
	return access("/run/udev/control", F_OK) == 0;
}

static void library_init(void)
{
	library_text[0] = 0;
	dm_log_with_errno_init(library_log);
	dm_udev_set_sync_support(udev_runs());
}

static int task_error(struct dm_task *task, const char *name, char *why)
{
	int err = task ? dm_task_get_errno(task) : ENOMEM;

	if (err == 0)
		err = EIO;
	if (access("/dev/mapper/control", F_OK) < 0 && err != EBUSY)
		snprintf(why, DM_TEXT_BYTES, "device-mapper is not there; load it with: modprobe dm_mod");
	else
		snprintf(why, DM_TEXT_BYTES, "%.80s: %s%s%.120s", name, strerror(err),
			 library_text[0] ? ": " : "", library_text);
	return -err;
}

/* -- what the kernel says of a table it refuses goes to its log only -- */

static int kernel_log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

static void kernel_log_reason(int fd, char *why)
{
	char record[1024], *text, *end;
	ssize_t n;

	while (fd >= 0 && ((n = read(fd, record, sizeof(record) - 1)) > 0 || errno == EPIPE)) {
		if (n <= 0)
			continue;
		record[n] = 0;
		end = strchr(record, '\n');
		if (end)
			*end = 0;
		text = strstr(record, "device-mapper: table: ");
		if (text)
			text = strstr(text, ": " TARGET_TYPE ": ");
		if (text) {
			snprintf(why, DM_TEXT_BYTES, "%s", text + strlen(": " TARGET_TYPE ": "));
			text = strstr(why, " (-E");	/* the number again, for kernel people */
			if (text)
				*text = 0;
			return;
		}
	}
}

/* -- tasks -- */

static int task_run_with_udev(struct dm_task *task)
{
	uint32_t cookie = 0;
	int ok;

	if (!udev_runs()) {
		ok = dm_task_run(task);
		dm_task_update_nodes();
		return ok;
	}
	if (!dm_task_set_cookie(task, &cookie, 0))
		return 0;
	ok = dm_task_run(task);
	dm_udev_wait(cookie);
	return ok;
}

int dmdev_create(const char *name, uint64_t sectors, const char *params, char *why)
{
	struct dm_task *task;
	int kmsg, ret = 0;

	/* The library does not tell this failure from others. */
	if (dmdev_open_count(name, why) >= 0) {
		snprintf(why, DM_TEXT_BYTES, "there is a device-mapper device %.80s already", name);
		return -EEXIST;
	}
	kmsg = kernel_log_open();
	library_init();
	task = dm_task_create(DM_DEVICE_CREATE);
	if (!task || !dm_task_set_name(task, name) ||
	    !dm_task_add_target(task, 0, sectors, TARGET_TYPE, params) ||
	    !dm_task_set_add_node(task, DM_ADD_NODE_ON_CREATE) || !task_run_with_udev(task)) {
		ret = task_error(task, name, why);
		kernel_log_reason(kmsg, why);
	}
	if (task)
		dm_task_destroy(task);
	if (kmsg >= 0)
		close(kmsg);
	return ret;
}

int dmdev_remove(const char *name, char *why)
{
	struct dm_task *task;
	int ret = 0;

	library_init();
	task = dm_task_create(DM_DEVICE_REMOVE);
	/* udev and blkid look into new devices: what is busy now may not be soon. */
	if (!task || !dm_task_set_name(task, name) || !dm_task_retry_remove(task) ||
	    !task_run_with_udev(task))
		ret = task_error(task, name, why);
	if (task)
		dm_task_destroy(task);
	return ret == -ENXIO ? -ENOENT : ret;
}

int dmdev_open_count(const char *name, char *why)
{
	struct dm_task *task;
	struct dm_info info;
	int ret;

	library_init();
	task = dm_task_create(DM_DEVICE_INFO);
	if (!task || !dm_task_set_name(task, name) || !dm_task_run(task) ||
	    !dm_task_get_info(task, &info))
		ret = task_error(task, name, why);
	else
		ret = info.exists ? info.open_count : -ENOENT;
	if (task)
		dm_task_destroy(task);
	return ret;
}

/* Does a device's table feed this volume? */
static bool table_names(struct dm_task *task, const char *group, const char *volume, bool *alone)
{
	uint64_t start, length;
	unsigned int targets = 0;
	bool found = false;
	void *next = NULL;
	char *type, *params;

	do {
		char g[BLKSHIP_NAME_BYTES], v[BLKSHIP_NAME_BYTES];

		next = dm_get_next_target(task, next, &start, &length, &type, &params);
		if (!type)
			break;
		targets++;
		if (strcmp(type, TARGET_TYPE) == 0 &&
		    sscanf(params, "%*s %*s %31s %31s", g, v) == 2 && strcmp(g, group) == 0 &&
		    strcmp(v, volume) == 0)
			found = true;
	} while (next);
	*alone = targets == 1;
	return found;
}

static bool device_feeds(const char *name, const char *group, const char *volume, bool *alone)
{
	struct dm_task *task = dm_task_create(DM_DEVICE_TABLE);
	bool found = task && dm_task_set_name(task, name) && dm_task_run(task) &&
		     table_names(task, group, volume, alone);

	if (task)
		dm_task_destroy(task);
	return found;
}

int dmdev_find(const char *group, const char *volume, char *name, bool *alone, char *why)
{
	struct dm_task *task;
	struct dm_names *names;
	int ret = -ENOENT;

	library_init();
	task = dm_task_create(DM_DEVICE_LIST);
	if (!task || !dm_task_run(task) || !(names = dm_task_get_names(task))) {
		ret = task_error(task, "list", why);
		goto out;
	}
	while (names->dev) {
		if (device_feeds(names->name, group, volume, alone)) {
			snprintf(name, DM_NAME_BYTES, "%s", names->name);
			ret = 0;
			break;
		}
		if (!names->next)
			break;
		names = (struct dm_names *)((char *)names + names->next);
	}
	if (ret < 0)
		snprintf(why, DM_TEXT_BYTES, "no device-mapper device feeds it");
out:
	if (task)
		dm_task_destroy(task);
	return ret;
}
