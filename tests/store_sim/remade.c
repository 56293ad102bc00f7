// SPDX-License-Identifier: GPL-2.0-only
/* remade - the manifest goes, or a part of it, and an operator has it made again. */
#include "world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MANIFEST DIR "/manifest"

static void put_back(struct store_sim *s, const uint8_t *old, uint64_t bytes)
{
	struct env_file *file;

	s->env->ops->unlink(s->env, MANIFEST);
	if (s->env->ops->open(s->env, MANIFEST, ENV_WRITE | ENV_CREATE, &file))
		abort();
	s->env->ops->close(s->env, file);
	sim_env_poke(s->sim, MANIFEST, 0, old, bytes);
	s->env->ops->sync_dir(s->env, DIR);
}

/* Not at its end: what does not check there is an append that was torn, to whoever opens it. */
static void spoil(struct store_sim *s, uint64_t bytes)
{
	if (below(s, 2)) {
		s->env->ops->unlink(s->env, MANIFEST);
		return;
	}
	for (uint64_t i = 1 + below(s, 40); i > 0; i--)
		sim_env_flip(s->sim, MANIFEST, below(s, bytes / 2), below(s, 8));
}

static void taken(struct store_sim *s, struct timeline *tl)
{
	const struct timeline_remade *made = timeline_remade(tl);

	s->counts.remade += made->manifest;
	/* Its run is none. */
	s->faulty |= made->from_segments;
	if (made->points_older || made->points_made)
		s->gone = 0;
	if (made->pins_lost)
		s->pin = 0;
	timeline_close(tl);
}

void manifest_remake(struct store_sim *s)
{
	char why[TIMELINE_TEXT_BYTES] = "";
	const uint8_t *content;
	struct timeline *tl;
	uint64_t bytes;
	uint8_t *old;
	int ret;

	content = sim_env_content(s->sim, MANIFEST, &bytes);
	if (s->lost || !content || bytes < 2 || below(s, 4))
		return;
	old = malloc(bytes);
	if (!old)
		abort();
	memcpy(old, content, bytes);
	spoil(s, bytes);
	ret = timeline_open(s->env, DIR, TIMELINE_REBUILD, NULL, &tl, why);
	say(s, "the manifest is spoilt: %s", ret ? why : "made again");
	/* Of nothing at all nothing is made. */
	if (ret == -EUCLEAN || (!s->acked && (ret == -EBADMSG || ret == -ENOENT))) {
		s->counts.not_remade++;
		put_back(s, old, bytes);
	} else if (ret) {
		violation(s, "a manifest is neither made again nor refused: %s", why);
	} else {
		taken(s, tl);
	}
	free(old);
}
