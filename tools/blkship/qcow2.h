/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * qcow2 - an image that is written to at any place, by several threads: qemu-img makes it, a
 * captive qemu-nbd writes it.
 *
 * QEMU knows the format better than we would. The socket has no name by the time anything is
 * served, so nobody else can write there. qemu-nbd ends with its last connection, however we end.
 */
#ifndef BLKSHIP_QCOW2_H
#define BLKSHIP_QCOW2_H

#include <stddef.h>
#include <stdint.h>

struct qcow2;

/**
 * qcow2_create - make an image of zeroes in a file that is there
 * Keeps the file and who may read it. Return: 0, or an exit code after complaining.
 */
int qcow2_create(const char *path, uint64_t size_bytes);

/**
 * qcow2_mend - after whoever wrote to it was killed: give back what nothing refers to
 * Return: 0, or an exit code after complaining: also that it is damaged.
 */
int qcow2_mend(const char *path);

/**
 * qcow2_open - be ready for writing
 * @lock: a file that qemu-nbd has open as long as it lives
 * @nr: connections; each is for one thread at a time
 * Return: 0, or an exit code after complaining: also that it has not @size_bytes.
 */
int qcow2_open(const char *path, int lock, uint64_t size_bytes, unsigned int nr, struct qcow2 **out);

/**
 * qcow2_write - also tells of an earlier write on the same connection that failed
 * Return: 0; -ENOSPC; -EPIPE qemu-nbd has ended; -errno. After an error there is none but the close.
 */
int qcow2_write(struct qcow2 *q, unsigned int connection, const void *buf, size_t bytes,
		uint64_t offset_bytes);

/**
 * qcow2_flush - have on the disk all that this connection has written
 * And what others have, as far as their own flush has returned. Return: as qcow2_write().
 */
int qcow2_flush(struct qcow2 *q, unsigned int connection);

/** qcow2_close - end qemu-nbd; 0 or -errno: then what was not flushed may be lost; NULL is closed */
int qcow2_close(struct qcow2 *q);

#endif
