// SPDX-License-Identifier: GPL-2.0
/* See volume.h. */
#include <linux/bitops.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "front.h"
#include "meta.h"
#include "netlink.h"
#include "volume.h"

/* As many words of a map as are worked on before the lock is let go. */
#define MAP_PIECE_WORDS		4096
#define MAP_PIECE_BYTES		(MAP_PIECE_WORDS * 64ULL * BLKSHIP_REGION_BYTES)

/* -- maps -- */

void blkship_maps_free(struct blkship_maps *maps)
{
	vfree(maps->dirty);
	vfree(maps->repairing);
	maps->dirty = NULL;
	maps->repairing = NULL;
}

int blkship_maps_alloc(struct blkship_maps *maps, u64 size_bytes)
{
	u64 words = blkship_dirty_words(blkship_dirty_regions(size_bytes));

	maps->dirty = vzalloc(array_size(words, sizeof(u64)));
	maps->repairing = vzalloc(array_size(words, sizeof(u64)));
	if (maps->dirty && maps->repairing)
		return 0;
	blkship_maps_free(maps);
	return -ENOMEM;
}

static u64 map_weight(const u64 *map, u64 words)
{
	u64 weight = 0, i;

	for (i = 0; i < words; i++)
		weight += hweight64(map[i]);
	return weight;
}

/* What the old maps say of the regions that stay. */
static void maps_copy(struct blkship_dirty *to,
		      const struct blkship_dirty *from)
{
	u64 words = blkship_dirty_words(to->nr_regions);
	u64 copied = min(words, blkship_dirty_words(from->nr_regions));

	memcpy(to->dirty, from->dirty, copied * sizeof(u64));
	memcpy(to->repairing, from->repairing, copied * sizeof(u64));
	to->nr_dirty = from->nr_dirty;
	to->nr_repairing = from->nr_repairing;
	if (to->nr_regions >= from->nr_regions)
		return;
	if (to->nr_regions % 64) {
		u64 mask = (1ULL << (to->nr_regions % 64)) - 1;

		to->dirty[words - 1] &= mask;
		to->repairing[words - 1] &= mask;
	}
	to->nr_dirty = map_weight(to->dirty, words);
	to->nr_repairing = map_weight(to->repairing, words);
}

/* -- members of a group -- */

static struct blkship_volume *volume_alloc(struct blkship_group *grp,
					   const char *name, u64 size_bytes)
{
	struct blkship_volume *vol = kzalloc(sizeof(*vol), GFP_KERNEL);
	struct blkship_maps maps;

	if (!vol)
		return NULL;
	if (blkship_maps_alloc(&maps, size_bytes)) {
		kfree(vol);
		return NULL;
	}
	kref_init(&vol->ref);
	blkship_group_get(grp);
	vol->grp = grp;
	strscpy(vol->name, name, sizeof(vol->name));
	INIT_LIST_HEAD(&vol->fronts);
	vol->flags = BLKSHIP_VOLUME_DETACHED;
	vol->size_bytes = size_bytes;
	vol->flights = RB_ROOT;
	INIT_LIST_HEAD(&vol->apart);
	blkship_dirty_init(&vol->maps, blkship_dirty_regions(size_bytes),
			   maps.dirty, maps.repairing);
	return vol;
}

static void volume_free(struct kref *ref)
{
	struct blkship_volume *vol = container_of(ref, struct blkship_volume,
						  ref);
	struct blkship_group *grp = vol->grp;

	WARN_ON_ONCE(!RB_EMPTY_ROOT(&vol->flights));
	vfree(vol->maps.dirty);
	vfree(vol->maps.repairing);
	kfree(vol);
	blkship_group_put(grp);
}

void blkship_volume_put(struct blkship_volume *vol)
{
	kref_put(&vol->ref, volume_free);
}

static struct blkship_volume *volume_find(struct blkship_group *grp,
					  const char *name)
{
	u32 i;

	lockdep_assert_held(&blkship_mutex);
	for (i = 0; i < BLKSHIP_MAX_VOLUMES; i++)
		if (grp->volumes[i] && !strcmp(grp->volumes[i]->name, name))
			return grp->volumes[i];
	return NULL;
}

struct blkship_volume *blkship_volume_at(struct blkship_group *grp, u32 index)
{
	struct blkship_volume *vol;

	lockdep_assert_held(&blkship_mutex);
	if (index >= BLKSHIP_MAX_VOLUMES)
		return NULL;
	vol = grp->volumes[index];
	return vol && vol->seen ? vol : NULL;
}

