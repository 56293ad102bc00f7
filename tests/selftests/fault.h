/* SPDX-License-Identifier: GPL-2.0-only */
/* fault - faults that the kernel makes on purpose, where it can. */
#ifndef BLKSHIP_FAULT_H
#define BLKSHIP_FAULT_H

#include <stdbool.h>

bool faults_possible(void);
/* Before anything else here: what may fail, and that it is not told. */
void faults_init(void);
/* Only what is called by this function of the kernel; NULL: everything. */
void faults_only_below(const char *function);
/* All but what is called by this one, instead of by the last such. */
void faults_not_below(const char *function);

/*
 * The n-th allocation or copy from or to userspace of this thread fails from here
 * on; none for 0.
 */
void fail_nth(unsigned int n);
/* No more faults; whether there was one since fail_nth(). */
bool fault_happened(void);

/* Write a file of the kernel's fault injection, as "failslab/times". */
void fault_set(const char *file, const char *value);

#endif
