// SPDX-License-Identifier: GPL-2.0-only
/* target init, token create, token list: on the master target server. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../userspace/lib/home.h"
#include "../../userspace/lib/pki.h"
#include "../../userspace/lib/tcp.h"
#include "../../userspace/lib/when.h"
#include "../../userspace/lib/wire_format.h"
#include "../../userspace/target/tokens.h"
#include "cli.h"

#define MAX_HOSTS	16
#define EXPIRES_MAX_S	(30 * 86400)

static int path_join(char *path, const char *dir, const char *name)
{
	return (size_t)snprintf(path, CLI_PATH_BYTES, "%s/%s", dir, name) < CLI_PATH_BYTES ?
	       0 : -ENAMETOOLONG;
}

/* -- target init -- */

struct init_options {
	const char *store;
	const char *listen;
	const char *groups;	/* on a cluster; NULL: in the store */
	const char *hosts[MAX_HOSTS];
	size_t nr_hosts;
	bool json;
};

/* An empty directory may be there already: the mount point of a disk. */
static int store_claim(const char *store)
{
	static const char *const owned[] = { "pki", "groups", "tokens", "targetd.conf" };
	char path[CLI_PATH_BYTES];

	if (mkdir(store, 0700) == 0)
		return CLI_DONE;
	if (errno != EEXIST)
		return cli_fail(CLI_FAILED, "store %s: %s; nothing was made; its parent must exist and be writable",
				store, strerror(errno));
	for (size_t i = 0; i < ARRAY_SIZE(owned); i++) {
		if (path_join(path, store, owned[i]) < 0)
			return cli_fail(CLI_FAILED, "store %s: the name is too long", store);
		if (access(path, F_OK) == 0)
			return cli_fail(CLI_REFUSED, "store %s is a store already (%s is there); nothing was changed; choose another directory",
					store, path);
	}
	if (chmod(store, 0700) < 0)
		return cli_fail(CLI_FAILED, "store %s: %s; nothing was made", store, strerror(errno));
	return CLI_DONE;
}

static int store_dirs(const char *store)
{
	static const char *const dirs[] = { "pki", "groups", "tokens", "run" };
	char path[CLI_PATH_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		int ret = path_join(path, store, dirs[i]);

		if (ret == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
			ret = -errno;
		if (ret < 0)
			return cli_fail(CLI_FAILED, "store %s: make %s: %s; the store is not complete; remove it and try again",
					store, dirs[i], strerror(-ret));
	}
	return CLI_DONE;
}

static int store_fill(const struct init_options *o)
{
	char path[CLI_PATH_BYTES], text[512], why[PKI_TEXT_BYTES];
	int ret = store_dirs(o->store);

	if (ret != CLI_DONE)
		return ret;
	if (path_join(path, o->store, "pki") < 0)
		return CLI_FAILED;
	if (pki_init(path, o->hosts[0], o->hosts, o->nr_hosts, why) < 0)
		return cli_fail(CLI_FAILED, "store %s: %s; the store is not complete; remove it and try again",
				o->store, why);
	/* Last: what has this file is a whole store. */
	snprintf(text, sizeof(text), "[target]\nlisten = %s\n%s%s%s", o->listen,
		 o->groups ? "groups = " : "", o->groups ? o->groups : "", o->groups ? "\n" : "");
	path_join(path, o->store, "targetd.conf");
	if (pki_write_file(path, text, strlen(text), why) < 0)
		return cli_fail(CLI_FAILED, "store %s: %s; the store is not complete; remove it and try again",
				o->store, why);
	return CLI_DONE;
}

/* Several targets may use one location, one at a time: that it is there is no mistake. */
static int groups_prepare(const char *location)
{
	char why[HOME_TEXT_BYTES];
	struct home *home;
	int ret = home_open(location, NULL, &home, why);

	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "%s; nothing was made", why);
	ret = home_prepare(home);
	home_close(home);
	if (ret < 0 && ret != -EEXIST)
		return cli_fail(CLI_FAILED, "%s: make it a place for groups: %s; nothing was made",
				location, strerror(-ret));
	return CLI_DONE;
}

