/* SPDX-License-Identifier: GPL-2.0 */
/* front_dm - the device-mapper target "blkship". */
#ifndef BLKSHIP_FRONT_DM_H
#define BLKSHIP_FRONT_DM_H

#include <linux/types.h>

/* With pass_through the target maps and captures nothing: the off switch. */
int blkship_dm_init(bool pass_through);
void blkship_dm_exit(void);

#endif
