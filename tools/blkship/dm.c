// SPDX-License-Identifier: GPL-2.0-only
#include "dm.h"

#include <errno.h>
#include <fcntl.h>
#include <libdevmapper.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
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

static int task_run_with_udev(struct dm_task *task, uint16_t udev_flags)
{
	uint32_t cookie = 0;
	int ok;

	if (!udev_runs()) {
		ok = dm_task_run(task);
		dm_task_update_nodes();
		return ok;
	}
	if (!dm_task_set_cookie(task, &cookie, udev_flags))
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
	    !dm_task_set_add_node(task, DM_ADD_NODE_ON_CREATE) || !task_run_with_udev(task, 0)) {
		ret = task_error(task, name, why);
		kernel_log_reason(kmsg, why);
	}
	if (task)
		dm_task_destroy(task);
	if (kmsg >= 0)
		close(kmsg);
	return ret;
}

static int remove_how(const char *name, int (*how)(struct dm_task *task), char *why)
{
	struct dm_task *task;
	int ret = 0;

	library_init();
	task = dm_task_create(DM_DEVICE_REMOVE);
	if (!task || !dm_task_set_name(task, name) || !how(task) || !task_run_with_udev(task, 0))
		ret = task_error(task, name, why);
	if (task)
		dm_task_destroy(task);
	return ret == -ENXIO ? -ENOENT : ret;
}

int dmdev_remove(const char *name, char *why)
{
	/* udev and blkid look into new devices: what is busy now may not be soon. */
	return remove_how(name, dm_task_retry_remove, why);
}

