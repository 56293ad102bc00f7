// SPDX-License-Identifier: GPL-2.0-only
/*
 * gen_ship - blkshipd's own code over a ring that is filled by a thread.
 *
 *	gen_ship --config-dir DIR --group NAME --volume NAME=FILE:MIB [--volume ...]
 *		 [--target HOST:PORT] [--ring-mib N] [--record BYTES] [--mib N]
 *		 [--device] [--wait] [--codec none|lz4] [--halved] [--seed N] [--cut-ms N]
 *
 * Waits until initial replication is durable, says "replicated", writes --mib of
 * records at random places (as fast as the ring has room, so that every one is
 * captured), and says "durable SECONDS MB_PER_S RECORDS_PER_S" when the target
 * has acknowledged them all. With --device the writes go to the volume files as
 * well. With --halved half of each sector is one byte again and again, for --codec lz4 to
 * shorten. With --wait it then goes on until standard input ends, doing what is
 * read there, a line each: "write N" writes N records without looking for room.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../userspace/lib/env_posix.h"
#include "../../userspace/lib/segment_format.h"
#include "../../userspace/shipper/source.h"
#include "../host/ring_gen.h"

#define MAX_VOLUMES 8
#define POOL_BYTES (64u << 20)
#define LOOK_NS UINT64_C(2000000)

enum phase { REPLICATING, WRITING, DRAINING, WAITING };

struct run {
	struct loop *loop;
	struct env *env;
	struct ring_gen *gen;
	struct source *source;
	struct loop_timer look;
	struct loop_poll commands;
	struct ring_gen_volume volumes[MAX_VOLUMES];
	uint32_t nr_volumes;
	uint8_t *pool;
	uint64_t seed, record_bytes, total_bytes, nr_records;
	bool to_device, wait, halved;
	enum phase phase;
	pthread_t writer;
	volatile bool written;
	uint64_t begun_ns;
};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;		/* xorshift64*, by Vigna */
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

static void pool_fill(struct run *r)
{
	r->pool = malloc(POOL_BYTES);
	if (!r->pool)
		abort();
	for (size_t i = 0; i < POOL_BYTES; i += 8) {
		uint64_t word = next_random(&r->seed);

		if (r->halved && i % 512 >= 256)
			word = UINT64_C(0x0101010101010101);
		memcpy(r->pool + i, &word, 8);
	}
}

static void write_one(struct run *r)
{
	uint64_t dice = next_random(&r->seed);
	uint16_t volume = dice % r->nr_volumes;
	uint64_t slots = r->volumes[volume].size_bytes / r->record_bytes;
	uint64_t from = next_random(&r->seed) % ((POOL_BYTES - r->record_bytes) / 512) * 512;

	ring_gen_write(r->gen, volume, (dice >> 8) % slots * r->record_bytes, r->pool + from,
		       r->record_bytes, r->to_device);
}

static void *write_all(void *arg)
{
	const struct timespec nap = { .tv_nsec = 50000 };
	struct run *r = arg;

	for (uint64_t done = 0; done < r->total_bytes; done += r->record_bytes) {
		while (!ring_gen_room(r->gen, r->record_bytes))
			nanosleep(&nap, NULL);	/* the pace is the pipeline's */
		write_one(r);
		r->nr_records++;
	}
	r->written = true;
	return NULL;
}

static uint64_t number(json_t *status, const char *name)
{
	json_t *value = json_object_get(status, name);

	return json_is_string(value) ? strtoull(json_string_value(value), NULL, 10) :
				       (uint64_t)json_integer_value(value);
}

static bool is_protected(json_t *status)
{
	return !strcmp(json_string_value(json_object_get(status, "state")), "PROTECTED") &&
	       number(status, "point_time_ns");
}

/* Everything that was written is durable at the target. */
static bool is_durable(struct run *r, json_t *status)
{
	/* Not only drained and acknowledged: what waits for its cut counts too. */
	return number(status, "drained_seq") == ring_gen_kernel(r->gen)->newest_seq &&
	       json_is_true(json_object_get(status, "idle"));
}

static void report(struct run *r)
{
	double seconds = (loop_now_ns() - r->begun_ns) / 1e9;

	printf("durable %.3f %.1f %.0f\n", seconds, r->total_bytes / seconds / 1e6,
	       r->nr_records / seconds);
}

static void on_look(struct loop_timer *t)
{
	struct run *r = (void *)((char *)t - offsetof(struct run, look));
	json_t *status = source_status(r->source);

	if (r->phase == REPLICATING && is_protected(status)) {
		puts("replicated");
		r->phase = WRITING;
		r->begun_ns = loop_now_ns();
		if (pthread_create(&r->writer, NULL, write_all, r))
			abort();
	} else if (r->phase == WRITING && r->written) {
		pthread_join(r->writer, NULL);
		r->phase = DRAINING;
	} else if (r->phase == DRAINING && is_durable(r, status)) {
		report(r);
		r->phase = WAITING;
		if (!r->wait)
			loop_stop(r->loop);
	}
	json_decref(status);
}

