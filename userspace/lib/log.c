// SPDX-License-Identifier: GPL-2.0-only
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 1024

/* One write per line: lines of several processes on one pipe do not mix. */
static void log_line(char level, const char *name, const char *format, va_list args)
{
	char line[LINE_BYTES];
	size_t used, i;
	int n;

	if (getenv("JOURNAL_STREAM"))
		used = snprintf(line, sizeof(line), "<%c>", level);
	else
		used = snprintf(line, sizeof(line), "%s", name);
	n = vsnprintf(line + used, sizeof(line) - used - 1, format, args);
	if (n < 0)
		return;
	used += n;
	if (used > sizeof(line) - 2)
		used = sizeof(line) - 2;
	/* What a peer sent may be part of it: it must not end the line or drive a terminal. */
	for (i = 0; i < used; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[used++] = '\n';
	if (write(STDERR_FILENO, line, used) < 0)
		return;		/* nobody is there to be told */
}

#define DEFINE_LEVEL(fn, level, name)			\
	void fn(const char *format, ...)		\
	{						\
		va_list args;				\
							\
		va_start(args, format);			\
		log_line(level, name, format, args);	\
		va_end(args);				\
	}

DEFINE_LEVEL(log_error, '3', "error: ")
DEFINE_LEVEL(log_warning, '4', "warning: ")
DEFINE_LEVEL(log_info, '6', "")
