/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * key_source - where keys come from: a file, or what a command prints; docs/ENCRYPTION.md.
 *
 * What was read is wiped as soon as the keyring has it. Functions return 0 or -errno and on
 * failure a sentence in @why, KEY_SOURCE_TEXT_BYTES, which never has anything of a key.
 */
#ifndef BLKSHIP_KEY_SOURCE_H
#define BLKSHIP_KEY_SOURCE_H

#include "keyring.h"

#define KEY_SOURCE_TEXT_BYTES	512
#define KEY_COMMAND_TIMEOUT_MS	30000
#define KEY_COMMAND_MAX_ARGS	32

/* At most one of them. */
struct key_source {
	const char *file;
	const char *command;	/* absolute path and arguments, between blanks; no shell */
};

/**
 * key_source_load - read the keys
 * @out: NULL when the source has neither
 * A file must be a regular one, of root or the effective user, with no right for others.
 */
int key_source_load(const struct key_source *source, struct keyring **out, char *why);

/**
 * key_source_for_reader - those of who reads a store
 * @given: what was asked for; if it has neither, the key_file of the store's targetd.conf
 * is used, if it can be, but no command of a file that may be a copy from somewhere
 * @note: out, KEY_SOURCE_TEXT_BYTES: "", or why what targetd.conf names was not used
 */
int key_source_for_reader(const struct key_source *given, const char *store,
			  struct keyring **out, char *note, char *why);

#endif
