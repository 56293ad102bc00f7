// SPDX-License-Identifier: GPL-2.0-only
/* Manifests made up by the fuzzer, raw, or as payloads of whole records. */
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/store/manifest.h"
#include "../../userspace/store/manifest_salvage.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes);

/* Input: type, length, payload, and again; output: records with their CRCs. */
static size_t records(const uint8_t *in, size_t bytes, uint8_t *out, size_t max)
{
	size_t used = 0;

	while (bytes >= 2) {
		struct manifest_header h = { .magic = MANIFEST_MAGIC, .version = MANIFEST_VERSION,
					     .type = in[0] % 13 };
		size_t part = in[1] < bytes - 2 ? in[1] : bytes - 2;

		h.record_bytes = sizeof(h) + (part + 7) / 8 * 8;
		if (used + h.record_bytes > max)
			break;
		memset(out + used, 0, h.record_bytes);
		memcpy(out + used, &h, sizeof(h));
		memcpy(out + used + sizeof(h), in + 2, part);
		h.crc = crc32c(out + used, h.record_bytes);
		memcpy(out + used, &h, sizeof(h));
		used += h.record_bytes;
		in += 2 + part;
		bytes -= 2 + part;
	}
	return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes)
{
	char why[TIMELINE_TEXT_BYTES];
	struct manifest_salvage salvage;
	struct manifest m = { 0 };
	uint8_t *image = malloc(65536);
	size_t nr, valid;

	if (bytes && input[0] & 1) {
		nr = records(input + 1, bytes - 1, image, 65536);
	} else {
		nr = bytes < 65536 ? bytes : 65536;
		memcpy(image, input, nr);
	}
	image = realloc(image, nr + 1);
	if (manifest_parse(&m, image, nr, &valid, why) == 0)
		for (size_t i = 0; i < m.nr_volumes; i++)
			if (strlen(m.volumes[i].name) + strlen(m.volumes[i].identity) > 94)
				abort();
	manifest_close(&m);
	if (manifest_salvage(image, nr, &salvage) == 0 && salvage.nr_bytes > nr)
		abort();
	free(salvage.records);
	free(image);
	return 0;
}
