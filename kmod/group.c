// SPDX-License-Identifier: GPL-2.0
/* See group.h for locks and lifetime. */
#include <linux/ctype.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "capture.h"
#include "group.h"
#include "meta.h"
#include "netlink.h"
#include "observe_table.h"

#define RING_MIN_BYTES		(1ULL << 20)
#define RING_MAX_BYTES		(4096ULL << 20)
#define RING_DEFAULT_MIN_BYTES	(32ULL << 20)
#define RING_DEFAULT_MAX_BYTES	(512ULL << 20)
/* One descriptor for so much payload: half of a page, as flushes take some. */
#define BYTES_PER_DESC		2048

DEFINE_MUTEX(blkship_mutex);
LIST_HEAD(blkship_groups);

static u64 last_group_id;	/* blkship_mutex */
static u64 rings_bytes;		/* blkship_mutex; payload of all groups */

/* isalnum() of the kernel knows Latin-1 as well; names are ASCII. */
static bool is_word(char c)
{
	return (isascii(c) && isalnum(c)) || c == '_';
}

/* The target makes paths of names and holds them to the same rule. */
bool blkship_name_valid(const char *name)
{
	size_t len = strnlen(name, BLKSHIP_NAME_BYTES);
	size_t i;

	if (!len || len == BLKSHIP_NAME_BYTES || !is_word(name[0]))
		return false;
	for (i = 1; i < len; i++)
		if (!is_word(name[i]) && name[i] != '.' && name[i] != '-')
			return false;
	return true;
}

static u64 ram_bytes(void)
{
	return (u64)totalram_pages() << PAGE_SHIFT;
}

static u64 default_ring_bytes(void)
{
	return rounddown_pow_of_two(clamp(ram_bytes() / 64,
					  RING_DEFAULT_MIN_BYTES,
					  RING_DEFAULT_MAX_BYTES));
}

/* Rings cannot be swapped out: all together get a bounded part of the RAM. */
static bool rings_charge(u64 bytes)
{
	bool fits;

	mutex_lock(&blkship_mutex);
	fits = rings_bytes + bytes <= ram_bytes() / 16;
	if (fits)
		rings_bytes += bytes;
	mutex_unlock(&blkship_mutex);
	return fits;
}

static void rings_uncharge(u64 bytes)
{
	mutex_lock(&blkship_mutex);
	rings_bytes -= bytes;
	mutex_unlock(&blkship_mutex);
}

static void ring_free(struct blkship_group *grp)
{
	struct blkship_ring *r = &grp->ring;

	vfree(grp->flights);
	vfree(r->entries);
	vfree(r->payload);
	vfree(r->descs);
	vfree(r->consumer);
	vfree(r->shared);
}

/* What userspace maps is made by vmalloc_user(); the rest it never sees. */
static int ring_alloc(struct blkship_group *grp, u64 ring_bytes)
{
	struct blkship_ring *r = &grp->ring;

	r->payload_bytes = ring_bytes;
	r->desc_count = max(ring_bytes / BYTES_PER_DESC, 1024ULL);
	r->shared = vmalloc_user(PAGE_SIZE);
	r->consumer = vmalloc_user(PAGE_SIZE);
	r->descs = vmalloc_user(array_size(r->desc_count, sizeof(*r->descs)));
	r->payload = vmalloc_user(ring_bytes);
	r->entries = vzalloc(array_size(r->desc_count, sizeof(*r->entries)));
	grp->flights = vzalloc(array_size(r->desc_count,
					  sizeof(*grp->flights)));
	if (!r->shared || !r->consumer || !r->descs || !r->payload ||
	    !r->entries || !grp->flights) {
		ring_free(grp);
		return -ENOMEM;
	}
	blkship_ring_init(r);
	get_random_bytes(r->shared->instance, sizeof(r->shared->instance));
	return 0;
}

