// SPDX-License-Identifier: GPL-2.0-only
#include "restore_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../store/array.h"

#define FILE_MAX_BYTES	(16u << 20)	/* a part for each 4 GiB of an exabyte is less */

void restore_parts_init(struct restore_parts *p, uint64_t part_bytes)
{
	*p = (struct restore_parts){ .part_bytes = part_bytes, .fd = -1 };
}

void restore_parts_fini(struct restore_parts *p)
{
	if (p->fd >= 0)
		close(p->fd);
	free(p->items);
	free(p->path);
	free(p->head);
}

int restore_parts_cut(struct restore_parts *p, size_t output, uint64_t size_bytes)
{
	for (uint64_t at = 0; at < size_bytes; at += p->part_bytes) {
		uint64_t left = size_bytes - at;

		if (!array_reserve(&p->items, &p->max, p->nr + 1))
			return -ENOMEM;
		p->items[p->nr++] = (struct restore_part){
			.output = output, .start_bytes = at,
			.end_bytes = at + (left < p->part_bytes ? left : p->part_bytes),
		};
	}
	return 0;
}

static struct restore_part *part_find(struct restore_parts *p, uint64_t output, uint64_t number)
{
	for (size_t i = 0; i < p->nr; i++)
		if (p->items[i].output == output &&
		    p->items[i].start_bytes / p->part_bytes == number)
			return &p->items[i];
	return NULL;
}

int restore_parts_parse(struct restore_parts *p, const char *head, const char *text)
{
	size_t head_bytes = strlen(head);
	const char *end;

	if (strncmp(text, head, head_bytes) != 0)
		return -ESTALE;
	for (text += head_bytes; (end = strchr(text, '\n')); text = end + 1) {
		unsigned long long output, number, data;
		struct restore_part *part;
		int used = 0;

		if (sscanf(text, "done %llu %llu %llu%n", &output, &number, &data, &used) != 3 ||
		    text + used != end)
			continue;
		part = part_find(p, output, number);
		if (!part || data > part->end_bytes - part->start_bytes)
			continue;
		part->taken = part->done = true;
		part->data_bytes = data;
	}
	return 0;
}

/* -- the file -- */

static int take(struct restore_parts *p, const char *path, const char *head)
{
	p->path = strdup(path);
	p->head = strdup(head);
	return p->path && p->head ? 0 : -ENOMEM;
}

static int append(const struct restore_parts *p, const char *text)
{
	size_t bytes = strlen(text);
	ssize_t n = write(p->fd, text, bytes);

	if (n < 0)
		return -errno;
	if ((size_t)n < bytes)
		return -ENOSPC;
	return fdatasync(p->fd) < 0 ? -errno : 0;
}

int restore_parts_begin(struct restore_parts *p, const char *path, const char *head)
{
	int ret = take(p, path, head);

	if (ret)
		return ret;
	unlink(path);
	p->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	return p->fd < 0 ? -errno : append(p, head);
}

static int read_all(int fd, char **out)
{
	size_t bytes = 0;
	struct stat st;
	ssize_t n = 1;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX_BYTES)
		return -EFBIG;
	*out = malloc(st.st_size + 1);
	if (!*out)
		return -ENOMEM;
	while (bytes < (size_t)st.st_size && n > 0) {
		n = read(fd, *out + bytes, st.st_size - bytes);
		if (n < 0)
			return -errno;
		bytes += n;
	}
	(*out)[bytes] = 0;
	return 0;
}

int restore_parts_resume(struct restore_parts *p, const char *path, const char *head)
{
	char *text = NULL;
	int ret = take(p, path, head);

	if (ret)
		return ret;
	p->fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	ret = p->fd < 0 ? -errno : read_all(p->fd, &text);
	if (!ret)
		ret = restore_parts_parse(p, head, text);
	/* What follows must not be behind a line that was cut off. */
	if (!ret && text[0] && text[strlen(text) - 1] != '\n')
		ret = append(p, "\n");
	free(text);
	return ret;
}

int restore_parts_done(struct restore_parts *p, struct restore_part *part)
{
	char line[80];

	part->done = true;
	if (p->fd < 0)
		return 0;
	snprintf(line, sizeof(line), "done %zu %llu %llu\n", part->output,
		 (unsigned long long)(part->start_bytes / p->part_bytes),
		 (unsigned long long)part->data_bytes);
	return append(p, line);
}

void restore_parts_forget(struct restore_parts *p)
{
	if (p->path)
		unlink(p->path);
}

bool restore_parts_any(const struct restore_parts *p)
{
	for (size_t i = 0; i < p->nr; i++)
		if (p->items[i].done)
			return true;
	return false;
}
