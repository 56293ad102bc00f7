/* SPDX-License-Identifier: GPL-2.0-only */
/* cli - what the commands of blkship share: dispatch, options, errors, tables. */
#ifndef BLKSHIP_CLI_H
#define BLKSHIP_CLI_H

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../userspace/lib/key_source.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define CLI_STORE_DEFAULT	"/var/lib/blkship-target"
#define CLI_CONFIG_DEFAULT	"/etc/blkship"
#define CLI_TEXT_BYTES		512
#define CLI_PATH_BYTES		512

/* Exit codes. */
enum cli_exit {
	CLI_DONE = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_NOT_FOUND = 3,
	CLI_REFUSED = 4,	/* for safety */
};

struct command {
	const char *name;	/* one word, or two: "token create" */
	int (*run)(const struct command *cmd, int argc, char **argv);
	const char *args;
	const char *summary;
	const char *options;	/* lines for --help; NULL: none but the common ones */
};

int cmd_target_init(const struct command *cmd, int argc, char **argv);
int cmd_token_create(const struct command *cmd, int argc, char **argv);
int cmd_token_list(const struct command *cmd, int argc, char **argv);
int cmd_key_create(const struct command *cmd, int argc, char **argv);
int cmd_key_add(const struct command *cmd, int argc, char **argv);
int cmd_key_list(const struct command *cmd, int argc, char **argv);
int cmd_enroll(const struct command *cmd, int argc, char **argv);
int cmd_attach(const struct command *cmd, int argc, char **argv);
int cmd_detach(const struct command *cmd, int argc, char **argv);
int cmd_ls(const struct command *cmd, int argc, char **argv);
int cmd_info(const struct command *cmd, int argc, char **argv);
int cmd_status(const struct command *cmd, int argc, char **argv);
int cmd_points(const struct command *cmd, int argc, char **argv);
int cmd_restore(const struct command *cmd, int argc, char **argv);
int cmd_diff(const struct command *cmd, int argc, char **argv);
int cmd_branch_create(const struct command *cmd, int argc, char **argv);
int cmd_branch_list(const struct command *cmd, int argc, char **argv);
int cmd_branch_changes(const struct command *cmd, int argc, char **argv);
int cmd_branch_drop(const struct command *cmd, int argc, char **argv);
int cmd_branch_promote(const struct command *cmd, int argc, char **argv);
int cmd_map(const struct command *cmd, int argc, char **argv);
int cmd_mount(const struct command *cmd, int argc, char **argv);
int cmd_umount(const struct command *cmd, int argc, char **argv);
int cmd_unmap(const struct command *cmd, int argc, char **argv);
int cmd_hold(const struct command *cmd, int argc, char **argv);
int cmd_release(const struct command *cmd, int argc, char **argv);
int cmd_space(const struct command *cmd, int argc, char **argv);
int cmd_store_check(const struct command *cmd, int argc, char **argv);
int cmd_store_scrub(const struct command *cmd, int argc, char **argv);

/* -- options -- */

/* Every command has these; values outside of the letters. */
#define CLI_OPT_JSON	256
#define CLI_OPT_HELP	257
#define CLI_OPT_KEY_FILE 258
#define CLI_OPT_KEY_COMMAND 259
#define CLI_COMMON_OPTIONS				\
	{ "json", no_argument, NULL, CLI_OPT_JSON },	\
	{ "help", no_argument, NULL, CLI_OPT_HELP },	\
	{ NULL, 0, NULL, 0 }

/* Those that read content have these as well. */
#define CLI_KEY_OPTIONS							\
	{ "key-file", required_argument, NULL, CLI_OPT_KEY_FILE },	\
	{ "key-command", required_argument, NULL, CLI_OPT_KEY_COMMAND }

/** cli_key_option - take one of them; false: it is another one */
bool cli_key_option(int c, const char *value, struct key_source *keys);

/**
 * cli_getopt - as getopt_long(), for long options
 * --help prints and exits 0, what is not known exits 2. --json sets *json.
 */
int cli_getopt(const struct command *cmd, int argc, char **argv, const struct option *longs,
	       bool *json);

/** cli_check_args - exit 2 unless so many arguments (after the options) are there */
void cli_check_args(const struct command *cmd, int argc, int min, int max);

/** cli_usage - complain about the command line; returns CLI_USAGE */
int cli_usage(const struct command *cmd, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** cli_fail - one line on standard error: what, on what, why, what now, what to do */
int cli_fail(enum cli_exit code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** cli_exit_of - the exit code that fits a -errno */
enum cli_exit cli_exit_of(int ret);

/* -- output -- */

/** cli_print_json - print the document and drop the reference; adds "schema": 1 */
int cli_print_json(json_t *document);

/** cli_json_seq - "INCARNATION:NUMBER" as a string; seqs are too large for numbers */
json_t *cli_json_seq(uint64_t seq);

/** cli_json_time - RFC 3339, UTC; null for 0 */
json_t *cli_json_time(uint64_t time_ns);

/** cli_seq - "INCARNATION:NUMBER", as restore takes it after seq: */
void cli_seq(uint64_t seq, char *text, size_t bytes);

/** cli_bytes - "1.5G" */
void cli_bytes(uint64_t value, char *text, size_t bytes);

struct table;

/**
 * table_create - columns by their headings
 * On a terminal columns are aligned below the headings; in a pipe there are tabs
 * and no headings. Never NULL: exits when there is no memory.
 */
struct table *table_create(const char *const *headings, size_t nr);

/** table_cell - add the next cell, row by row */
void table_cell(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** table_print - print and free */
void table_print(struct table *t);

#endif