static void on_command(struct loop_poll *p, uint32_t events)
{
	struct run *r = (void *)((char *)p - offsetof(struct run, commands));
	char line[128];
	ssize_t n = read(0, line, sizeof(line) - 1);
	unsigned long count;

	if (n <= 0) {
		loop_stop(r->loop);
		return;
	}
	line[n] = '\0';
	if (sscanf(line, "write %lu", &count) == 1) {
		while (count--)
			write_one(r);
		/* Say so when it is durable. */
		r->begun_ns = loop_now_ns();
		r->phase = DRAINING;
	} else if (!strncmp(line, "status", 6)) {
		json_t *status = source_status(r->source);

		json_dumpf(status, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(status);
	}
}

static int volume_parse(struct ring_gen_volume *v, char *text)
{
	char *path = strchr(text, '='), *mib = strrchr(text, ':');

	if (!path || !mib || mib < path)
		return -EINVAL;
	*path = *mib = '\0';
	v->name = text;
	v->path = path + 1;
	v->size_bytes = strtoull(mib + 1, NULL, 10) << 20;
	return 0;
}

static void on_stopped(void *arg)
{
	loop_stop(((struct run *)arg)->loop);
}

static int run(struct run *r, struct source_params *params, uint64_t ring_bytes,
	       const char *group)
{
	if (ring_gen_create(ring_bytes / 4096 * 2, ring_bytes, r->volumes, r->nr_volumes,
			    &r->gen) ||
	    loop_create(256, &r->loop) || env_posix_create(r->loop, &r->env))
		return 1;
	pool_fill(r);
	params->loop = r->loop;
	params->env = r->env;
	params->opener = ring_gen_opener(r->gen);
	if (source_create(params, group, &r->source))
		return 1;
	loop_timer_start(r->loop, &r->look, LOOK_NS, LOOK_NS, on_look);
	if (r->wait)
		loop_poll_start(r->loop, &r->commands, 0, POLLIN, on_command);
	if (loop_run(r->loop))
		return 1;
	loop_poll_stop(&r->commands);
	loop_timer_stop(&r->look);
	source_stop(r->source, on_stopped, r);
	if (loop_run(r->loop))
		return 1;
	source_destroy(r->source);
	tls_ctx_destroy(params->tls);
	loop_destroy(r->loop);
	env_posix_destroy(r->env);
	ring_gen_destroy(r->gen);
	free(r->pool);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config-dir", required_argument, NULL, 'c' },
		{ "target", required_argument, NULL, 't' },
		{ "group", required_argument, NULL, 'g' },
		{ "volume", required_argument, NULL, 'v' },
		{ "ring-mib", required_argument, NULL, 'r' },
		{ "record", required_argument, NULL, 'b' },
		{ "mib", required_argument, NULL, 'm' },
		{ "codec", required_argument, NULL, 'z' },
		{ "seed", required_argument, NULL, 's' },
		{ "cut-ms", required_argument, NULL, 'i' },
		{ "device", no_argument, NULL, 'd' },
		{ "halved", no_argument, NULL, 'h' },
		{ "wait", no_argument, NULL, 'w' },
		{ NULL, 0, NULL, 0 },
	};
	static struct run r = { .seed = 1, .record_bytes = 4096, .total_bytes = 64 << 20 };
	struct source_params params = { .codec = UNIT_STORED };
	char ca[512], cert[512], key[512], why[TLS_TEXT_BYTES];
	const char *dir = NULL, *group = "bench";
	uint64_t ring_bytes = 128 << 20;
	int c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'c': dir = optarg; break;
		case 't': params.target = optarg; break;
		case 'g': group = optarg; break;
		case 'v':
			if (r.nr_volumes == MAX_VOLUMES ||
			    volume_parse(&r.volumes[r.nr_volumes++], optarg))
				return 2;
			break;
		case 'r': ring_bytes = strtoull(optarg, NULL, 10) << 20; break;
		case 'b': r.record_bytes = strtoull(optarg, NULL, 10); break;
		case 'm': r.total_bytes = strtoull(optarg, NULL, 10) << 20; break;
		case 'z': params.codec = strcmp(optarg, "lz4") ? UNIT_STORED : UNIT_LZ4; break;
		case 'i': params.cut_interval_ns = strtoull(optarg, NULL, 10) * 1000000; break;
		case 's': r.seed = strtoull(optarg, NULL, 10); break;
		case 'd': r.to_device = true; break;
		case 'h': r.halved = true; break;
		case 'w': r.wait = true; break;
		default: return 2;
		}
	if (!dir || !params.target || !r.nr_volumes || !r.record_bytes)
		return 2;
	snprintf(ca, sizeof(ca), "%s/pki/ca.pem", dir);
	snprintf(cert, sizeof(cert), "%s/pki/cert.pem", dir);
	snprintf(key, sizeof(key), "%s/pki/key.pem", dir);
	if (tls_ctx_client(ca, cert, key, &params.tls, why)) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	return run(&r, &params, ring_bytes, group);
}