/*
 * Give it an index. One that was used is free again only when no descriptor of
 * its time is left in the ring, and the one unused for longest comes first.
 */
static int volume_link(struct blkship_volume *vol)
{
	struct blkship_group *grp = vol->grp;
	int ret = -ENOSPC;
	u32 n;

	lockdep_assert_held(&blkship_mutex);
	raw_spin_lock_irq(&grp->lock);
	for (n = 0; n < BLKSHIP_MAX_VOLUMES; n++) {
		u32 i = (grp->next_index + n) % BLKSHIP_MAX_VOLUMES;

		if (grp->volumes[i] ||
		    grp->ring.desc_tail < grp->index_free_at[i])
			continue;
		vol->index = i;
		grp->volumes[i] = vol;
		grp->next_index = (i + 1) % BLKSHIP_MAX_VOLUMES;
		grp->nr_volumes++;
		ret = 0;
		break;
	}
	raw_spin_unlock_irq(&grp->lock);
	return ret;
}

/*
 * The caller puts the group's reference when the mutex is free. It takes a seq:
 * else a consumer that has not noticed yet would call an idle group current to
 * a time when this member was written unseen.
 */
static void volume_unlink(struct blkship_volume *vol)
{
	struct blkship_group *grp = vol->grp;

	lockdep_assert_held(&blkship_mutex);
	raw_spin_lock_irq(&grp->lock);
	grp->volumes[vol->index] = NULL;
	grp->index_free_at[vol->index] = grp->ring.desc_head;
	if (vol->seen)
		blkship_ring_mark(&grp->ring);
	raw_spin_unlock_irq(&grp->lock);
	grp->nr_volumes--;
}

struct blkship_volume *blkship_volume_get(struct blkship_group *grp,
					  const char *name, u64 size_bytes,
					  const char **why)
{
	struct blkship_volume *vol, *fresh;
	int ret = 0;

	fresh = volume_alloc(grp, name, size_bytes);
	if (!fresh) {
		*why = "no memory for the volume's maps";
		return ERR_PTR(-ENOMEM);
	}
	mutex_lock(&blkship_mutex);
	vol = volume_find(grp, name);
	if (!vol) {
		/* A deleted group takes no volumes any more. */
		ret = blkship_group_find(grp->name) == grp ?
			volume_link(fresh) : -ESTALE;
		if (!ret)
			vol = fresh;
	}
	if (vol)
		kref_get(&vol->ref);
	mutex_unlock(&blkship_mutex);
	if (vol != fresh)
		blkship_volume_put(fresh);
	if (ret) {
		*why = ret == -ESTALE ? "the group was deleted meanwhile" :
			"the group has too many volumes";
		return ERR_PTR(ret);
	}
	return vol;
}

bool blkship_volume_drop_unused(struct blkship_volume *vol)
{
	lockdep_assert_held(&blkship_mutex);
	if (!list_empty(&vol->fronts) || (vol->seen && !vol->leaving) ||
	    vol->grp->volumes[vol->index] != vol)
		return false;
	volume_unlink(vol);
	return true;
}

/* -- what it is and what is dirty -- */

void blkship_volume_mark(struct blkship_volume *vol, u64 offset_bytes,
			 u64 length_bytes)
{
	struct blkship_group *grp = vol->grp;
	u64 done, piece;

	lockdep_assert_held(&blkship_mutex);
	for (done = 0; done < length_bytes; done += piece) {
		piece = min(length_bytes - done, MAP_PIECE_BYTES);
		raw_spin_lock_irq(&grp->lock);
		blkship_dirty_mark(&vol->maps, offset_bytes + done, piece);
		blkship_meta_want(vol, offset_bytes + done, piece);
		raw_spin_unlock_irq(&grp->lock);
		cond_resched();
	}
}

bool blkship_volume_fall_back(struct blkship_volume *vol)
{
	struct blkship_group *grp = vol->grp;
	u64 words = blkship_dirty_words(vol->maps.nr_regions), at;
	bool any = READ_ONCE(vol->maps.nr_repairing);

	lockdep_assert_held(&blkship_mutex);
	for (at = 0; any && at < words; at += MAP_PIECE_WORDS) {
		raw_spin_lock_irq(&grp->lock);
		blkship_dirty_fall_back(&vol->maps, at, MAP_PIECE_WORDS);
		raw_spin_unlock_irq(&grp->lock);
		cond_resched();
	}
	return any;
}

