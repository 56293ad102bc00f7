// SPDX-License-Identifier: GPL-2.0-only
/* See fault.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "selftest.h"

#define FAULTS	"/sys/kernel/debug/"

bool faults_possible(void)
{
	return access(FAULTS "failslab", F_OK) == 0;
}

static int nth_fd;

void fail_nth(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	/* Copying this number may be the n-th chance, too: then it is used up. */
	while (pwrite(nth_fd, text, len, 0) != len)
		if (errno != EFAULT)
			give_up("fail-nth: %s", strerror(errno));
}

bool fault_happened(void)
{
	char text[16] = "";
	ssize_t got = pread(nth_fd, text, sizeof(text) - 1, 0);

	fail_nth(0);
	/* The answer itself may have been what failed: nothing had before. */
	return got > 0 && atoi(text) == 0;
}

void fault_set(const char *file, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), FAULTS "%s", file);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		give_up("%s: %s", path, strerror(errno));
	close(fd);
}

/* Where a function of the kernel is; it ends where the next one begins. */
static bool function_find(const char *function, uint64_t *start, uint64_t *end)
{
	FILE *symbols = fopen("/proc/kallsyms", "r");
	char line[256], name[128];
	uint64_t at;

	*start = 0;
	*end = UINT64_MAX;
	if (!symbols)
		return false;
	while (!*start && fgets(line, sizeof(line), symbols))
		if (sscanf(line, "%lx %*c %127s", &at, name) == 2 &&
		    !strcmp(name, function))
			*start = at;
	rewind(symbols);
	while (fgets(line, sizeof(line), symbols))
		if (sscanf(line, "%lx", &at) == 1 && at > *start && at < *end)
			*end = at;
	fclose(symbols);
	return *start;
}

/* Which: "require" or "reject" faults with an address of the range on the stack. */
static void faults_range(const char *which, uint64_t start, uint64_t end)
{
	static const char *const kinds[] = {
		"failslab", "fail_page_alloc", "fail_usercopy",
	};
	char path[64], text[32];

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		snprintf(path, sizeof(path), "%s/%s-start", kinds[i], which);
		snprintf(text, sizeof(text), "%#lx", start);
		fault_set(path, text);
		snprintf(path, sizeof(path), "%s/%s-end", kinds[i], which);
		snprintf(text, sizeof(text), "%#lx", end);
		fault_set(path, text);
	}
}

void faults_only_below(const char *function)
{
	uint64_t start = 0, end = UINT64_MAX;

	if (function && !function_find(function, &start, &end))
		give_up("no address of %s", function);
	faults_range("require", start, end);
}

void faults_not_below(const char *function)
{
	uint64_t start, end;

	if (!function_find(function, &start, &end))
		give_up("no address of %s", function);
	faults_range("reject", start, end);
}

void faults_init(void)
{
	static const char *const off[] = {
		"failslab/ignore-gfp-wait",
		"fail_page_alloc/ignore-gfp-wait",
		"fail_page_alloc/ignore-gfp-highmem",
	};
	static const char *const quiet[] = {
		"failslab/verbose",
		"fail_page_alloc/verbose",
		"fail_usercopy/verbose",
		"fail_make_request/verbose",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(off); i++)
		fault_set(off[i], "N");
	for (unsigned int i = 0; i < ARRAY_SIZE(quiet); i++)
		fault_set(quiet[i], "0");
	fault_set("fail_page_alloc/min-order", "0");
	/* Leak detection allocates with every allocation, and can do without. */
	faults_not_below("__alloc_object");
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR);
	if (nth_fd < 0)
		give_up("fail-nth: %s", strerror(errno));
}
