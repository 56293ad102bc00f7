// SPDX-License-Identifier: GPL-2.0-only
/* See block.h. */
#include "block.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "../lib/crc32c.h"

uint32_t block_crc(const void *block, size_t crc_at)
{
	static const uint8_t zero[4];
	const uint8_t *rest = (const uint8_t *)block + crc_at + sizeof(zero);
	uint32_t crc = crc32c(block, crc_at);

	crc = crc32c_extend(crc, zero, sizeof(zero));
	return crc32c_extend(crc, rest, BLOCK_BYTES - crc_at - sizeof(zero));
}

void block_seal(void *block, size_t crc_at)
{
	uint32_t crc = htole32(block_crc(block, crc_at));

	memcpy((uint8_t *)block + crc_at, &crc, sizeof(crc));
}

int block_open(struct env *env, const char *path, struct env_file **file, void *block,
	       uint64_t *file_bytes)
{
	struct env_file *f;
	int64_t got;
	int ret = env->ops->open(env, path, ENV_READ, &f);

	if (ret)
		return ret;
	ret = env->ops->size(env, f, file_bytes);
	if (!ret) {
		got = env->ops->read(env, f, block, BLOCK_BYTES, 0);
		ret = got < 0 ? got : got < BLOCK_BYTES ? -EBADMSG : 0;
	}
	if (ret)
		env->ops->close(env, f);
	else
		*file = f;
	return ret;
}
