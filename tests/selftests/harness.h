/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * harness - the kernel's kselftest_harness.h, for the one file of a program that has
 * its tests. Each test is a process of its own, and so is what is static in that file.
 * EXPECT_ and ASSERT_ are two statements: as the body of a loop they need braces.
 */
#ifndef BLKSHIP_HARNESS_H
#define BLKSHIP_HARNESS_H

#include <kselftest_harness.h>

/* Of one test: the debug kernel is slow, and emulated beside others. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 300

#endif