static int init_parse(const struct command *cmd, int argc, char **argv, struct init_options *o)
{
	static const struct option longs[] = {
		{ "store", required_argument, NULL, 's' },
		{ "host", required_argument, NULL, 'h' },
		{ "listen", required_argument, NULL, 'l' },
		{ "groups", required_argument, NULL, 'g' },
		CLI_COMMON_OPTIONS
	};
	char host[TCP_HOST_BYTES];
	uint16_t port;
	int c;

	while ((c = cli_getopt(cmd, argc, argv, longs, &o->json)) != -1) {
		if (c == 's')
			o->store = optarg;
		else if (c == 'l')
			o->listen = optarg;
		else if (c == 'g')
			o->groups = optarg;
		else if (o->nr_hosts == MAX_HOSTS)
			return cli_usage(cmd, "at most %d names", MAX_HOSTS);
		else
			o->hosts[o->nr_hosts++] = optarg;
	}
	cli_check_args(cmd, argc, 0, 0);
	if (tcp_parse(o->listen, WIRE_PORT, host, &port) < 0)
		return cli_usage(cmd, "'%s' is not ADDRESS:PORT", o->listen);
	if (o->groups && !home_valid(o->groups))
		return cli_usage(cmd, "--groups: '%s' is not rados:POOL or rados:POOL/NAMESPACE", o->groups);
	for (size_t i = 0; i < o->nr_hosts; i++)
		if (!pki_host_valid(o->hosts[i]) && !strchr(o->hosts[i], ':'))
			return cli_usage(cmd, "'%s' is not a host name", o->hosts[i]);
	if (o->nr_hosts && !pki_host_valid(o->hosts[0]))
		return cli_usage(cmd, "the first --host is to be a name, not '%s'", o->hosts[0]);
	return CLI_DONE;
}

int cmd_target_init(const struct command *cmd, int argc, char **argv)
{
	struct init_options o = { .store = CLI_STORE_DEFAULT, .listen = "0.0.0.0:7443" };
	char host[PKI_HOST_BYTES], listen_host[TCP_HOST_BYTES];
	uint16_t port;
	int ret = init_parse(cmd, argc, argv, &o);

	if (ret != CLI_DONE)
		return ret;
	if (!o.nr_hosts) {
		if (gethostname(host, sizeof(host)) < 0 || !pki_host_valid(host))
			return cli_fail(CLI_FAILED, "this machine has no usable host name; nothing was made; give one with --host");
		o.hosts[o.nr_hosts++] = host;
	}
	umask(077);
	ret = o.groups ? groups_prepare(o.groups) : CLI_DONE;
	if (ret == CLI_DONE)
		ret = store_claim(o.store);
	if (ret == CLI_DONE)
		ret = store_fill(&o);
	if (ret != CLI_DONE)
		return ret;
	if (o.json)
		return cli_print_json(json_pack("{s:s, s:s, s:s}", "store", o.store, "host",
						o.hosts[0], "listen", o.listen));
	tcp_parse(o.listen, WIRE_PORT, listen_host, &port);
	printf("%s (target): store %s is ready\n", o.hosts[0], o.store);
	printf("next: blkship-targetd --store %s, then on this machine: blkship token create HOST --store %s\n",
	       o.store, o.store);
	return CLI_DONE;
}

/* -- token create -- */

static int store_paths(const char *store, char *tokens, char *ca)
{
	if (path_join(tokens, store, "tokens") < 0 || path_join(ca, store, "pki/ca.pem") < 0)
		return cli_fail(CLI_FAILED, "store %s: the name is too long", store);
	if (access(ca, R_OK) < 0)
		return cli_fail(errno == ENOENT ? CLI_NOT_FOUND : CLI_FAILED,
				"store %s: %s: %s; is it a store? `blkship target init --store %s` makes one",
				store, ca, strerror(errno), store);
	return CLI_DONE;
}

