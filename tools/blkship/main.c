// SPDX-License-Identifier: GPL-2.0-only
/* blkship: one binary for the source and the target. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "mapping.h"

#define RUN_DIR_OPTION "  --run-dir DIR      where it is remembered (default " MAPPING_RUN_DIR ")\n"
#define VIA_OPTION \
	"  --via nbd|fuse     devices of the kernel's NBD client, or nbdfuse and loop\n" \
	"                     (default auto: nbd where the kernel has it, else fuse)\n"
#define KEY_OPTIONS \
	"  --key-file FILE    keys of an encrypted store (default: key_file of its targetd.conf)\n" \
	"  --key-command CMD  or what prints them: a program's absolute path and arguments\n"
#define STORE_OPTION "  --store DIR        of the target (default " CLI_STORE_DEFAULT ")\n"

static const struct command commands[] = {
	{ "target init", cmd_target_init, "[--store DIR] [--host NAME]...",
	  "make a store and its certificates on a master target server",
	  STORE_OPTION
	  "  --host NAME        a name or address by which sources reach it; may be repeated\n"
	  "                     (default: the machine's host name)\n"
	  "  --listen ADDR:PORT what blkship-targetd will listen on (default 0.0.0.0:7443)\n"
	  "  --groups LOCATION  keep the groups on a Ceph cluster: rados:POOL/NAMESPACE, as\n"
	  "                     ceph.conf has it (default: in the store)\n" },
	{ "token create", cmd_token_create, "HOST [--expires 15m] [--store DIR]",
	  "make a token with which HOST can enrol once; it is all that is printed",
	  STORE_OPTION
	  "  --expires TIME     good for 30s, 15m, 12h, 7d (default 15m, at most 30d)\n" },
	{ "token list", cmd_token_list, "[--store DIR]", "list the tokens", STORE_OPTION },
	{ "key create", cmd_key_create, "FILE",
	  "make a file with a key, with which a target can encrypt what it keeps", NULL },
	{ "key add", cmd_key_add, "FILE", "add a key, which is then used for what is new", NULL },
	{ "key list", cmd_key_list, "FILE", "list the ids of the keys in a file", NULL },
	{ "enroll", cmd_enroll, "--token-file FILE --target HOST[:PORT] [--config-dir DIR] [--force]",
	  "make a key here and get a certificate for it from the target",
	  "  --token-file FILE  holds the token; - is standard input\n"
	  "  --target HOST:PORT the target (default port 7443)\n"
	  "  --config-dir DIR   where pki/ and blkshipd.conf go (default " CLI_CONFIG_DEFAULT ")\n"
	  "  --force            replace an enrolment that is there\n" },
	{ "attach", cmd_attach, "GROUP VOLUME DEVICE [--front tap|dm] [--ring-mib N] [--name DMNAME] [--meta DEV]",
	  "start capturing the writes to DEVICE",
	  "  --front tap        of the disk, partition or logical volume as it is, in use or\n"
	  "                     not (the default)\n"
	  "  --front dm         of a new device over an unused DEVICE; use DMNAME in its place;\n"
	  "                     a device-mapper device keeps its name and stays in use\n"
	  "  --name DMNAME      of the new device below /dev/mapper (default GROUP-VOLUME)\n"
	  "  --meta DEV         a small device of its own, so that a restart reads back only what\n"
	  "                     was written last: with dm always, with tap after an orderly one\n"
	  "  --ring-mib N       ring of the group, which is made by this (default RAM/64)\n"
	  "\n"
	  "A volume that diverged is attached again in the same way: all of it is read back.\n" },
	{ "detach", cmd_detach, "GROUP VOLUME | --all", "stop capturing, on purpose",
	  "  --all              every volume of every group\n" },
	{ "ls", cmd_ls, "", "list groups and volumes of the running kernel", NULL },
	{ "info", cmd_info, "[GROUP]", "show counters of groups and their volumes", NULL },
	{ "status", cmd_status, "[GROUP] [--socket PATH]", "ask the daemon how groups are",
	  "  --socket PATH      of the daemon (default /run/blkship/blkshipd.sock; a target's\n"
	  "                     is run/status.sock in its store)\n" },
	{ "points", cmd_points, "GROUP [--store DIR] [--gaps] [--all]",
	  "list the recovery points of a group",
	  STORE_OPTION
	  "  --gaps             list the gaps instead\n"
	  "  --all              every point, also when there are many\n" },
	{ "hold", cmd_hold, "GROUP@WHEN [--label TEXT] | GROUP [--store DIR]",
	  "keep a point, whatever the retention policy says; of a GROUP list what is held",
	  STORE_OPTION
	  "  --label TEXT       said in lists\n" },
	{ "release", cmd_release, "GROUP NUMBER [--store DIR]",
	  "end a hold: the point goes when the policy does not keep it", STORE_OPTION },
	{ "space", cmd_space, "[GROUP]... [--store DIR]",
	  "show what groups take, what comes in a day, and what their policies may need",
	  STORE_OPTION
	  "\n"
	  "HELD counts points that only a hold keeps. A DAY is measured over the last day at most.\n"
	  "AT MOST is what the policy needs if nothing is ever overwritten: a copy, and all that\n"
	  "comes in as long as it keeps points. What was given back of points that were dropped is told\n"
	  "by the daemon, since it began.\n" },
	{ "restore", cmd_restore,
	  "GROUP@WHEN [--store DIR] (--output DIR [--format qcow2] | --to-device VOLUME=DEVICE ...)",
	  "write the volumes as they were at a point",
	  STORE_OPTION KEY_OPTIONS
	  "  --output DIR       write DIR/VOLUME.img, raw and sparse\n"
	  "  --format qcow2     write DIR/VOLUME.qcow2 instead, by qemu-nbd\n"
	  "  --to-device V=DEV  write volume V over a block device; may be repeated\n"
	  "  --volume V         only this one\n"
	  "  --force            overwrite files, and devices that hold something; also a point that is\n"
	  "                     damaged, with zeroes where it cannot be read: then it ends with 1, and\n"
	  "                     FILE.damage.json beside the image says where\n"
	  "  --dry-run          say what would be written, write nothing\n"
	  "  --resume           go on with one that was interrupted; the other arguments as then\n"
	  "  --state FILE       what --resume needs to know; default OUTPUT/.blkship-restore, with\n"
	  "                     devices alone nothing is kept\n"
	  "  --jobs N           threads; default one for each processor, at most 4\n"
	  "  --part-mib N       in parts of N MiB, after each of which it can be resumed; 4096,\n"
	  "                     of qcow2 256\n"
	  "\n"
	  "WHEN is latest, -5m, 14:03:07 (today), 2026-11-22T14:03:07+01:00 or seq:1:4711;\n"
	  "a time means the last point at or before it.\n" },
	{ "diff", cmd_diff, "GROUP@WHEN GROUP@WHEN [--store DIR] [--volume V]",
	  "list the ranges in which two points differ, by content",
	  STORE_OPTION KEY_OPTIONS
	  "  --volume V         only this one\n"
	  "  --force            also points that are known to be damaged\n" },
	{ "map", cmd_map, "[GROUP@WHEN [VOLUME]] [--store DIR] [--device] [--writable | --branch NAME]",
	  "serve a point over NBD; without a point list what is served",
	  STORE_OPTION KEY_OPTIONS
	  "  --device           block devices as well; needs root\n"
	  VIA_OPTION
	  "  --writable         what is written goes to a branch that is dropped when unmapped\n"
	  "  --branch NAME      what is written goes to this branch, which stays; it is made if it\n"
	  "                     is not there\n"
	  "  --socket PATH      of the server (default in the directory below)\n"
	  "  --force            also a point that is known to be damaged\n"
	  RUN_DIR_OPTION
	  "\n"
	  "The server is an nbdkit of its own, which goes on until `blkship unmap`.\n" },
	{ "unmap", cmd_unmap, "NAME... | --all", "end what map and mount have made",
	  "  --all              all there are, also what a killed command or nbdkit left\n"
	  RUN_DIR_OPTION },
	{ "mount", cmd_mount, "GROUP@WHEN DIR [--store DIR] [--force]",
	  "mount all filesystems of a point: DIR/VOLUME, or DIR/VOLUME/pN for partition N",
	  STORE_OPTION KEY_OPTIONS
	  VIA_OPTION
	  "  --force            also a point that is known to be damaged\n"
	  RUN_DIR_OPTION
	  "\n"
	  "Logical volumes that are linear, striped, or a mirror in sync, are DIR/VOLUME/GROUP-NAME;\n"
	  "others are named, with why and what to do.\n"
	  "Only root; nosuid, nodev, noexec. It is somebody else's disk: the kernel that mounts\n"
	  "it has to trust it. Journals are replayed: what they, and you, write goes to a\n"
	  "temporary file in TMPDIR (/var/tmp) and is dropped at umount; the store is only read.\n" },
	{ "umount", cmd_umount, "DIR", "unmount a point, and drop what was written there", RUN_DIR_OPTION },
	{ "branch create", cmd_branch_create, "GROUP@WHEN NAME [--store DIR] [--force]",
	  "make a branch: a writable timeline that begins at a point",
	  STORE_OPTION
	  "  --force            also of a point that is known to be damaged\n"
	  "\n"
	  "What is written goes to the branch; the group's own history is only read.\n" },
	{ "branch list", cmd_branch_list, "GROUP [--store DIR]", "list the branches of a group",
	  STORE_OPTION },
	{ "branch changes", cmd_branch_changes, "GROUP/NAME [--store DIR]",
	  "list the ranges that were written since a branch began, by its index", STORE_OPTION },
	{ "branch drop", cmd_branch_drop, "GROUP/NAME [--store DIR]",
	  "drop a branch and all that was written to it", STORE_OPTION },
	{ "branch promote", cmd_branch_promote, "GROUP/NAME [--store DIR] [--force]",
	  "make a branch the main line of its group, as when a failover is committed",
	  STORE_OPTION
	  "  --force            although the group's source is connected, or the branch has no points\n"
	  "\n"
	  "From then on GROUP@latest and later times mean the branch; the group takes nothing more of\n"
	  "its source. What it had past the branch's beginning is kept as GROUP/~EPOCH. Nothing is\n"
	  "copied. It cannot be taken back, but another branch can be promoted.\n" },
	{ "store check", cmd_store_check, "[GROUP]... [--store DIR] [--rebuild] [--unpromoted]",
	  "read and check all that a store holds, mark points that need what is damaged",
	  STORE_OPTION KEY_OPTIONS
	  "  --rebuild          first make the index anew from the segments, and a manifest or points\n"
	  "                     file that is lost; not beside the daemon\n"
	  "  --unpromoted       with that: no branch had become the main line, should the manifest\n"
	  "                     that said so be lost\n" },
	{ "store scrub", cmd_store_scrub, "[GROUP]... [--store DIR] [--rate-mib N] [--for TIME] [--restart]",
	  "the same at a limited rate, going on where the last scrub ended",
	  STORE_OPTION KEY_OPTIONS
	  "  --rate-mib N       MiB a second at most (default 32)\n"
	  "  --for TIME         end after 30m, 2h ...; also when told to by SIGINT or SIGTERM\n"
	  "  --restart          from the start, also where the last one was interrupted\n" },
};

static int usage(FILE *out)
{
	fprintf(out, "usage: blkship COMMAND ...\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-14s %s\n", commands[i].name, commands[i].summary);
	fprintf(out, "\n`blkship COMMAND --help` says more. Exit codes: 0 done, 1 failed, 2 usage,\n"
		"3 not found, 4 refused for safety.\n");
	return out == stdout ? CLI_DONE : CLI_USAGE;
}

/* How many words of the command line are this command's name; 0: it is another. */
static int words_matched(const struct command *c, int argc, char **argv)
{
	size_t first = strcspn(c->name, " ");

	if (argc < 2 || strlen(argv[1]) != first || strncmp(c->name, argv[1], first) != 0)
		return 0;
	if (!c->name[first])
		return 1;
	return argc > 2 && strcmp(c->name + first + 1, argv[2]) == 0 ? 2 : 0;
}

int main(int argc, char **argv)
{
	setlocale(LC_TIME, "");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		int words = words_matched(&commands[i], argc, argv);

		if (words)
			return commands[i].run(&commands[i], argc - words, argv + words);
	}
	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0))
		return usage(stdout);
	if (argc >= 2)
		fprintf(stderr, "blkship: no command '%s'\n", argv[1]);
	return usage(stderr);
}
