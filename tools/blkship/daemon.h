/* SPDX-License-Identifier: GPL-2.0-only */
/* daemon - asking the target's daemon to do what only it can, as it has a group open. */
#ifndef BLKSHIP_DAEMON_H
#define BLKSHIP_DAEMON_H

#include <jansson.h>

/**
 * daemon_ask - have the daemon of a store do something: userspace/target/control.h
 * @request: its reference is taken; NULL: there was no memory
 * @answer: out, the caller's; NULL on failure
 * @why: TIMELINE_TEXT_BYTES, filled when the daemon says what is wrong
 * Return: 0; -ENOTCONN there is no daemon; -ENXIO it does not have the group open: both times who
 * asks may do it himself; -ETIMEDOUT it is not known whether it was done; what the daemon says.
 */
int daemon_ask(const char *store, json_t *request, json_t **answer, char *why);

#endif
