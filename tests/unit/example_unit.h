/* SPDX-License-Identifier: GPL-2.0-only */
/* The unit of the worked examples of SEGMENT.md. */
#ifndef BLKSHIP_EXAMPLE_UNIT_H
#define BLKSHIP_EXAMPLE_UNIT_H

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/lib/unit_builder.h"

/* Its length; it is a record of sequence number 1:9, in the batch of ordinal 3. */
static inline size_t example_unit(uint8_t *unit, uint32_t *header_crc)
{
	static struct unit_builder b;
	struct unit_label label = { 3, seq_pack(1, 9), 0, UNIT_STORED };
	uint8_t data[512];
	uint32_t crc;

	for (int i = 0; i < 512; i++)
		data[i] = i;
	crc = crc32c(data, 512);
	unit_builder_reset(&b);
	unit_builder_add_data(&b, 1, 4096, data, 512, &crc);
	unit_builder_add(&b, 0, 65536, 8192, EXTENT_ZERO);
	return unit_builder_finish(&b, &label, unit, NULL, header_crc);
}

#endif
