/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * env_posix - struct env over real files.
 *
 * With a loop, submit() is io_uring. Without one (offline tools) it executes at
 * once, and done is called by env_posix_pump().
 *
 * ENV_DIRECT asks for O_DIRECT; a filesystem that refuses it gets a buffered file.
 * Files are made 0600, directories 0700, everything close-on-exec.
 */
#ifndef BLKSHIP_ENV_POSIX_H
#define BLKSHIP_ENV_POSIX_H

#include <stdbool.h>

#include "env.h"
#include "loop.h"

/**
 * env_posix_create - make one
 * @loop: borrowed until env_posix_destroy(); NULL: no loop
 * Return: 0 or -ENOMEM.
 */
int env_posix_create(struct loop *loop, struct env **out);

/**
 * env_posix_destroy - free it
 * All files are closed and nothing is in flight: with a loop, destroy that first,
 * which waits; without one, pump until it returns 0.
 */
void env_posix_destroy(struct env *env);

/**
 * env_posix_pump - without a loop: call done for what was submitted before
 * What those calls submit waits for the next pump.
 * Return: how many were called.
 */
size_t env_posix_pump(struct env *env);

/** env_posix_is_direct - ENV_DIRECT was asked for and granted */
bool env_posix_is_direct(const struct env_file *file);

#endif
