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
	free(p->files);
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
	size_t first = 0;

	while (first < p->nr && p->items[first].output != output)
		first++;
	if (number >= p->nr - first || p->items[first + number].output != output)
		return NULL;
	return &p->items[first + number];
}

/* The three numbers of a line that ends at @end. */
static bool numbers(const char *text, const char *end, const char *word,
		    unsigned long long out[3])
{
	size_t length = strlen(word);
	int used = 0;

	return (size_t)(end - text) > length && !strncmp(text, word, length) &&
	       sscanf(text + length, " %llu %llu %llu%n", &out[0], &out[1], &out[2], &used) == 3 &&
	       text + length + used == end;
}

static int take_file(struct restore_parts *p, size_t output, uint64_t device, uint64_t inode)
{
	/* As many as there are outputs, at most. */
	if (output >= p->nr && output > 0)
		return 0;
	if (!array_reserve(&p->files, &p->max_files, output + 1))
		return -ENOMEM;
	while (p->nr_files <= output)
		p->files[p->nr_files++] = (struct restore_file){ 0, 0 };
	p->files[output] = (struct restore_file){ device, inode };
	return 0;
}

static void take_part(struct restore_parts *p, const unsigned long long n[3])
{
	struct restore_part *part = part_find(p, n[0], n[1]);

	if (!part || n[2] > part->end_bytes - part->start_bytes)
		return;
	part->taken = part->done = true;
	part->data_bytes = n[2];
}

int restore_parts_parse(struct restore_parts *p, const char *head, const char *text)
{
	size_t head_bytes = strlen(head);
	unsigned long long n[3];
	const char *end;
	int ret = 0;

	if (strncmp(text, head, head_bytes) != 0)
		return -ESTALE;
	for (text += head_bytes; !ret && (end = strchr(text, '\n')); text = end + 1) {
		if (numbers(text, end, "done", n))
			take_part(p, n);
		else if (numbers(text, end, "file", n))
			ret = take_file(p, n[0], n[1], n[2]);
		else if (end - text == 8 && !strncmp(text, "complete", 8))
			p->complete = true;
	}
	return ret;
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
	int ret = 0;

	if (p->fd >= 0) {
		snprintf(line, sizeof(line), "done %zu %llu %llu\n", part->output,
			 (unsigned long long)(part->start_bytes / p->part_bytes),
			 (unsigned long long)part->data_bytes);
		ret = append(p, line);
	}
	part->done = !ret;
	return ret;
}

int restore_parts_file(struct restore_parts *p, size_t output, uint64_t device, uint64_t inode)
{
	char line[80];
	int ret = take_file(p, output, device, inode);

	if (ret || p->fd < 0)
		return ret;
	snprintf(line, sizeof(line), "file %zu %llu %llu\n", output, (unsigned long long)device,
		 (unsigned long long)inode);
	return append(p, line);
}

bool restore_parts_is_file(const struct restore_parts *p, size_t output, uint64_t device,
			   uint64_t inode)
{
	return output < p->nr_files && p->files[output].device == device &&
	       p->files[output].inode == inode;
}

int restore_parts_complete(struct restore_parts *p)
{
	p->complete = true;
	return p->fd < 0 ? 0 : append(p, "complete\n");
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
