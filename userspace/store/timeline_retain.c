// SPDX-License-Identifier: GPL-2.0-only
/*
 * timeline_retain - the policy of a timeline, its pins, and the clock by which points age.
 *
 * All of it is in the manifest before it counts. The clock is slow to believe: it never goes
 * back, and while the timeline is open it goes at most twice as fast as time does. So a
 * target's clock that jumps ahead ages nothing at once, and after a time without the daemon
 * it catches up.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "timeline_internal.h"

#define CATCH_UP 2
#define RETAIN_EVERY_NS (3600ull * 1000000000)

/* -- the clock -- */

void timeline_age_set(struct timeline *tl, uint64_t ns)
{
	tl->age_base_ns = ns;
	tl->age_base_mono_ns = tl->env->ops->monotonic_ns(tl->env);
}

uint64_t timeline_age_now(const struct timeline *tl)
{
	uint64_t real_ns = tl->env->ops->realtime_ns(tl->env);
	uint64_t passed_ns = tl->env->ops->monotonic_ns(tl->env) - tl->age_base_mono_ns;
	uint64_t limit_ns = tl->age_base_ns + CATCH_UP * passed_ns;

	if (real_ns < tl->age_base_ns)
		return tl->age_base_ns;
	return real_ns < limit_ns ? real_ns : limit_ns;
}

/* -- the policy -- */

int timeline_set_retention(struct timeline *tl, const struct retention_policy *policy,
			   uint64_t immutable_ns)
{
	const struct manifest *m = &tl->manifest;
	struct manifest_retention next = { *policy, immutable_ns, timeline_age_now(tl) };
	const struct manifest_retention *last = m->nr_policies ?
						&m->policies[m->nr_policies - 1] : NULL;
	char now[RETENTION_TEXT_BYTES], then[RETENTION_TEXT_BYTES];

	if (tl->read_only)
		return -EROFS;
	if (last) {
		/* What came under the one before counts so, whatever the clock had come to. */
		if (next.since_ns <= tl->points.last_since_ns)
			next.since_ns = tl->points.last_since_ns + 1;
		if (next.since_ns < last->since_ns)
			next.since_ns = last->since_ns;
		retention_format(policy, now, sizeof(now));
		retention_format(&last->policy, then, sizeof(then));
		if (strcmp(now, then) == 0 && last->immutable_ns == immutable_ns)
			return 0;
	}
	return manifest_add_policy(&tl->manifest, &next);
}

const struct retention_policy *timeline_retention(const struct timeline *tl,
						  uint64_t *immutable_ns)
{
	const struct manifest *m = &tl->manifest;
	const struct manifest_retention *last;

	if (!m->nr_policies)
		return NULL;
	last = &m->policies[m->nr_policies - 1];
	*immutable_ns = last->immutable_ns;
	return &last->policy;
}

bool timeline_retain_due(const struct timeline *tl)
{
	uint64_t now_ns = tl->env->ops->monotonic_ns(tl->env);

	return tl->manifest.nr_policies &&
	       (!tl->retained || now_ns - tl->retained_ns >= RETAIN_EVERY_NS);
}

void timeline_retained(struct timeline *tl)
{
	tl->retained_ns = tl->env->ops->monotonic_ns(tl->env);
	tl->retained = true;
}

/* -- pins -- */

static bool pin_is_over(const struct timeline *tl, const struct timeline_pin *pin)
{
	return pin->until_ns && pin->until_ns <= timeline_age_now(tl);
}

static struct timeline_pin *pin_find(struct manifest *m, uint64_t id)
{
	for (size_t i = 0; i < m->nr_pins; i++)
		if (m->pins[i].id == id)
			return &m->pins[i];
	return NULL;
}

int timeline_pin(struct timeline *tl, uint64_t cut_seq, enum timeline_pin_kind kind,
		 const char *label, uint64_t lease_ns, uint64_t *id)
{
	struct manifest *m = &tl->manifest;
	size_t index = points_find(&tl->points, cut_seq);
	const struct timeline_pin *old = *id ? pin_find(m, *id) : NULL;
	struct timeline_pin pin = { .id = m->pin_id + 1, .cut_seq = cut_seq, .kind = kind,
				    .made_ns = tl->env->ops->realtime_ns(tl->env) };
	int ret;

	if (tl->read_only)
		return -EROFS;
	if (strlen(label) >= sizeof(pin.label))
		return -EINVAL;
	if (index == tl->points.nr_commits || !tl->points.commits[index].listed ||
	    (*id && (!old || old->cut_seq != cut_seq)))
		return -ENOENT;
	if (old) {
		pin.id = old->id;
		pin.made_ns = old->made_ns;
	}
	strcpy(pin.label, label);
	if (lease_ns)
		pin.until_ns = timeline_age_now(tl) + lease_ns;
	ret = manifest_add_pin(m, &pin, false);
	if (!ret)
		*id = pin.id;
	return ret;
}

