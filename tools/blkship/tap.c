// SPDX-License-Identifier: GPL-2.0-only
#include "tap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "../../userspace/lib/knl.h"
#include "../../userspace/lib/tap_check.h"
#include "blockdev.h"
#include "cli.h"

struct group_search {
	const char *group;
	bool found;
};

static int group_compare(void *arg, const struct knl_group *g)
{
	struct group_search *search = arg;

	search->found |= strcmp(g->name, search->group) == 0;
	return 0;
}

/* The ring is made with the group, and does not change its size. */
static int ring_check(struct knl *nl, const struct tap_attach *a)
{
	struct group_search search = { .group = a->group };
	char why[KNL_TEXT_BYTES];
	int ret;

	if (!a->ring_mib)
		return CLI_DONE;
	ret = knl_groups(nl, group_compare, &search, why);
	if (ret < 0)
		return cli_fail(CLI_FAILED, "group %s: %s; nothing was changed", a->group, why);
	if (search.found)
		return cli_fail(CLI_FAILED, "group %s: it exists, with a ring; nothing was changed; leave out --ring-mib",
				a->group);
	return CLI_DONE;
}

static int device_check(struct knl *nl, const struct tap_attach *a, struct tap_answer *answer)
{
	struct tap_request request = {
		.sysfs = "/sys",
		.group = a->group,
		.volume = a->volume,
		.is_swap = blockdev_is_swap,
	};
	struct knl_volume *volumes;
	char why[KNL_TEXT_BYTES];
	struct stat st;
	int ret;

	if (stat(a->device, &st) < 0)
		return cli_fail(cli_exit_of(-errno), "device %s: %s; nothing was changed; name a block device that exists",
				a->device, strerror(errno));
	if (!S_ISBLK(st.st_mode))
		return cli_fail(CLI_FAILED, "device %s: it is no block device; nothing was changed; name a block device that exists",
				a->device);
	request.major = major(st.st_rdev);
	request.minor = minor(st.st_rdev);
	ret = knl_volume_list(nl, NULL, &volumes, &request.nr_volumes, why);
	if (ret < 0)
		return cli_fail(CLI_FAILED, "attach %s: %s; nothing was changed", a->device, why);
	request.volumes = volumes;
	ret = tap_check(&request, answer);
	free(volumes);
	if (ret == -EPERM)
		return cli_fail(CLI_REFUSED, "device %s: %s", a->device, answer->text);
	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "device %s: %s; nothing was changed; name a block device that exists",
				a->device, strerror(-ret));
	return CLI_DONE;
}

/* What the module will not do, as against what went wrong. */
static enum cli_exit exit_of_kernel(int ret)
{
	return ret == -EOPNOTSUPP || ret == -EBUSY || ret == -EEXIST ? CLI_REFUSED :
	       cli_exit_of(ret);
}

static int tell(const struct tap_attach *a, const struct tap_answer *answer)
{
	char size[16];

	if (answer->dev.partition)
		fprintf(stderr, "blkship: warning: %s is a partition of %s: what is restored has no boot loader and no partition table; attach the whole disk to have both\n",
			a->device, answer->dev.disk);
	if (a->json)
		return cli_print_json(json_pack("{s:s, s:s, s:s, s:s, s:I, s:b, s:b, s:s}", "group",
						a->group, "volume", a->volume, "device", a->device,
						"front", "tap", "size_bytes",
						(json_int_t)answer->dev.size_bytes, "partition",
						answer->dev.partition, "again", answer->again,
						"left_out", answer->swaps));
	cli_bytes(answer->dev.size_bytes, size, sizeof(size));
	printf("%s/%s: captures the writes to %s (%s)%s\n", a->group, a->volume, a->device, size,
	       answer->again ? " again" : "");
	if (answer->swaps[0])
		printf("note: swap on %s is left out\n", answer->swaps);
	if (answer->again)
		printf("note: what was written meanwhile is not known: all of it is read back, and there are no new points before that\n");
	printf("next: blkshipd ships it when it runs; `blkship status` shows the first point\n");
	return CLI_DONE;
}

int tap_attach(struct knl *nl, const struct tap_attach *a)
{
	struct tap_answer answer;
	char why[KNL_TEXT_BYTES];
	int ret = device_check(nl, a, &answer);

	if (ret == CLI_DONE)
		ret = ring_check(nl, a);
	if (ret != CLI_DONE)
		return ret;
	ret = knl_tap_add(nl, a->group, a->volume, answer.dev.major, answer.dev.minor,
			  (uint64_t)a->ring_mib << 20, a->meta, why);
	if (ret < 0)
		return cli_fail(exit_of_kernel(ret), "attach %s to %s/%s: %s; nothing was changed%s",
				a->device, a->group, a->volume, why,
				a->ring_mib && ret == -ENOMEM ? "; try a smaller --ring-mib" : "");
	return tell(a, &answer);
}
