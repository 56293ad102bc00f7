// SPDX-License-Identifier: GPL-2.0-only
/* run_merge - the entries of several runs, in order, as if they were one. */
#include "run_merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The next entry of input @i, if there is one. */
static int advance(struct run_merge *m, size_t i)
{
	struct run_merge_input *in = &m->inputs[i];
	uint64_t read_bytes = in->stream.read_bytes;
	int ret = run_stream_next(&in->stream, &in->head);

	m->read_bytes += in->stream.read_bytes - read_bytes;
	in->more = ret == 0;
	if (ret && ret != -ENOENT)
		m->failed = i;
	return ret == -ENOENT ? 0 : ret;
}

int run_merge_begin(struct run_merge *m, struct env *env, const char *dir,
		    const uint8_t *timeline, const struct manifest_run *inputs, size_t nr)
{
	int ret = 0;

	*m = (struct run_merge){ .nr = nr, .current = nr, .failed = nr };
	m->inputs = calloc(nr + 1, sizeof(*m->inputs));
	if (!m->inputs)
		return -ENOMEM;
	for (size_t i = 0; i < nr && !ret; i++) {
		struct run_merge_input *in = &m->inputs[i];

		ret = run_open(env, dir, timeline, &inputs[i], &in->run);
		if (ret)
			m->failed = i;
		else
			m->read_bytes += RUN_BLOCK_BYTES;	/* its header */
		if (!ret)
			ret = run_stream_begin(&in->stream, &in->run);
		if (!ret)
			ret = advance(m, i);
	}
	return ret;
}

int run_merge_next(struct run_merge *m, struct run_entry *e)
{
	size_t first = m->nr;
	int ret = m->current < m->nr ? advance(m, m->current) : 0;

	if (ret)
		return ret;
	for (size_t i = 0; i < m->nr; i++)
		if (m->inputs[i].more &&
		    (first == m->nr ||
		     run_entry_compare(&m->inputs[i].head, &m->inputs[first].head) < 0))
			first = i;
	m->current = first;
	if (first == m->nr)
		return -ENOENT;
	*e = m->inputs[first].head;
	return 0;
}

void run_merge_end(struct run_merge *m)
{
	for (size_t i = 0; i < m->nr && m->inputs; i++) {
		run_stream_end(&m->inputs[i].stream);
		run_close(&m->inputs[i].run);
	}
	free(m->inputs);
	memset(m, 0, sizeof(*m));
}
