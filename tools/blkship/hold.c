// SPDX-License-Identifier: GPL-2.0-only
/* hold and release: points that stay, whatever retention says. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/name.h"
#include "../../userspace/store/lease.h"
#include "cli.h"
#include "pin.h"
#include "point.h"

static int change_do(struct pin_change *c)
{
	char why[TIMELINE_TEXT_BYTES] = "";
	int ret = pin_by_daemon(c, why);

	if (ret == -ENOTCONN || ret == -ENXIO)
		ret = pin_here(c, why);
	if (ret == -EBUSY)
		return cli_fail(CLI_REFUSED, "group %s: another process has it open for writing and does not answer at %s/run/control.sock; nothing was changed",
				c->group, c->store);
	if (ret == -ENOENT)
		return cli_fail(CLI_NOT_FOUND, c->release ?
				"group %s has no hold %llu; nothing was changed; `blkship hold %s` lists them" :
				"group %s: its point %llu has just been dropped; `blkship points %s` lists those there are",
				c->group, (unsigned long long)(c->release ? c->id : c->cut_seq),
				c->group);
	if (ret)
		return cli_fail(cli_exit_of(ret), "group %s: %s; %s", c->group,
				*why ? why : strerror(-ret), ret == -ETIMEDOUT ?
				"whether it was done is not known: list the holds" :
				"nothing was changed");
	return CLI_DONE;
}

/* -- list -- */

static uint64_t point_time(const struct point_list *list, uint64_t seq)
{
	for (size_t i = 0; i < list->nr; i++)
		if (list->points[i].seq == seq)
			return list->points[i].time_ns;
	return 0;
}

static const char *kind_text(uint16_t kind)
{
	return kind == TIMELINE_PIN_HOLD ? "hold" : kind == TIMELINE_PIN_MOUNT ? "mount" : "branch";
}

struct holds {
	const struct point_list *list;
	struct table *table;	/* NULL: json */
	json_t *all;
};

/* @id 0: a lease, which nobody can release. */
static void hold_add(struct holds *h, uint64_t id, const char *kind, uint64_t cut_seq,
		     uint64_t made_ns, const char *label)
{
	uint64_t time_ns = point_time(h->list, cut_seq);
	char when[64], seq[64];

	json_array_append_new(h->all, json_pack("{s:o, s:s, s:o, s:o, s:s, s:o}",
		"id", id ? json_integer(id) : json_null(), "kind", kind, "seq",
		cli_json_seq(cut_seq), "time", cli_json_time(time_ns), "label", label, "made",
		cli_json_time(made_ns)));
	if (!h->table)
		return;
	when_local(time_ns, when, sizeof(when));
	cli_seq(cut_seq, seq, sizeof(seq));
	table_cell(h->table, id ? "%llu" : "-", (unsigned long long)id);
	table_cell(h->table, "%s", kind);
	table_cell(h->table, "%s", when);
	table_cell(h->table, "%s", seq);
	table_cell(h->table, "%s", label);
}

static int holds_print(const struct point_list *list, const char *group,
		       const struct timeline_pin *pins, size_t nr_pins,
		       const struct lease_info *leases, size_t nr_leases, bool json)
{
	static const char *const headings[] = { "ID", "KIND", "POINT", "SEQ", "LABEL" };
	struct holds h = { list, json ? NULL : table_create(headings, ARRAY_SIZE(headings)),
			   json_array() };

	for (size_t i = 0; i < nr_pins; i++)
		hold_add(&h, pins[i].id, kind_text(pins[i].kind), pins[i].cut_seq,
			 pins[i].made_ns, pins[i].label);
	for (size_t i = 0; i < nr_leases; i++)
		hold_add(&h, 0, "reader", leases[i].cut_seq, leases[i].made_ns, leases[i].label);
	if (json)
		return cli_print_json(json_pack("{s:s, s:o}", "group", group, "holds", h.all));
	json_decref(h.all);
	table_print(h.table);
	return CLI_DONE;
}

