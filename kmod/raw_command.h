/* SPDX-License-Identifier: GPL-2.0 */
/* raw_command - whether a command that is no read or write may change data. */
#ifndef BLKSHIP_RAW_COMMAND_H
#define BLKSHIP_RAW_COMMAND_H

#include <linux/types.h>

struct request;

/*
 * @scsi: the disk is one of the SCSI layer's, so that the command can be looked
 * at. What is not known to be harmless is taken to change something.
 */
bool blkship_raw_command_changes(struct request *rq, bool scsi);

#endif
