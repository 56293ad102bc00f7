// SPDX-License-Identifier: GPL-2.0-only
/*
 * raw_write - change one block of a SCSI disk by a raw command, past every filesystem
 * and every bio; block 0, filled with the byte given.
 *
 *	raw_write DEVICE BYTE
 */
#include <err.h>
#include <fcntl.h>
#include <scsi/sg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BLOCK_BYTES	512
#define WRITE_10	0x2a

int main(int argc, char **argv)
{
	unsigned char command[10] = { WRITE_10, [8] = 1 }, data[BLOCK_BYTES];
	struct sg_io_hdr io = {
		.interface_id = 'S',
		.dxfer_direction = SG_DXFER_TO_DEV,
		.cmdp = command,
		.cmd_len = sizeof(command),
		.dxferp = data,
		.dxfer_len = sizeof(data),
		.timeout = 10000,
	};
	int fd;

	if (argc != 3)
		errx(2, "usage: raw_write DEVICE BYTE");
	memset(data, atoi(argv[2]), sizeof(data));
	fd = open(argv[1], O_RDWR);
	if (fd < 0)
		err(1, "%s", argv[1]);
	if (ioctl(fd, SG_IO, &io) < 0)
		err(1, "SG_IO");
	if (io.status || io.host_status || io.driver_status)
		errx(1, "the disk said %02x, %02x, %02x", io.status, io.host_status,
		     io.driver_status);
	close(fd);
	return 0;
}