static void group_wake_work(struct irq_work *work)
{
	struct blkship_group *grp = container_of(work, struct blkship_group,
						 wake_work);

	wake_up_interruptible(&grp->wait);
}

static void group_overflow_work(struct work_struct *work)
{
	struct blkship_group *grp = container_of(work, struct blkship_group,
						 overflow_work);

	blkship_event(BLKSHIP_EVENT_OVERFLOW, grp->name, NULL);
}

static struct blkship_group *group_alloc(const char *name, u64 ring_bytes)
{
	struct blkship_group *grp = kvzalloc(sizeof(*grp), GFP_KERNEL);

	if (!grp)
		return NULL;
	if (ring_alloc(grp, ring_bytes)) {
		kvfree(grp);
		return NULL;
	}
	kref_init(&grp->ref);
	strscpy(grp->name, name, sizeof(grp->name));
	raw_spin_lock_init(&grp->lock);
	INIT_LIST_HEAD(&grp->to_issue);
	init_waitqueue_head(&grp->wait);
	init_irq_work(&grp->wake_work, group_wake_work);
	INIT_WORK(&grp->issue_work, blkship_capture_issue_work);
	INIT_WORK(&grp->overflow_work, group_overflow_work);
	INIT_DELAYED_WORK(&grp->scan_work, blkship_capture_scan_work);
	return grp;
}

static void group_free(struct kref *ref)
{
	struct blkship_group *grp = container_of(ref, struct blkship_group,
						 ref);

	rings_uncharge(grp->ring.payload_bytes);
	blkship_observer_free(grp);
	ring_free(grp);
	kvfree(grp);
	module_put(THIS_MODULE);
}

void blkship_group_get(struct blkship_group *grp)
{
	kref_get(&grp->ref);
}

void blkship_group_put(struct blkship_group *grp)
{
	kref_put(&grp->ref, group_free);
}

struct blkship_group *blkship_group_find(const char *name)
{
	struct blkship_group *grp;

	lockdep_assert_held(&blkship_mutex);
	list_for_each_entry(grp, &blkship_groups, link)
		if (!strcmp(grp->name, name))
			return grp;
	return NULL;
}

int blkship_group_create(const char *name, u64 ring_bytes,
			 struct blkship_group **result, const char **why)
{
	struct blkship_group *grp;
	int ret;

	if (!blkship_name_valid(name)) {
		*why = "not a valid group name: 1 to 31 letters, digits, dots, underscores and dashes, no dot or dash first";
		return -EINVAL;
	}
	if (!ring_bytes)
		ring_bytes = default_ring_bytes();
	if (ring_bytes < RING_MIN_BYTES || ring_bytes > RING_MAX_BYTES) {
		*why = "a ring has 1 to 4096 MiB";
		return -ERANGE;
	}
	ring_bytes = rounddown_pow_of_two(ring_bytes);
	/* A command does not hold the module: it may be on its way out. */
	if (!try_module_get(THIS_MODULE)) {
		*why = "the module is being unloaded";
		return -ESHUTDOWN;
	}
	if (!rings_charge(ring_bytes)) {
		*why = "the rings of all groups would take more than 1/16 of the RAM";
		ret = -ENOSPC;
		goto err_module;
	}
	grp = group_alloc(name, ring_bytes);
	if (!grp) {
		*why = "no memory for the ring";
		ret = -ENOMEM;
		goto err_rings;
	}

	mutex_lock(&blkship_mutex);
	if (blkship_group_find(name)) {
		mutex_unlock(&blkship_mutex);
		blkship_group_put(grp);
		*why = "a group of this name exists";
		return -EEXIST;
	}
	grp->id = ++last_group_id;
	list_add_tail(&grp->link, &blkship_groups);
	blkship_group_get(grp);
	mutex_unlock(&blkship_mutex);

