// SPDX-License-Identifier: GPL-2.0
/* See front.h. */

#include "front.h"
#include "meta.h"
#include "netlink.h"

/* -- from here on it belongs to a volume -- */

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
	vol = blkship_volume_get(grp, volume, front->size_bytes, why);
	if (IS_ERR(vol)) {
		ret = PTR_ERR(vol);
		goto err_group;
	}
	front->vol = vol;
	if (READ_ONCE(vol->size_bytes) != front->size_bytes) {
		ret = blkship_maps_alloc(&front->spare, front->size_bytes);
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
		dropped = blkship_volume_drop_unused(vol);
	}
	mutex_unlock(&blkship_mutex);
	if (ret)
		goto err_volume;
	blkship_group_put(grp);
	return 0;

err_volume:
	blkship_maps_free(&front->spare);
	if (dropped)
		blkship_volume_put(vol);
	blkship_volume_put(vol);
err_group:
	blkship_group_put(grp);
	if (created)
		blkship_group_delete(group, &ignored);
	return ret;
}

/* -- it feeds -- */

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
	if (!front->spare.dirty)
		return -ESTALE;
	blkship_volume_resize(vol, front->size_bytes, &front->spare);
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

int blkship_front_load(struct blkship_front *front, const char **why)
{
	struct blkship_volume *vol = front->vol;
	struct blkship_meta *old;
	bool lost = false;
	int ret;

	if (front->started || (front->meta && front->meta->loaded))
		return 0;
	/* Its front end is suspended, and this one takes its place. */
	mutex_lock(&blkship_mutex);
	old = vol->meta;
	mutex_unlock(&blkship_mutex);
	if (old && front->meta && old->bdev == front->meta->bdev) {
		blkship_meta_stop(old, BLKSHIP_META_PASS_ON);
		/* Its log was off, or could not be passed on; it may not say so. */
		lost = old->super.state == META_OFF;
	} else if (old) {
		blkship_meta_stop(old, BLKSHIP_META_VOID);
	}
	if (!front->meta)
		return 0;
	ret = blkship_meta_load(front->meta, vol, why);
	if (!ret && lost)
		blkship_meta_distrust(front->meta);
	return ret;
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
	const char *ignored;
	int ret = 0;

	blkship_front_load(front, &ignored);
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

	blkship_maps_free(&front->spare);
	if (blkship_maps_alloc(&front->spare, size_bytes))
		return -ENOMEM;
	mutex_lock(&blkship_mutex);
	front->size_bytes = size_bytes;
	blkship_volume_resize(vol, size_bytes, &front->spare);
	mutex_unlock(&blkship_mutex);
	blkship_maps_free(&front->spare);
	return 0;
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

/* -- it goes -- */

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
	dropped = blkship_volume_drop_unused(vol);
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
	blkship_maps_free(&front->spare);
	if (dropped)
		blkship_volume_put(vol);
	blkship_volume_put(vol);
}
