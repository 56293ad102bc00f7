/* SPDX-License-Identifier: GPL-2.0-only */
/* process - who we are, and what can be seen of another process of this machine. */
#ifndef BLKSHIP_PROCESS_H
#define BLKSHIP_PROCESS_H

#include "rados_format.h"

/** process_self - this process, as the owner of a lock; what cannot be learnt is "-" or 0 */
void process_self(struct rados_owner *self);

/**
 * process_look - what is to be seen of a process
 * That /proc does not show it proves nothing (hidepid=, or a /proc of other processes): only
 * the kernel's word that there is no such pid does. A zombie has ended.
 */
struct rados_sighting process_look(uint32_t pid);

#endif