	queue_delayed_work(blkship_wq, &grp->scan_work, HZ);
	blkship_event(BLKSHIP_EVENT_GROUP_NEW, name, NULL);
	*result = grp;
	return 0;

err_rings:
	rings_uncharge(ring_bytes);
err_module:
	module_put(THIS_MODULE);
	return ret;
}

int blkship_group_delete(const char *name, const char **why)
{
	struct blkship_group *grp;
	int ret = 0;

	mutex_lock(&blkship_mutex);
	grp = blkship_group_find(name);
	if (!grp) {
		*why = "no such group";
		ret = -ENOENT;
	} else if (grp->nr_volumes) {
		*why = "the group has volumes";
		ret = -EBUSY;
	} else if (grp->consumer) {
		*why = "a consumer is bound to the group";
		ret = -EBUSY;
	} else {
		list_del(&grp->link);
	}
	mutex_unlock(&blkship_mutex);
	if (ret)
		return ret;

	/* Without volumes nothing queues these any more; they end here. */
	cancel_delayed_work_sync(&grp->scan_work);
	cancel_work_sync(&grp->issue_work);
	cancel_work_sync(&grp->overflow_work);
	irq_work_sync(&grp->wake_work);
	blkship_event(BLKSHIP_EVENT_GROUP_DEL, name, NULL);
	blkship_group_put(grp);
	return 0;
}

u64 blkship_group_mark(struct blkship_group *grp)
{
	u64 seq;

	raw_spin_lock_irq(&grp->lock);
	seq = blkship_ring_mark(&grp->ring);
	raw_spin_unlock_irq(&grp->lock);
	return seq;
}

int blkship_group_bind(const char *name, struct blkship_group **result)
{
	struct blkship_group *grp;
	int ret = 0;

	mutex_lock(&blkship_mutex);
	grp = blkship_group_find(name);
	if (!grp) {
		ret = -ENOENT;
	} else if (grp->consumer) {
		ret = -EBUSY;
	} else {
		grp->consumer = true;
		blkship_group_get(grp);
		*result = grp;
	}
	mutex_unlock(&blkship_mutex);
	return ret;
}

void blkship_group_unbind(struct blkship_group *grp)
{
	bool any = false;
	u32 i;

	mutex_lock(&blkship_mutex);
	for (i = 0; i < BLKSHIP_MAX_VOLUMES; i++)
		if (grp->volumes[i])
			any |= blkship_volume_fall_back(grp->volumes[i]);
	if (any)
		blkship_group_mark(grp);
	grp->consumer = false;
	mutex_unlock(&blkship_mutex);
	blkship_group_put(grp);
}

int blkship_group_set_incarnation(struct blkship_group *grp, u32 incarnation)
{
	struct blkship_ring_kernel *shared = grp->ring.shared;
	bool anew;
	u32 i;

	if (!incarnation)
		return -EINVAL;
	mutex_lock(&blkship_mutex);
	anew = shared->incarnation && shared->incarnation != incarnation;
	/* Nothing takes these bits before we are done: that needs the mutex. */
	for (i = 0; anew && i < BLKSHIP_MAX_VOLUMES; i++) {
		struct blkship_volume *vol = blkship_volume_at(grp, i);

		if (vol)
			blkship_volume_mark(vol, 0, vol->size_bytes);
	}
	raw_spin_lock_irq(&grp->lock);
	if (anew)
		blkship_ring_mark(&grp->ring);
	WRITE_ONCE(shared->incarnation, incarnation);
	/* Lists are for this one now, but for those the target was not asked about. */
	for (i = 0; i < BLKSHIP_MAX_VOLUMES; i++) {
		struct blkship_volume *vol = grp->volumes[i];

		if (vol && anew)
			vol->kept_incarnation = 0;
		if (vol && !vol->kept_incarnation)
			blkship_meta_rebase(vol);
	}
	raw_spin_unlock_irq(&grp->lock);
	mutex_unlock(&blkship_mutex);
	blkship_meta_sync_group(grp);
	return 0;
}
