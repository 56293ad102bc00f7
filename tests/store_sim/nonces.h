/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * nonces - what was ever encrypted on a disk: with one key, no nonce comes with two texts.
 *
 * Looks at files as whoever has the disk does, each time it is called; knows nothing of how
 * nonces are made.
 */
#ifndef STORE_SIM_NONCES_H
#define STORE_SIM_NONCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nonces;

struct nonces *nonces_create(void);
void nonces_destroy(struct nonces *n);
void nonces_reset(struct nonces *n);
size_t nonces_nr(const struct nonces *n);

/**
 * nonces_watch - take in the units of a segment or pack, as far as they can be read
 * @content: of the file; 8-byte aligned
 * Return: NULL; what is wrong.
 */
const char *nonces_watch(struct nonces *n, const uint8_t *content, uint64_t bytes);

#endif