void blkship_volume_resize(struct blkship_volume *vol, u64 size_bytes,
			   struct blkship_maps *spare)
{
	struct blkship_group *grp = vol->grp;
	struct blkship_dirty maps;

	lockdep_assert_held(&blkship_mutex);
	blkship_dirty_init(&maps, blkship_dirty_regions(size_bytes),
			   spare->dirty, spare->repairing);
	spare->dirty = vol->maps.dirty;
	spare->repairing = vol->maps.repairing;
	raw_spin_lock_irq(&grp->lock);
	maps_copy(&maps, &vol->maps);
	if (size_bytes > vol->size_bytes)
		blkship_dirty_mark(&maps, vol->size_bytes,
				   size_bytes - vol->size_bytes);
	vol->maps = maps;
	WRITE_ONCE(vol->size_bytes, size_bytes);
	blkship_ring_mark(&grp->ring);
	raw_spin_unlock_irq(&grp->lock);
}

u32 blkship_volume_flags(const struct blkship_volume *vol)
{
	u32 flags = vol->flags;

	lockdep_assert_held(&blkship_mutex);
	raw_spin_lock_irq(&vol->grp->lock);
	if (vol->meta)
		flags |= BLKSHIP_VOLUME_META;
	if (vol->meta && vol->meta->off)
		flags |= BLKSHIP_VOLUME_META_OFF;
	raw_spin_unlock_irq(&vol->grp->lock);
	return flags;
}

u64 blkship_volume_log_no(const struct blkship_volume *vol)
{
	u64 log_no;

	raw_spin_lock_irq(&vol->grp->lock);
	log_no = vol->meta ? vol->meta->log_no : 0;
	raw_spin_unlock_irq(&vol->grp->lock);
	return log_no;
}

void blkship_volume_settle(struct blkship_volume *vol, bool fits)
{
	struct blkship_group *grp = vol->grp;

	lockdep_assert_held(&blkship_mutex);
	if (!vol->kept_incarnation)
		return;
	if (!fits)
		blkship_volume_mark(vol, 0, vol->size_bytes);
	raw_spin_lock_irq(&grp->lock);
	if (!fits)
		blkship_ring_mark(&grp->ring);
	vol->kept_incarnation = 0;
	blkship_meta_rebase(vol);
	raw_spin_unlock_irq(&grp->lock);
}

void blkship_volume_grown(struct blkship_volume *vol, u64 old_bytes)
{
	mutex_lock(&blkship_mutex);
	blkship_volume_mark(vol, old_bytes, vol->size_bytes - old_bytes);
	raw_spin_lock_irq(&vol->grp->lock);
	vol->outgrown = false;
	blkship_ring_mark(&vol->grp->ring);
	raw_spin_unlock_irq(&vol->grp->lock);
	mutex_unlock(&blkship_mutex);
	blkship_event(BLKSHIP_EVENT_RESIZE, vol->grp->name, vol->name);
}

/* -- detach -- */

void blkship_volume_leave(struct blkship_volume *vol)
{
	mutex_lock(&blkship_mutex);
	vol->leaving = true;
	mutex_unlock(&blkship_mutex);
}

static bool volume_is_busy(const struct blkship_volume *vol)
{
	const struct blkship_front *front;

	list_for_each_entry(front, &vol->fronts, link)
		if (front->ends_when_told)
			return true;
	return false;
}

int blkship_volume_delete(const char *group, const char *volume,
			  const char **why)
{
	struct blkship_volume *vol = NULL;
	bool now = false, busy = false;
	struct blkship_group *grp;

	mutex_lock(&blkship_mutex);
	grp = blkship_group_find(group);
	if (grp)
		vol = volume_find(grp, volume);
	if (vol && list_empty(&vol->fronts)) {
		volume_unlink(vol);
		now = true;
	} else if (vol) {
		busy = volume_is_busy(vol);
		vol->leaving |= !busy;
	}
	mutex_unlock(&blkship_mutex);
	if (busy) {
		*why = "it is being attached or detached: try again in a moment";
		return -EBUSY;
	}
	if (!vol) {
		*why = grp ? "no such volume" : "no such group";
		return -ENOENT;
	}
	if (now) {
		blkship_event(BLKSHIP_EVENT_VOLUME_DEL, group, volume);
		blkship_volume_put(vol);
	}
	return 0;
}
