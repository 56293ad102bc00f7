/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * nbd_handshake - what is said on a connection before the first request.
 *
 * The newstyle negotiation of the NBD protocol, as short as it may be: flags, then
 * NBD_OPT_EXPORT_NAME, which every server has to know, and no other option. What follows are
 * simple replies, all that the kernel can read, who is the client mostly.
 */
#ifndef BLKSHIP_NBD_HANDSHAKE_H
#define BLKSHIP_NBD_HANDSHAKE_H

#include <stdint.h>

struct nbd_export {
	uint64_t size_bytes;
	uint16_t flags;		/* NBD_FLAG_*, as the kernel takes them */
};

/**
 * nbd_handshake - a connection that is ready for requests
 * @fd: out, the caller's
 * Return: 0; -EPROTO it is no server that we know; -ECONNRESET it has no such export;
 * -ETIMEDOUT it says nothing for 30 s; -errno.
 */
int nbd_handshake(const char *socket_path, const char *name, int *fd, struct nbd_export *out);

/** nbd_shake_hands - the same on a connection that is there; it stays open whatever happens */
int nbd_shake_hands(int fd, const char *name, struct nbd_export *out);

#endif
