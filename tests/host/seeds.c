// SPDX-License-Identifier: GPL-2.0-only
/* seeds - many seeds in several processes, or one by itself. */
#include "seeds.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

bool seeds_parse(struct seeds *s, int argc, char **argv)
{
	static const struct option options[] = {
		{ "seeds", required_argument, NULL, 'n' }, { "first", required_argument, NULL, 'f' },
		{ "seed", required_argument, NULL, 's' }, { "trace", no_argument, NULL, 't' },
		{ "jobs", required_argument, NULL, 'j' }, { "stop-after", required_argument, NULL, 'x' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'n': s->nr = strtoull(optarg, NULL, 10); break;
		case 'f': s->first = strtoull(optarg, NULL, 10); break;
		case 's': s->seed = strtoll(optarg, NULL, 10); break;
		case 'j': s->jobs = strtoul(optarg, NULL, 10); break;
		case 'x': s->stop_after = strtoull(optarg, NULL, 10); break;
		case 't': s->trace = true; break;
		default: return false;
		}
	if (!s->jobs)
		s->jobs = 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	return true;
}

unsigned int seeds_fork(const struct seeds *s, void (*run)(void *arg, unsigned int job),
			void *arg)
{
	unsigned int died = 0;

	for (unsigned int j = 0; j < s->jobs; j++)
		if (fork() == 0) {
			run(arg, j);
			exit(0);	/* lets the leak checker look */
		}
	for (unsigned int j = 0; j < s->jobs; j++) {
		int status;

		if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status)) {
			printf("a job died, status %x\n", status);
			died++;
		}
	}
	return died;
}

void seeds_count(struct seeds_result *r, uint64_t seed, const char *wrong)
{
	r->passed += !wrong;
	if (wrong && !r->failed++) {
		r->first_bad = seed;
		snprintf(r->text, sizeof(r->text), "%s", wrong);
	}
}

void seeds_add(struct seeds_result *sum, const struct seeds_result *r)
{
	uint64_t passed = sum->passed + r->passed, failed = sum->failed + r->failed;

	if (r->first_bad < sum->first_bad)
		*sum = *r;
	sum->passed = passed;
	sum->failed = failed;
}

int seeds_end(const struct seeds_result *sum)
{
	if (sum->first_bad != UINT64_MAX)
		printf("replay with --seed %llu --trace: %s\n", (unsigned long long)sum->first_bad,
		       sum->text);
	printf("%llu passed, %llu failed, 0 skipped\n", (unsigned long long)sum->passed,
	       (unsigned long long)sum->failed);
	return sum->failed != 0;
}

int seeds_one_end(uint64_t seed, const char *wrong)
{
	printf("seed %llu: %s%s\n", (unsigned long long)seed, wrong ? "VIOLATION: " :
	       "nothing wrong", wrong ? wrong : "");
	return wrong != NULL;
}
