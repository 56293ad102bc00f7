/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * control - what a running target is asked to do for the command line.
 *
 *	{"op": "pin", "group": G, "cut": "N", "kind": K, "label": L, "lease_s": S, "id": I}
 *	{"op": "unpin", "group": G, "id": I}
 *	{"op": "promote", "group": G, "branch": B, "force": F}
 *
 * A group that it has not open yet is opened. If it cannot be, or is not there, it says
 * "not_open", and who asks may try himself. Answers: {"id": I}, or {"error": E, "errno": N}; of
 * promote {}, that, or without F {"fed": true}: a source ships to it.
 */
#ifndef BLKSHIP_CONTROL_H
#define BLKSHIP_CONTROL_H

#include <jansson.h>

#include "groups.h"

/** control_answer - do it; a new document, NULL without memory */
json_t *control_answer(struct groups *groups, const json_t *request);

#endif