int cmd_token_create(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "store", required_argument, NULL, 's' },
		{ "expires", required_argument, NULL, 'e' },
		CLI_COMMON_OPTIONS
	};
	const char *store = CLI_STORE_DEFAULT, *host;
	char tokens[CLI_PATH_BYTES], ca[CLI_PATH_BYTES], text[PKI_TOKEN_TEXT_BYTES];
	char why[PKI_TEXT_BYTES];
	uint64_t lifetime_s = 15 * 60, expires_s;
	struct pki_token token;
	bool json = false;
	int c, ret;

	while ((c = cli_getopt(cmd, argc, argv, longs, &json)) != -1) {
		if (c == 's')
			store = optarg;
		else if (when_duration(optarg, &lifetime_s) < 0 || lifetime_s < 1 ||
			 lifetime_s > EXPIRES_MAX_S)
			return cli_usage(cmd, "--expires: '%s' is not a time like 15m, at most 30d", optarg);
	}
	cli_check_args(cmd, argc, 1, 1);
	host = argv[optind];
	if (!pki_host_valid(host))
		return cli_usage(cmd, "'%s' is not a host name", host);
	ret = store_paths(store, tokens, ca);
	if (ret != CLI_DONE)
		return ret;
	umask(077);
	if (pki_fingerprint(ca, token.ca_sha256, why) < 0 ||
	    tokens_create(tokens, host, lifetime_s, &token, &expires_s, why) < 0)
		return cli_fail(CLI_FAILED, "%s; no token was made", why);
	pki_token_format(&token, text);
	if (json)
		return cli_print_json(json_pack("{s:s, s:s, s:s, s:o}", "token", text, "id", token.id,
						"host", host, "expires",
						cli_json_time(expires_s * WHEN_NS)));
	/* Alone on standard output, so that it can be piped to the source. */
	puts(text);
	if (isatty(STDOUT_FILENO)) {
		when_local(expires_s * WHEN_NS, why, sizeof(why));
		fprintf(stderr, "good once, for %s, until %s\nnext: on %s: blkship enroll --token-file - --target THIS-HOST\n",
			host, why, host);
	}
	return CLI_DONE;
}

/* -- token list -- */

struct token_rows {
	struct table *table;
	json_t *array;
};

static void token_row(void *arg, const struct tokens_entry *e)
{
	struct token_rows *rows = arg;
	const char *state = e->used ? "used" :
			    e->expires_s <= (uint64_t)time(NULL) ? "expired" : "valid";
	char until[64];

	if (rows->array) {
		json_array_append_new(rows->array, json_pack("{s:s, s:s, s:s, s:o, s:o}",
			"id", e->id, "host", e->host, "state", state,
			"created", cli_json_time(e->created_s * WHEN_NS),
			"expires", cli_json_time(e->expires_s * WHEN_NS)));
		return;
	}
	when_local(e->expires_s * WHEN_NS, until, sizeof(until));
	table_cell(rows->table, "%s", e->id);
	table_cell(rows->table, "%s", e->host);
	table_cell(rows->table, "%s", state);
	table_cell(rows->table, "%s", until);
}

int cmd_token_list(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "store", required_argument, NULL, 's' },
		CLI_COMMON_OPTIONS
	};
	static const char *const headings[] = { "TOKEN", "HOST", "STATE", "GOOD UNTIL" };
	char tokens[CLI_PATH_BYTES], ca[CLI_PATH_BYTES], why[PKI_TEXT_BYTES];
	const char *store = CLI_STORE_DEFAULT;
	struct token_rows rows = { .table = NULL };
	bool json = false;
	int ret;

	while (cli_getopt(cmd, argc, argv, longs, &json) != -1)
		store = optarg;
	cli_check_args(cmd, argc, 0, 0);
	ret = store_paths(store, tokens, ca);
	if (ret != CLI_DONE)
		return ret;
	if (json)
		rows.array = json_array();
	else
		rows.table = table_create(headings, ARRAY_SIZE(headings));
	ret = tokens_list(tokens, token_row, &rows, why);
	if (ret < 0)
		return cli_fail(CLI_FAILED, "%s", why);
	if (json)
		return cli_print_json(json_pack("{s:o}", "tokens", rows.array));
	table_print(rows.table);
	return CLI_DONE;
}
