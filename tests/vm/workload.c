// SPDX-License-Identifier: GPL-2.0-only
/*
 * workload - what a protected server does all day, told so that it can be checked
 *
 *	workload clock NANOSECONDS	set the wall clock, then end
 *	workload tx LEDGER.db AUDIT.db	transactions in two databases
 *	workload tree SOURCE DIR	copies of a tree of files, made and dropped
 *
 * "tx" commits transaction n in the ledger, then in the audit database, which may be
 * on another volume: no state of the disks ever has n in the second only. Standard
 * output gets "begin n TIME" before and "done n TIME" after both are on stable
 * storage (WAL, synchronous=FULL). "tree" likewise: "done n TIME" once copy n is
 * whole and synced, "drop n TIME" before its removal begins. TIME is wall clock,
 * nanoseconds. Each "begin" and "drop" waits for a byte on standard input.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#define NR_ACCOUNTS		16
#define NOTE_MAX_BYTES		3000
#define TX_INTERVAL_NS		(1000000000 / 400)
#define TREE_INTERVAL_NS	1000000000
#define TREES_KEPT		2

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* One write() a line, so that a line is whole at the host or not there. */
static void tell(const char *what, uint64_t n)
{
	char line[64];
	int len = snprintf(line, sizeof(line), "%s %" PRIu64 " %" PRIu64 "\n", what, n,
			   clock_ns(CLOCK_REALTIME));

	if (write(STDOUT_FILENO, line, len) != len)
		err(1, "telling");
}

/*
 * What is begun must be known to be begun, whatever is lost with this machine: who
 * listens answers each such line with a byte.
 */
static void tell_first(const char *what, uint64_t n)
{
	char heard;

	tell(what, n);
	if (read(STDIN_FILENO, &heard, 1) != 1)
		err(1, "nobody listens");
}

