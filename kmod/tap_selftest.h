/* SPDX-License-Identifier: GPL-2.0 */
/* tap_selftest - whether this kernel's tracepoints tell what the tap expects. */
#ifndef BLKSHIP_TAP_SELFTEST_H
#define BLKSHIP_TAP_SELFTEST_H

/* Once, when the module is loaded. -EOPNOTSUPP, and the reason in the log. */
int blkship_tap_selftest(void);

#endif