int dmdev_remove_unused(const char *name, char *why)
{
	return remove_how(name, dm_task_deferred_remove, why);
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

/* -- tables of devices that exist -- */

void dmdev_table_free(struct dmdev_table *table)
{
	for (size_t i = 0; i < table->nr; i++) {
		free(table->lines[i].type);
		free(table->lines[i].params);
	}
	free(table->lines);
	*table = (struct dmdev_table){ .nr = 0 };
}

static int table_add(struct dmdev_table *t, uint64_t start, uint64_t sectors, const char *type,
		     const char *params)
{
	struct dmdev_line *lines = realloc(t->lines, (t->nr + 1) * sizeof(*lines));

	if (!lines)
		return -ENOMEM;
	t->lines = lines;
	lines[t->nr] = (struct dmdev_line){ start, sectors, strdup(type), strdup(params) };
	t->nr++;
	return lines[t->nr - 1].type && lines[t->nr - 1].params ? 0 : -ENOMEM;
}

int dmdev_table_read(const char *name, struct dmdev_table *table, char *why)
{
	struct dm_task *task;
	char *type, *params;
	void *next = NULL;
	uint64_t start, sectors;
	int ret = 0;

	*table = (struct dmdev_table){ .nr = 0 };
	library_init();
	task = dm_task_create(DM_DEVICE_TABLE);
	/* The table of a crypt target has its key. */
	if (!task || !dm_task_set_name(task, name) || !dm_task_secure_data(task) ||
	    !dm_task_run(task))
		ret = task_error(task, name, why);
	while (!ret) {
		next = dm_get_next_target(task, next, &start, &sectors, &type, &params);
		if (type)
			ret = table_add(table, start, sectors, type, params);
		if (!next)
			break;
	}
	if (ret == -ENOMEM)
		snprintf(why, DM_TEXT_BYTES, "out of memory");
	if (ret)
		dmdev_table_free(table);
	if (task)
		dm_task_destroy(task);
	return ret == -ENXIO ? -ENOENT : ret;
}

static int info_get(struct dm_task *task, const char *what, struct dmdev_info *out, char *why)
{
	struct dm_info info;
	int ret = 0;

	if (!task || !dm_task_run(task) || !dm_task_get_info(task, &info))
		ret = task_error(task, what, why);
	else if (!info.exists)
		ret = -ENOENT;
	if (ret == -ENOENT)
		snprintf(why, DM_TEXT_BYTES, "%.80s: no such device-mapper device", what);
	if (ret == 0) {
		*out = (struct dmdev_info){
			.major = info.major,
			.minor = info.minor,
			.open_count = info.open_count,
			.suspended = info.suspended,
			.read_only = info.read_only,
			.next_table = info.inactive_table,
		};
		snprintf(out->name, sizeof(out->name), "%s", dm_task_get_name(task));
	}
	if (task)
		dm_task_destroy(task);
	return ret;
}

int dmdev_info(const char *name, const char *uuid, struct dmdev_info *info, char *why)
{
	struct dm_task *task;

	library_init();
	task = dm_task_create(DM_DEVICE_INFO);
	if (task && !(name ? dm_task_set_name(task, name) : dm_task_set_uuid(task, uuid))) {
		dm_task_destroy(task);
		task = NULL;
	}
	return info_get(task, name ? name : uuid, info, why);
}

int dmdev_info_of_number(uint32_t major, uint32_t minor, struct dmdev_info *info, char *why)
{
	struct dm_task *task;
	char number[32];

	library_init();
	snprintf(number, sizeof(number), "%u:%u", major, minor);
	task = dm_task_create(DM_DEVICE_INFO);
	if (task && (!dm_task_set_major(task, major) || !dm_task_set_minor(task, minor))) {
		dm_task_destroy(task);
		task = NULL;
	}
	return info_get(task, number, info, why);
}

/* A task with this table, or NULL. */
static struct dm_task *table_task(int type, const char *name, const struct dmdev_table *table)
{
	struct dm_task *task = dm_task_create(type);
	bool ok = task && dm_task_set_name(task, name) && dm_task_secure_data(task);

	for (size_t i = 0; ok && i < table->nr; i++)
		ok = dm_task_add_target(task, table->lines[i].start, table->lines[i].sectors,
					table->lines[i].type, table->lines[i].params);
	if (ok || !task)
		return task;
	dm_task_destroy(task);
	return NULL;
}

int dmdev_create_hidden(const char *name, const char *uuid, const struct dmdev_table *table,
			char *why)
{
	const uint16_t leave_alone = DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG |
				     DM_UDEV_DISABLE_DISK_RULES_FLAG |
				     DM_UDEV_DISABLE_OTHER_RULES_FLAG;
	struct dm_task *task;
	int ret = 0;

	library_init();
	task = table_task(DM_DEVICE_CREATE, name, table);
	if (!task || !dm_task_set_uuid(task, uuid) ||
	    !dm_task_set_add_node(task, DM_ADD_NODE_ON_CREATE) ||
	    !task_run_with_udev(task, leave_alone))
		ret = task_error(task, name, why);
	if (task)
		dm_task_destroy(task);
	return ret;
}

int dmdev_load(const char *name, const struct dmdev_table *table, char *why)
{
	struct dm_task *task;
	int kmsg = kernel_log_open(), ret = 0;

	library_init();
	task = table_task(DM_DEVICE_RELOAD, name, table);
	if (!task || !dm_task_run(task)) {
		ret = task_error(task, name, why);
		kernel_log_reason(kmsg, why);
	}
	if (task)
		dm_task_destroy(task);
	if (kmsg >= 0)
		close(kmsg);
	return ret;
}

void dmdev_clear(const char *name)
{
	struct dm_task *task;

	library_init();
	task = dm_task_create(DM_DEVICE_CLEAR);
	if (task && dm_task_set_name(task, name))
		dm_task_run(task);
	if (task)
		dm_task_destroy(task);
}

int dmdev_switch(const char *name, char *why)
{
	struct dm_task *task;
	int ret = 0;

	library_init();
	task = dm_task_create(DM_DEVICE_RESUME);
	if (!task || !dm_task_set_name(task, name) || !dm_task_skip_lockfs(task) ||
	    !dm_task_no_flush(task) || !task_run_with_udev(task, 0))
		ret = task_error(task, name, why);
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
