// SPDX-License-Identifier: GPL-2.0-only
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/lib/when.h"

/* -- options -- */

static void print_help(const struct command *cmd, FILE *out)
{
	fprintf(out, "usage: blkship %s%s%s\n\n%s\n", cmd->name, *cmd->args ? " " : "", cmd->args,
		cmd->summary);
	if (cmd->options)
		fprintf(out, "\n%s", cmd->options);
	fprintf(out, "\n  --json   print one JSON document\n  --help   print this\n");
}

int cli_getopt(const struct command *cmd, int argc, char **argv, const struct option *longs,
	       bool *json)
{
	int c;

	opterr = 0;
	for (;;) {
		c = getopt_long(argc, argv, ":", longs, NULL);
		switch (c) {
		case CLI_OPT_JSON:
			*json = true;
			break;
		case CLI_OPT_HELP:
			print_help(cmd, stdout);
			exit(CLI_DONE);
		case ':':
			exit(cli_usage(cmd, "%s needs a value", argv[optind - 1]));
		case '?':
			exit(cli_usage(cmd, "unknown option '%s'", argv[optind - 1]));
		default:
			return c;
		}
	}
}

bool cli_key_option(int c, const char *value, struct key_source *keys)
{
	if (c == CLI_OPT_KEY_FILE)
		keys->file = value;
	else if (c == CLI_OPT_KEY_COMMAND)
		keys->command = value;
	else
		return false;
	return true;
}

void cli_check_args(const struct command *cmd, int argc, int min, int max)
{
	int nr = argc - optind;

	if (nr < min)
		exit(cli_usage(cmd, "something is missing"));
	if (nr > max)
		exit(cli_usage(cmd, "more than is wanted"));
}

int cli_usage(const struct command *cmd, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "blkship %s: ", cmd->name);
	vfprintf(stderr, format, args);
	fprintf(stderr, "\nusage: blkship %s%s%s\n`blkship %s --help` says more\n", cmd->name,
		*cmd->args ? " " : "", cmd->args, cmd->name);
	va_end(args);
	return CLI_USAGE;
}

int cli_fail(enum cli_exit code, const char *format, ...)
{
	va_list args;

	/* What is on its way to the terminal comes first. */
	fflush(stdout);
	va_start(args, format);
	fprintf(stderr, "blkship: %s", code == CLI_REFUSED ? "REFUSED: " : "");
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return code;
}

enum cli_exit cli_exit_of(int ret)
{
	if (ret >= 0)
		return CLI_DONE;
	return ret == -ENOENT || ret == -ENODEV ? CLI_NOT_FOUND : CLI_FAILED;
}

/* -- output -- */

int cli_print_json(json_t *document)
{
	json_t *whole = json_pack("{s:i}", "schema", 1);

	if (!document || !whole || json_object_update_missing(whole, document) < 0)
		return cli_fail(CLI_FAILED, "out of memory; nothing was printed");
	json_dumpf(whole, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(whole);
	json_decref(document);
	return fflush(stdout) == 0 ? CLI_DONE : cli_fail(CLI_FAILED, "standard output: %s",
							 strerror(errno));
}

void cli_seq(uint64_t seq, char *text, size_t bytes)
{
	snprintf(text, bytes, "%u:%llu", seq_incarnation(seq),
		 (unsigned long long)seq_number(seq));
}

json_t *cli_json_seq(uint64_t seq)
{
	char text[40];

	cli_seq(seq, text, sizeof(text));
	return json_string(text);
}

json_t *cli_json_time(uint64_t time_ns)
{
	char text[40];

	if (!time_ns)
		return json_null();
	when_utc(time_ns, text, sizeof(text));
	return json_string(text);
}

void cli_bytes(uint64_t value, char *text, size_t bytes)
{
	static const char units[] = "BKMGTPE";
	double v = value;
	int unit = 0;

	while (v >= 1023.5 && units[unit + 1]) {
		v /= 1024;
		unit++;
	}
	if (unit == 0)
		snprintf(text, bytes, "%llu", (unsigned long long)value);
	else
		snprintf(text, bytes, v < 9.95 && v != (int)v ? "%.1f%c" : "%.0f%c", v, units[unit]);
}

/* -- tables -- */

struct table {
	size_t nr_columns;
	size_t nr_cells, room;
	char **cells;		/* headings first */
};

static void *must(void *memory)
{
	if (memory)
		return memory;
	exit(cli_fail(CLI_FAILED, "out of memory"));
}

static void table_add(struct table *t, char *cell)
{
	if (t->nr_cells == t->room) {
		t->room = t->room ? t->room * 2 : 64;
		t->cells = must(realloc(t->cells, t->room * sizeof(*t->cells)));
	}
	t->cells[t->nr_cells++] = cell;
}

struct table *table_create(const char *const *headings, size_t nr)
{
	struct table *t = must(calloc(1, sizeof(*t)));

	t->nr_columns = nr;
	for (size_t i = 0; i < nr; i++)
		table_add(t, must(strdup(headings[i])));
	return t;
}

void table_cell(struct table *t, const char *format, ...)
{
	va_list args;
	char *cell;

	va_start(args, format);
	if (vasprintf(&cell, format, args) < 0)
		cell = NULL;
	va_end(args);
	table_add(t, must(cell));
}

static size_t column_width(const struct table *t, size_t column)
{
	size_t width = 0;

	for (size_t i = column; i < t->nr_cells; i += t->nr_columns)
		if (strlen(t->cells[i]) > width)
			width = strlen(t->cells[i]);
	return width;
}

void table_print(struct table *t)
{
	bool terminal = isatty(STDOUT_FILENO);

	for (size_t i = terminal ? 0 : t->nr_columns; i < t->nr_cells; i++) {
		bool last = i % t->nr_columns == t->nr_columns - 1;

		if (terminal && !last)
			printf("%-*s  ", (int)column_width(t, i % t->nr_columns), t->cells[i]);
		else
			fputs(t->cells[i], stdout);
		if (last)
			putchar('\n');
		else if (!terminal)
			putchar('\t');
	}
	for (size_t i = 0; i < t->nr_cells; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}