static int holds_list(const char *store, const char *group, bool json)
{
	size_t nr_pins = 0, nr_leases = 0;
	struct lease_info *leases = NULL;
	struct timeline_pin *pins = NULL;
	struct point_list list;
	int ret = point_open(store, group, &list), error;

	if (ret != CLI_DONE)
		return ret;
	error = timeline_pins(list.tl, &pins, &nr_pins);
	if (!error)
		error = timeline_leases(list.tl, &leases, &nr_leases);
	if (error == -E2BIG)
		fprintf(stderr, "blkship: group %s: %s, of readers: not all are shown, and no point is dropped as long as it is so; remove those in " LEASES_DIR "/ of the group that nobody renews\n",
			group, leases_error_text(error));
	ret = error && error != -E2BIG ? cli_fail(CLI_FAILED, "group %s: %s", group, strerror(-error)) :
		      holds_print(&list, group, pins, nr_pins, leases, nr_leases, json);
	free(leases);
	free(pins);
	point_list_close(&list);
	return ret;
}

/* -- */

static int hold_make(const struct command *cmd, const char *store, const char *text,
		     const char *label, bool json)
{
	struct pin_change c = { .store = store, .label = label, .kind = TIMELINE_PIN_HOLD };
	struct point_named named;
	char when[64];
	int ret = point_named_open(cmd, store, NULL, text, true, "nothing is held", &named);

	if (ret == CLI_DONE && strchr(named.name.group, '/')) {
		ret = cli_fail(CLI_REFUSED, "%s is a branch: all its points stay as long as it does; nothing is held, and nothing need be",
			       named.name.group);
	} else if (ret == CLI_DONE) {
		c.group = named.name.group;
		c.cut_seq = named.point->seq;
		ret = change_do(&c);
	}
	if (ret == CLI_DONE && json) {
		ret = cli_print_json(json_pack("{s:s, s:I, s:o, s:o, s:s}", "group", c.group, "id",
					       (json_int_t)c.id, "seq", cli_json_seq(c.cut_seq),
					       "time", cli_json_time(named.point->time_ns),
					       "label", label));
	} else if (ret == CLI_DONE) {
		when_local(named.point->time_ns, when, sizeof(when));
		printf("%s: hold %llu keeps the point of %s until `blkship release %s %llu`\n",
		       c.group, (unsigned long long)c.id, when, c.group,
		       (unsigned long long)c.id);
	}
	point_named_close(&named);
	return ret;
}

int cmd_hold(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "store", required_argument, NULL, 's' }, { "label", required_argument, NULL, 'l' },
		CLI_COMMON_OPTIONS
	};
	const char *store = CLI_STORE_DEFAULT, *label = "";
	bool json = false;
	int c;

	while ((c = cli_getopt(cmd, argc, argv, longs, &json)) != -1) {
		if (c == 's')
			store = optarg;
		else
			label = optarg;
	}
	cli_check_args(cmd, argc, 1, 1);
	if (strlen(label) >= TIMELINE_PIN_LABEL_BYTES)
		return cli_usage(cmd, "a label has at most %d bytes", TIMELINE_PIN_LABEL_BYTES - 1);
	if (!strchr(argv[optind], '@'))
		return holds_list(store, argv[optind], json);
	return hold_make(cmd, store, argv[optind], label, json);
}

int cmd_release(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "store", required_argument, NULL, 's' }, CLI_COMMON_OPTIONS
	};
	struct pin_change change = { .store = CLI_STORE_DEFAULT, .release = true };
	bool json = false;
	char *end;
	int c, ret;

	while ((c = cli_getopt(cmd, argc, argv, longs, &json)) != -1)
		change.store = optarg;
	cli_check_args(cmd, argc, 2, 2);
	change.group = argv[optind];
	change.id = strtoull(argv[optind + 1], &end, 10);
	if (!name_valid(change.group))
		return cli_usage(cmd, "'%.60s' is not a name a group can have", change.group);
	if (*end || !change.id)
		return cli_usage(cmd, "'%.60s' is not the number of a hold", argv[optind + 1]);
	ret = change_do(&change);
	if (ret == CLI_DONE && json)
		return cli_print_json(json_pack("{s:s, s:I}", "group", change.group, "released",
						(json_int_t)change.id));
	if (ret == CLI_DONE)
		printf("%s: hold %llu is released; its point goes when the policy does not keep it\n",
		       change.group, (unsigned long long)change.id);
	return ret;
}