int timeline_unpin(struct timeline *tl, uint64_t id)
{
	const struct timeline_pin *pin = pin_find(&tl->manifest, id);
	struct timeline_pin end;

	if (tl->read_only)
		return -EROFS;
	if (!pin)
		return -ENOENT;
	end = *pin;
	return manifest_add_pin(&tl->manifest, &end, true);
}

int timeline_pins(const struct timeline *tl, struct timeline_pin **out, size_t *nr)
{
	const struct manifest *m = &tl->manifest;
	struct timeline_pin *pins = malloc((m->nr_pins + 1) * sizeof(*pins));

	if (!pins)
		return -ENOMEM;
	*nr = 0;
	for (size_t i = 0; i < m->nr_pins; i++)
		if (!pin_is_over(tl, &m->pins[i]))
			pins[(*nr)++] = m->pins[i];
	*out = pins;
	return 0;
}

/* -- leases -- */

int timeline_leases_look(struct timeline *tl)
{
	tl->leases_error = leases_look(&tl->leases, tl->env, tl->dir,
				       tl->env->ops->monotonic_ns(tl->env));
	return tl->leases_error;
}

int timeline_leased_cuts(struct timeline *tl, uint64_t **cuts, size_t *nr)
{
	int ret = timeline_leases_look(tl);

	if (ret)
		return ret;
	*nr = tl->leases.nr;
	*cuts = malloc((*nr + 1) * sizeof(**cuts));
	if (!*cuts)
		return -ENOMEM;
	for (size_t i = 0; i < *nr; i++)
		(*cuts)[i] = tl->leases.items[i].cut_seq;
	return 0;
}

int timeline_leases(const struct timeline *tl, struct lease_info **out, size_t *nr)
{
	return leases_list(tl->env, tl->dir, out, nr);
}

/* -- for a job -- */

uint64_t timeline_old_line(const struct timeline *tl)
{
	const struct manifest *m = &tl->manifest;
	uint64_t from = 0;

	for (size_t i = 0; i < m->nr_lines; i++)
		if (!from || m->lines[i].cut_seq < from - 1)
			from = m->lines[i].cut_seq + 1;
	return from;
}

int timeline_retain_get(const struct timeline *tl, struct points_retain *out,
			struct retention_past **past, uint64_t **pinned)
{
	const struct manifest *m = &tl->manifest;
	size_t nr = 0;

	memset(out, 0, sizeof(*out));
	*past = calloc(m->nr_policies + 1, sizeof(**past));
	*pinned = malloc((m->nr_pins + m->nr_lines + tl->leases.nr + 1) * sizeof(**pinned));
	if (!*past || !*pinned)
		return -ENOMEM;
	for (size_t i = 0; i + 1 < m->nr_policies; i++)
		(*past)[i] = (struct retention_past){ m->policies[i].policy,
						      m->policies[i].immutable_ns,
						      m->policies[i + 1].since_ns };
	for (size_t i = 0; i < m->nr_pins; i++)
		if (!pin_is_over(tl, &m->pins[i]))
			(*pinned)[nr++] = m->pins[i].cut_seq;
	/* A line begins there, whether or not its branch's directory is there now. */
	for (size_t i = 0; i < m->nr_lines; i++)
		(*pinned)[nr++] = m->lines[i].cut_seq;
	for (size_t i = 0; i < tl->leases.nr; i++)
		(*pinned)[nr++] = tl->leases.items[i].cut_seq;
	array_sort_u64(*pinned, nr);
	out->old_line_from = timeline_old_line(tl);
	out->pinned = *pinned;
	out->nr_pinned = nr;
	out->retention.past = *past;
	if (m->nr_policies) {
		const struct manifest_retention *last = &m->policies[m->nr_policies - 1];

		out->retention.policy = last->policy;
		out->retention.immutable_ns = last->immutable_ns;
		out->retention.nr_past = m->nr_policies - 1;
	}
	return 0;
}
