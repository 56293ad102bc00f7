/* SPDX-License-Identifier: GPL-2.0 */
/* chardev - /dev/blkship, where a consumer binds to a group. */
#ifndef BLKSHIP_CHARDEV_H
#define BLKSHIP_CHARDEV_H

int blkship_chardev_init(void);
void blkship_chardev_exit(void);

#endif
