// SPDX-License-Identifier: GPL-2.0
/* See volume.h. */
#include <linux/bitops.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "capture.h"
#include "meta.h"
#include "netlink.h"
#include "volume.h"

/* As many words of a map as are worked on before the lock is let go. */
#define MAP_PIECE_WORDS		4096
#define MAP_PIECE_BYTES		(MAP_PIECE_WORDS * 64ULL * BLKSHIP_REGION_BYTES)

static u64 *map_alloc(u64 size_bytes)
{
	u64 words = blkship_dirty_words(blkship_dirty_regions(size_bytes));

	return vzalloc(array_size(words, sizeof(u64)));
}

static struct blkship_volume *volume_alloc(struct blkship_group *grp,
					   const char *name, u64 size_bytes)
{
	struct blkship_volume *vol = kzalloc(sizeof(*vol), GFP_KERNEL);
	u64 *dirty, *repairing;

	if (!vol)
		return NULL;
	dirty = map_alloc(size_bytes);
	repairing = map_alloc(size_bytes);
	if (!dirty || !repairing) {
		vfree(dirty);
		vfree(repairing);
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
			   dirty, repairing);
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

/* -- front ends -- */

static void front_free_spares(struct blkship_front *front)
{
	vfree(front->spare_dirty);
	vfree(front->spare_repairing);
	front->spare_dirty = NULL;
	front->spare_repairing = NULL;
}

/* Maps of another size, to change to. */
static int front_alloc_spares(struct blkship_front *front, u64 size_bytes)
{
	front_free_spares(front);
	front->spare_dirty = map_alloc(size_bytes);
	front->spare_repairing = map_alloc(size_bytes);
	if (front->spare_dirty && front->spare_repairing)
		return 0;
	front_free_spares(front);
	return -ENOMEM;
}

/*
 * Find or make the volume of this front end. Allocates without the mutex, so
 * somebody else may make the same one meanwhile.
 */
static struct blkship_volume *volume_get(struct blkship_group *grp,
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

/* Whether another volume has its list there: each would spoil the other's. */
static bool meta_is_taken(const struct blkship_front *front)
{
	const struct blkship_front *other;
	struct blkship_group *grp;
	u32 i;

	lockdep_assert_held(&blkship_mutex);
	list_for_each_entry(grp, &blkship_groups, link)
		for (i = 0; i < BLKSHIP_MAX_VOLUMES; i++) {
			if (!grp->volumes[i] || grp->volumes[i] == front->vol)
				continue;
			list_for_each_entry(other, &grp->volumes[i]->fronts,
					    link)
				if (other->meta &&
				    other->meta->bdev == front->meta->bdev)
					return true;
		}
	return false;
}

/* Whether this front end may feed the volume beside those it has. */
static int front_fits(const struct blkship_front *front, const char **why)
{
	const struct blkship_front *other;

	list_for_each_entry(other, &front->vol->fronts, link) {
		if (other->owner != front->owner) {
			*why = "another device feeds this volume";
			return -EBUSY;
		}
		if (other->generation == front->generation) {
			*why = "the table names this volume twice";
			return -EBUSY;
		}
	}
	if (front->meta && meta_is_taken(front)) {
		*why = "the metadata device serves another volume";
		return -EBUSY;
	}
	return 0;
}

/*
 * Whether to take it out of the group: nobody refers to it any more, and it was
 * told to leave or nothing was ever captured of it.
 */
static bool volume_drop_unused(struct blkship_volume *vol)
{
	if (!list_empty(&vol->fronts) || (vol->seen && !vol->leaving) ||
	    vol->grp->volumes[vol->index] != vol)
		return false;
	volume_unlink(vol);
	return true;
}

static int group_get_or_create(const char *name, u64 ring_bytes,
			       struct blkship_group **grp, bool *created,
			       const char **why)
{
	int ret;

	do {
		*created = false;
		mutex_lock(&blkship_mutex);
		*grp = blkship_group_find(name);
		if (*grp)
			blkship_group_get(*grp);
		mutex_unlock(&blkship_mutex);
		if (*grp)
			return 0;
		*created = true;
		ret = blkship_group_create(name, ring_bytes, grp, why);
	} while (ret == -EEXIST);
	if (!ret) {
		/* Unless somebody has used it meanwhile. */
		mutex_lock(&blkship_mutex);
		(*grp)->implied = !(*grp)->nr_volumes &&
				  !(*grp)->ring.newest_seq;
		mutex_unlock(&blkship_mutex);
	}
	return ret;
}

int blkship_front_add(struct blkship_front *front, const char *group,
		      const char *volume, u64 ring_bytes, const char **why)
{
	struct blkship_volume *vol;
	struct blkship_group *grp;
	bool created, dropped = false;
	const char *ignored;
	int ret;

	if (!blkship_name_valid(volume)) {
		*why = "not a valid volume name: 1 to 31 letters, digits, dots, underscores and dashes, no dot or dash first";
		return -EINVAL;
	}
	ret = group_get_or_create(group, ring_bytes, &grp, &created, why);
	if (ret)
		return ret;
	vol = volume_get(grp, volume, front->size_bytes, why);
	if (IS_ERR(vol)) {
		ret = PTR_ERR(vol);
		goto err_group;
	}
	front->vol = vol;
	if (READ_ONCE(vol->size_bytes) != front->size_bytes) {
		ret = front_alloc_spares(front, front->size_bytes);
		if (ret)
			*why = "no memory for the volume's maps";
	}

	mutex_lock(&blkship_mutex);
	if (!ret && grp->volumes[vol->index] != vol) {
		*why = "the volume was deleted meanwhile";
		ret = -ESTALE;
	}
	if (!ret)
		ret = front_fits(front, why);
	if (!ret) {
		list_add_tail(&front->link, &vol->fronts);
		vol->leaving = false;	/* whoever attaches wants it to stay */
	} else {
		dropped = volume_drop_unused(vol);
	}
	mutex_unlock(&blkship_mutex);
	if (ret)
		goto err_volume;
	blkship_group_put(grp);
	return 0;

err_volume:
	front_free_spares(front);
	if (dropped)
		blkship_volume_put(vol);
	blkship_volume_put(vol);
err_group:
	blkship_group_put(grp);
	if (created)
		blkship_group_delete(group, &ignored);
	return ret;
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

/*
 * Change to the spare maps, which are of the front end's size. Writes of a tapped
 * volume go on meanwhile, so it is one step under the lock: some 0.6 ms for a
 * TiB, once.
 */
static void volume_resize(struct blkship_volume *vol,
			  struct blkship_front *front)
{
	struct blkship_group *grp = vol->grp;
	struct blkship_dirty maps;

	lockdep_assert_held(&blkship_mutex);
	blkship_dirty_init(&maps, blkship_dirty_regions(front->size_bytes),
			   front->spare_dirty, front->spare_repairing);
	front->spare_dirty = vol->maps.dirty;
	front->spare_repairing = vol->maps.repairing;
	raw_spin_lock_irq(&grp->lock);
	maps_copy(&maps, &vol->maps);
	if (front->size_bytes > vol->size_bytes)
		blkship_dirty_mark(&maps, vol->size_bytes,
				   front->size_bytes - vol->size_bytes);
	vol->maps = maps;
	WRITE_ONCE(vol->size_bytes, front->size_bytes);
	blkship_ring_mark(&grp->ring);
	raw_spin_unlock_irq(&grp->lock);
}

static bool volume_fed(const struct blkship_volume *vol)
{
	const struct blkship_front *front;

	list_for_each_entry(front, &vol->fronts, link)
		if (front->started)
			return true;
	return false;
}

/* Its size becomes that of the front end; nothing is in flight. */
static int front_fit(struct blkship_front *front, bool *resized)
{
	struct blkship_volume *vol = front->vol;

	lockdep_assert_held(&blkship_mutex);
	*resized = front->size_bytes != vol->size_bytes;
	if (!*resized)
		return 0;
	if (!front->spare_dirty)
		return -ESTALE;
	volume_resize(vol, front);
	return 0;
}

int blkship_front_fit(struct blkship_front *front)
{
	bool resized;
	int ret;

	mutex_lock(&blkship_mutex);
	ret = front_fit(front, &resized);
	mutex_unlock(&blkship_mutex);
	return ret;
}

/*
 * Whether the list that was kept says what is to be read back. If so it is up to
 * the target whether it is the list's counterpart: asked by the consumer.
 */
static bool front_is_kept(const struct blkship_front *front)
{
	const struct blkship_volume *vol = front->vol;

	return front->meta && front->meta->partial && !vol->seen &&
	       front->meta->super.basis_incarnation;
}

/* The list of a volume that goes on, and goes on with it: a table was reloaded. */
static bool front_is_continued(const struct blkship_front *front, bool anew)
{
	const struct blkship_meta *meta = front->meta;

	return meta->partial && !anew && meta->super.state == META_LOGGED &&
	       !memcmp(meta->super.instance,
		       front->vol->grp->ring.shared->instance,
		       sizeof(meta->super.instance));
}

static void front_join_meta(struct blkship_front *front, bool kept, bool anew)
{
	struct blkship_meta *meta = front->meta;
	struct blkship_volume *vol = front->vol;

	lockdep_assert_held(&blkship_mutex);
	if (!kept && !front_is_continued(front, anew))
		blkship_meta_distrust(meta);
	if (kept) {
		raw_spin_lock_irq(&vol->grp->lock);
		vol->kept_incarnation = meta->super.basis_incarnation;
		memcpy(vol->kept_instance, meta->super.basis_instance,
		       sizeof(vol->kept_instance));
		vol->kept_ordinal = meta->super.ordinal;
		vol->kept_log_no = meta->log_no;
		raw_spin_unlock_irq(&vol->grp->lock);
	}
	blkship_meta_join(meta, vol);
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

/*
 * All of it is to be read back if @anew. From its seq on its writes are captured
 * or take one; it is seen, and whole again.
 */
static void volume_begin(struct blkship_volume *vol, bool anew,
			 struct blkship_meta *kept)
{
	lockdep_assert_held(&blkship_mutex);
	if (anew && kept)
		blkship_meta_mark(kept, vol);
	else if (anew)
		blkship_volume_mark(vol, 0, vol->size_bytes);
	raw_spin_lock_irq(&vol->grp->lock);
	if (anew)
		blkship_ring_mark(&vol->grp->ring);
	vol->seen = true;
	/* Whether it really comes into use shows when it is resumed. */
	vol->flags &= BLKSHIP_VOLUME_SUSPENDED;
	if (vol->raw_command)	/* since we began: not all is as it was read */
		vol->flags |= BLKSHIP_VOLUME_DIVERGED;
	raw_spin_unlock_irq(&vol->grp->lock);
}

void blkship_front_load(struct blkship_front *front)
{
	struct blkship_volume *vol = front->vol;
	struct blkship_meta *old;

	if (front->started || (front->meta && front->meta->loaded))
		return;
	/* Its front end is suspended, and this one takes its place. */
	mutex_lock(&blkship_mutex);
	old = vol->meta;
	mutex_unlock(&blkship_mutex);
	if (old)
		blkship_meta_stop(old, front->meta &&
				  old->bdev == front->meta->bdev ?
				  BLKSHIP_META_PASS_ON : BLKSHIP_META_VOID);
	if (front->meta)
		blkship_meta_load(front->meta, vol);
}

/* How the metadata device is left, before the volume notices anything. */
void blkship_front_end_meta(struct blkship_front *front)
{
	struct blkship_volume *vol = front->vol;
	bool keep;

	if (!front->meta)
		return;
	mutex_lock(&blkship_mutex);
	keep = front->keep && !vol->raw_command &&
	       !(vol->flags & BLKSHIP_VOLUME_DIVERGED);
	mutex_unlock(&blkship_mutex);
	blkship_meta_stop(front->meta, keep ? BLKSHIP_META_KEEP :
					      BLKSHIP_META_VOID);
}

int blkship_front_start(struct blkship_front *front)
{
	struct blkship_volume *vol = front->vol;
	bool resized, moved, fed, fresh, anew, kept;
	int ret = 0;

	blkship_front_load(front);
	mutex_lock(&blkship_mutex);
	if (!front->started)
		ret = front_fit(front, &resized);
	if (ret || front->started) {
		mutex_unlock(&blkship_mutex);
		if (ret && front->meta)
			blkship_meta_void(front->meta);
		return ret;
	}
	fresh = !vol->seen;
	fed = volume_fed(vol);
	moved = vol->dev != front->dev ||
		vol->dev_start_bytes != front->dev_start_bytes;
	front->started = true;
	vol->front_kind = front->kind;
	vol->grp->implied = false;
	vol->dev = front->dev;
	vol->dev_start_bytes = front->dev_start_bytes;
	/* Whatever was written before, or elsewhere, was not seen. */
	anew = !fed || moved;
	kept = front_is_kept(front);
	if (front->meta)
		front_join_meta(front, kept, anew);
	volume_begin(vol, anew, kept ? front->meta : NULL);
	vol->leaving = false;		/* it was told of the one before */
	mutex_unlock(&blkship_mutex);

	if (front->meta)
		blkship_meta_start(front->meta);
	if (fresh)
		blkship_event(BLKSHIP_EVENT_VOLUME_ADD, vol->grp->name,
			      vol->name);
	else if (resized)
		blkship_event(BLKSHIP_EVENT_RESIZE, vol->grp->name, vol->name);
	return 0;
}

int blkship_front_grow(struct blkship_front *front, u64 size_bytes)
{
	struct blkship_volume *vol = front->vol;

	if (front_alloc_spares(front, size_bytes))
		return -ENOMEM;
	mutex_lock(&blkship_mutex);
	front->size_bytes = size_bytes;
	volume_resize(vol, front);
	mutex_unlock(&blkship_mutex);
	front_free_spares(front);
	return 0;
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

void blkship_front_restart(struct blkship_front *front)
{
	mutex_lock(&blkship_mutex);
	volume_begin(front->vol, true, NULL);
	mutex_unlock(&blkship_mutex);
}

void blkship_front_suspend(struct blkship_front *front)
{
	struct blkship_volume *vol = front->vol;

	mutex_lock(&blkship_mutex);
	if (front->started) {
		/* The flag first: who sees the seq finds the map closed. */
		vol->flags |= BLKSHIP_VOLUME_SUSPENDED;
		blkship_group_mark(vol->grp);
	}
	mutex_unlock(&blkship_mutex);
}

void blkship_front_resume(struct blkship_front *front)
{
	mutex_lock(&blkship_mutex);
	if (front->started)
		front->vol->flags &= ~BLKSHIP_VOLUME_SUSPENDED;
	mutex_unlock(&blkship_mutex);
}

/*
 * The last front end that fed it went. The stream itself has to say so, or
 * points would go on: a gap, which stays as nothing can be taken over before it
 * is fed again. Whether that is an alarm; not if it was told to leave.
 */
static bool volume_lost(struct blkship_volume *vol)
{
	lockdep_assert_held(&blkship_mutex);
	vol->flags = BLKSHIP_VOLUME_DETACHED;
	/* Out of the group in a moment, which takes a seq too. */
	if (vol->leaving && list_empty(&vol->fronts))
		return false;
	vol->flags |= BLKSHIP_VOLUME_DIVERGED;
	blkship_volume_mark(vol, 0, vol->size_bytes);
	blkship_group_mark(vol->grp);
	return !vol->leaving;
}

void blkship_front_remove(struct blkship_front *front)
{
	struct blkship_volume *vol = front->vol;
	bool dropped, implied, lost = false;
	const char *ignored;

	blkship_front_end_meta(front);
	mutex_lock(&blkship_mutex);
	list_del(&front->link);
	if (front->started && !volume_fed(vol))
		lost = volume_lost(vol);
	dropped = volume_drop_unused(vol);
	implied = vol->grp->implied;
	mutex_unlock(&blkship_mutex);

	if (lost) {
		pr_warn("blkship: group %s: volume %s: its front end went without detach; writes are not seen any more\n",
			vol->grp->name, vol->name);
		blkship_event(BLKSHIP_EVENT_VOLUME_LOST, vol->grp->name,
			      vol->name);
	} else if (dropped && vol->seen) {
		blkship_event(BLKSHIP_EVENT_VOLUME_DEL, vol->grp->name,
			      vol->name);
	}
	/* A group that exists only because of a table that was never used. */
	if (dropped && implied)
		blkship_group_delete(vol->grp->name, &ignored);
	front_free_spares(front);
	if (dropped)
		blkship_volume_put(vol);
	blkship_volume_put(vol);
}

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
