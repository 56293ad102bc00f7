// SPDX-License-Identifier: GPL-2.0
/*
 * Raw commands come from SG_IO and the like, from the drivers themselves and
 * from monitoring. Most only ask: smartd must not cost a resync every half hour.
 */
#include <linux/ata.h>
#include <linux/blk-mq.h>
#include <scsi/scsi_cmnd.h>
#include <scsi/scsi_proto.h>

#include "raw_command.h"

#define ATA_SMART_WRITE_LOG	0xd6
#define ATA_SCT_COMMAND_LOG	0xe0

/* ATA commands inside of ATA PASS-THROUGH that leave the data alone. */
static bool ata_harmless(u8 command)
{
	switch (command) {
	case ATA_CMD_ID_ATA:
	case ATA_CMD_ID_ATAPI:
	case ATA_CMD_CHK_POWER:
	case ATA_CMD_STANDBY:
	case ATA_CMD_STANDBYNOW1:
	case ATA_CMD_IDLE:
	case ATA_CMD_IDLEIMMEDIATE:
	case ATA_CMD_SLEEP:
	case ATA_CMD_FLUSH:
	case ATA_CMD_FLUSH_EXT:
	case ATA_CMD_SET_FEATURES:
	case ATA_CMD_READ:
	case ATA_CMD_READ_EXT:
	case ATA_CMD_PIO_READ:
	case ATA_CMD_PIO_READ_EXT:
	case ATA_CMD_READ_LOG_EXT:
	case ATA_CMD_READ_LOG_DMA_EXT:
	case ATA_CMD_READ_NATIVE_MAX:
	case ATA_CMD_READ_NATIVE_MAX_EXT:
	case ATA_CMD_VERIFY:
	case ATA_CMD_VERIFY_EXT:
		return true;
	default:
		return false;
	}
}

/* One log of SMART takes commands (SCT), "write same" among them. */
static bool smart_harmless(u8 command, u8 feature, u8 log)
{
	return command == ATA_CMD_SMART &&
	       !(feature == ATA_SMART_WRITE_LOG && log == ATA_SCT_COMMAND_LOG);
}

static bool scsi_harmless(const u8 *cdb)
{
	switch (cdb[0]) {
	case TEST_UNIT_READY:
	case REQUEST_SENSE:
	case INQUIRY:
	case MODE_SELECT:
	case MODE_SELECT_10:
	case MODE_SENSE:
	case MODE_SENSE_10:
	case LOG_SELECT:
	case LOG_SENSE:
	case RESERVE:
	case RESERVE_10:
	case RELEASE:
	case RELEASE_10:
	case PERSISTENT_RESERVE_IN:
	case PERSISTENT_RESERVE_OUT:
	case START_STOP:
	case ALLOW_MEDIUM_REMOVAL:
	case SEND_DIAGNOSTIC:
	case RECEIVE_DIAGNOSTIC:
	case READ_CAPACITY:
	case SERVICE_ACTION_IN_16:
	case SYNCHRONIZE_CACHE:
	case SYNCHRONIZE_CACHE_16:
	case REPORT_LUNS:
	case MAINTENANCE_IN:
	case READ_BUFFER:
	case READ_6:
	case READ_10:
	case READ_12:
	case READ_16:
	case READ_32:
	case VERIFY:
	case VERIFY_16:
	case PRE_FETCH:
		return true;
	case ATA_12:
		return ata_harmless(cdb[9]) ||
		       smart_harmless(cdb[9], cdb[3], cdb[5]);
	case ATA_16:
		return ata_harmless(cdb[14]) ||
		       smart_harmless(cdb[14], cdb[4], cdb[8]);
	default:
		return false;
	}
}

/*
 * Of other drivers the command is their own secret. A transfer to the host only
 * reads; one without data may well be a "write zeroes".
 */
bool blkship_raw_command_changes(struct request *rq, bool scsi)
{
	const struct scsi_cmnd *cmd;

	if (scsi) {
		cmd = blk_mq_rq_to_pdu(rq);
		return !scsi_harmless(cmd->cmnd);
	}
	return req_op(rq) != REQ_OP_DRV_IN || !blk_rq_bytes(rq);
}