/* A server has pauses: at most one turn per interval. */
static void pace(uint64_t start_ns, uint64_t turn, uint64_t interval_ns)
{
	uint64_t due_ns = start_ns + turn * interval_ns;
	struct timespec ts = {
		.tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000,
	};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

/* The CRC-32 of zlib, which whoever checks the databases has at hand. */
static uint32_t crc32(const uint8_t *buf, size_t bytes)
{
	uint32_t crc = ~0u;

	while (bytes--) {
		crc ^= *buf++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static size_t note_fill(uint8_t *note, uint64_t n)
{
	uint64_t state = n * UINT64_C(0x9e3779b97f4a7c15) + 1;
	size_t bytes = state >> 20 & 2047;

	for (size_t i = 0; i < bytes; i++) {
		state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
		note[i] = state >> 56;
	}
	return bytes;
}

/* -- transactions -- */

struct db {
	sqlite3 *handle;
	sqlite3_stmt *begin, *commit, *insert, *pay;
	const char *path;
};

static void db_check(struct db *db, int rc, int want)
{
	if (rc != want)
		errx(1, "%s: %s", db->path, sqlite3_errmsg(db->handle));
}

static void db_exec(struct db *db, const char *sql)
{
	db_check(db, sqlite3_exec(db->handle, sql, NULL, NULL, NULL), SQLITE_OK);
}

static sqlite3_stmt *db_prepare(struct db *db, const char *sql)
{
	sqlite3_stmt *stmt;

	db_check(db, sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL), SQLITE_OK);
	return stmt;
}

static void db_step(struct db *db, sqlite3_stmt *stmt)
{
	db_check(db, sqlite3_step(stmt), SQLITE_DONE);
	sqlite3_reset(stmt);
}

static void db_open(struct db *db, const char *path)
{
	db->path = path;
	db_check(db, sqlite3_open(path, &db->handle), SQLITE_OK);
	db_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
		"CREATE TABLE entry(n INTEGER PRIMARY KEY, payer INT, payee INT, amount INT,"
		" note BLOB, crc INT);");
	db->begin = db_prepare(db, "BEGIN IMMEDIATE");
	db->commit = db_prepare(db, "COMMIT");
	db->insert = db_prepare(db, "INSERT INTO entry VALUES(?1, ?2, ?3, ?4, ?5, ?6)");
}

static void db_insert(struct db *db, uint64_t n, int payer, int payee, int amount,
		      const uint8_t *note, size_t note_bytes)
{
	sqlite3_bind_int64(db->insert, 1, n);
	sqlite3_bind_int(db->insert, 2, payer);
	sqlite3_bind_int(db->insert, 3, payee);
	sqlite3_bind_int(db->insert, 4, amount);
	sqlite3_bind_blob(db->insert, 5, note, note_bytes, SQLITE_STATIC);
	sqlite3_bind_int64(db->insert, 6, crc32(note, note_bytes));
	db_step(db, db->insert);
}

static void db_pay(struct db *db, int account, int amount)
{
	sqlite3_bind_int(db->pay, 1, amount);
	sqlite3_bind_int(db->pay, 2, account);
	db_step(db, db->pay);
}

static _Noreturn void run_tx(const char *ledger_path, const char *audit_path)
{
	struct db ledger, audit;
	uint8_t note[NOTE_MAX_BYTES];
	uint64_t start_ns = clock_ns(CLOCK_MONOTONIC);

	db_open(&ledger, ledger_path);
	db_open(&audit, audit_path);
	db_exec(&ledger, "BEGIN; CREATE TABLE account(id INTEGER PRIMARY KEY, balance INT)");
	for (int i = 0; i < NR_ACCOUNTS; i++)
		db_exec(&ledger, "INSERT INTO account(balance) VALUES(1000)");
	db_exec(&ledger, "COMMIT");
	ledger.pay = db_prepare(&ledger,
				"UPDATE account SET balance = balance + ?1 WHERE id = ?2");

	for (uint64_t n = 1;; n++) {
		int payer = n % NR_ACCOUNTS + 1;
		int payee = n * 7 % NR_ACCOUNTS + 1;
		int amount = n % 100;
		size_t note_bytes = note_fill(note, n);

		tell_first("begin", n);
		db_step(&ledger, ledger.begin);
		db_insert(&ledger, n, payer, payee, amount, note, note_bytes);
		db_pay(&ledger, payer, -amount);
		db_pay(&ledger, payee, amount);
		db_step(&ledger, ledger.commit);
		db_step(&audit, audit.begin);
		db_insert(&audit, n, payer, payee, amount, note, note_bytes);
		db_step(&audit, audit.commit);
		tell("done", n);
		pace(start_ns, n, TX_INTERVAL_NS);
	}
}

/* -- files -- */

static void copy_file(const char *from, const char *to)
{
	static char buf[65536];
	char part[PATH_MAX];
	int in = open(from, O_RDONLY | O_CLOEXEC), out;
	ssize_t bytes;

	/* As careful programs do it: a temporary name, then rename. */
	snprintf(part, sizeof(part), "%.*s.part", (int)sizeof(part) - 8, to);
	out = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (in < 0 || out < 0)
		err(1, "%s", in < 0 ? from : part);
	while ((bytes = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, bytes) != bytes)
			err(1, "%s", part);
	if (bytes < 0 || close(out) || rename(part, to))
		err(1, "%s", to);
	close(in);
}

/* Call for each name in a directory; a subdirectory is a tree of its own. */
static void tree_walk(const char *from, const char *to, void (*enter)(const char *to),
		      void (*file)(const char *from, const char *to),
		      void (*leave)(const char *from))
{
	char a[PATH_MAX], b[PATH_MAX];
	struct dirent *entry;
	struct stat st;
	DIR *dir = opendir(from);

	if (!dir)
		err(1, "%s", from);
	if (enter)
		enter(to);
	while ((entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if ((size_t)snprintf(a, sizeof(a), "%s/%s", from, entry->d_name) >= sizeof(a) ||
		    (size_t)snprintf(b, sizeof(b), "%s/%s", to, entry->d_name) >= sizeof(b))
			errx(1, "%s: name too long", entry->d_name);
		if (lstat(a, &st))
			err(1, "%s", a);
		if (S_ISDIR(st.st_mode))
			tree_walk(a, b, enter, file, leave);
		else
			file(a, b);
	}
	closedir(dir);
	if (leave)
		leave(from);
}

static void make_dir(const char *to)
{
	if (mkdir(to, 0755))
		err(1, "%s", to);
}

static void remove_file(const char *from, const char *to)
{
	if (unlink(from))
		err(1, "%s", from);
}

static void remove_dir(const char *from)
{
	if (rmdir(from))
		err(1, "%s", from);
}

static _Noreturn void run_tree(const char *source, const char *dir)
{
	uint64_t start_ns = clock_ns(CLOCK_MONOTONIC);
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		err(1, "%s", dir);
	for (uint64_t n = 1;; n++) {
		char fresh[PATH_MAX], final[PATH_MAX], old[PATH_MAX];

		snprintf(fresh, sizeof(fresh), "%s/copying", dir);
		snprintf(final, sizeof(final), "%s/copy-%" PRIu64, dir, n);
		tree_walk(source, fresh, make_dir, copy_file, NULL);
		if (syncfs(fd) || rename(fresh, final) || fsync(fd))
			err(1, "%s", final);
		tell("done", n);
		if (n > TREES_KEPT) {
			tell_first("drop", n - TREES_KEPT);
			snprintf(old, sizeof(old), "%s/copy-%" PRIu64, dir, n - TREES_KEPT);
			tree_walk(old, old, NULL, remove_file, remove_dir);
		}
		pace(start_ns, n, TREE_INTERVAL_NS);
	}
}

static int set_clock(const char *text)
{
	uint64_t ns = strtoull(text, NULL, 10);
	struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	if (clock_settime(CLOCK_REALTIME, &ts))
		err(1, "clock");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "clock"))
		return set_clock(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "tx"))
		run_tx(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "tree"))
		run_tree(argv[2], argv[3]);
	fprintf(stderr, "usage: workload clock NS | tx LEDGER AUDIT | tree SOURCE DIR\n");
	return 2;
}
