// SPDX-License-Identifier: GPL-2.0
/*
 * blkship - captures every write of protected volumes into a ring that
 * blkshipd drains. main.c loads and unloads; the stages are described at the
 * top of capture.h and ring_core.h.
 */
#include <linux/module.h>
#include <linux/workqueue.h>

#include "batch.h"
#include "capture.h"
#include "chardev.h"
#include "front_dm.h"
#include "meta.h"
#include "front_tap.h"
#include "netlink.h"
#include "payload_crc.h"
#include "tap_selftest.h"

unsigned int blkship_io_timeout_s = 120;
module_param_named(io_timeout_s, blkship_io_timeout_s, uint, 0644);
MODULE_PARM_DESC(io_timeout_s, "seconds after which an operation that does not end becomes a gap");

module_param_named(meta_period_s, blkship_meta_period_s, uint, 0644);
MODULE_PARM_DESC(meta_period_s, "seconds after which a region that is not written to any more may leave the list on the metadata device");
module_param_named(meta_timeout_s, blkship_meta_timeout_s, uint, 0644);
MODULE_PARM_DESC(meta_timeout_s, "seconds after which a metadata device that does not answer is given up");

static bool disable;
module_param(disable, bool, 0444);
MODULE_PARM_DESC(disable, "capture nothing; dm tables load and pass everything through");

struct workqueue_struct *blkship_wq;

/* A table still says on its metadata device that it is out of use. */
static int __init disabled_init(void)
{
	int ret = blkship_batch_init();

	if (ret)
		return ret;
	ret = blkship_dm_init(true);
	if (ret)
		blkship_batch_exit();
	return ret;
}

static int __init blkship_init(void)
{
	int ret;

	/* The group's lock is held for as long as interrupts may be off only
	 * on a kernel that was not made for bounded latencies. */
	if (IS_ENABLED(CONFIG_PREEMPT_RT)) {
		pr_err("blkship: kernels with PREEMPT_RT are not supported\n");
		return -EOPNOTSUPP;
	}
	if (disable) {
		pr_warn("blkship: disabled on request: nothing is captured\n");
		return disabled_init();
	}
	blkship_payload_crc_init();
	/* Held writes are sent from here while memory is being reclaimed. */
	blkship_wq = alloc_workqueue("blkship", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!blkship_wq)
		return -ENOMEM;
	/* Of its own: waiting for a metadata device holds up nothing else. */
	ret = -ENOMEM;
	blkship_meta_wq = alloc_workqueue("blkship_meta",
					  WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!blkship_meta_wq)
		goto err_wq;
	ret = blkship_batch_init();
	if (ret)
		goto err_meta_wq;
	ret = blkship_tap_init();
	if (ret)
		goto err_batch;
	ret = blkship_tap_selftest();
	if (ret)
		goto err_tap;
	ret = blkship_netlink_init();
	if (ret)
		goto err_tap;
	ret = blkship_chardev_init();
	if (ret)
		goto err_netlink;
	ret = blkship_dm_init(false);	/* last: now volumes can be attached */
	if (ret)
		goto err_chardev;
	return 0;

err_chardev:
	blkship_chardev_exit();
err_netlink:
	blkship_netlink_exit();
err_tap:
	blkship_tap_exit();
err_batch:
	blkship_batch_exit();
err_meta_wq:
	destroy_workqueue(blkship_meta_wq);
err_wq:
	destroy_workqueue(blkship_wq);
	return ret;
}

/* Groups, targets and open files hold the module: none is left here. */
static void __exit blkship_exit(void)
{
	blkship_dm_exit();
	if (!disable) {
		blkship_chardev_exit();
		blkship_netlink_exit();
		blkship_tap_exit();
		destroy_workqueue(blkship_meta_wq);
		destroy_workqueue(blkship_wq);
	}
	blkship_batch_exit();
}

module_init(blkship_init);
module_exit(blkship_exit);
MODULE_DESCRIPTION("continuous data protection: captures block writes");
MODULE_AUTHOR("The blkship project");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
