/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tcp - listening and connecting, without ever blocking the loop.
 *
 * A name is looked up by a thread of its own, because that may take seconds in
 * which the ring fills; an address is not.
 */
#ifndef BLKSHIP_TCP_H
#define BLKSHIP_TCP_H

#include <stdbool.h>
#include <stdint.h>

#include "loop.h"

#define TCP_TEXT_BYTES	256
#define TCP_HOST_BYTES	256

/**
 * tcp_parse - take "HOST:PORT", "HOST", "[V6]:PORT" or "[V6]" apart
 * @default_port: when there is none
 * Return: 0; -EINVAL.
 */
int tcp_parse(const char *text, uint16_t default_port, char host[TCP_HOST_BYTES],
	      uint16_t *port);

/**
 * tcp_listen - listen on a numeric address, for example "0.0.0.0:7443"
 * @port: out, the real one; interesting when 0 was asked for
 * Return: a non-blocking descriptor, or -errno with a sentence in @why.
 */
int tcp_listen(const char *address, uint16_t default_port, uint16_t *port, char *why);

/** tcp_peer_text - address and port of the other end, for messages */
void tcp_peer_text(int fd, char *text, size_t bytes);

struct tcp_lookup;

/* An attempt to connect; the caller's, zeroed before the first use. */
struct tcp_connect {
	/*
	 * Called once: @fd is connected and non-blocking, or -errno, with a sentence
	 * in @why ("dr1:7443: Connection refused").
	 */
	void (*fn)(struct tcp_connect *tc, int fd, const char *why);
	/* its own */
	struct loop *loop;
	struct loop_poll poll;
	struct loop_timer timer;
	struct loop_call next;
	struct tcp_lookup *lookup;
	void *addresses;
	void *address;		/* being tried */
	int fd;
	int error;		/* of the last address tried */
	bool active;
	char target[TCP_HOST_BYTES + 8];
};

/**
 * tcp_connect_start - connect to "HOST:PORT"; every address of HOST is tried
 * @timeout_ns: for all of it
 * Return: 0; -EINVAL @target is none; -errno; @fn is not called then.
 */
int tcp_connect_start(struct loop *l, struct tcp_connect *tc, const char *target,
		      uint16_t default_port, uint64_t timeout_ns,
		      void (*fn)(struct tcp_connect *tc, int fd, const char *why));

/** tcp_connect_stop - give up; @fn is not called any more; idempotent */
void tcp_connect_stop(struct tcp_connect *tc);

#endif
