/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lvm_tree - the text in which LVM2 keeps what it knows, taken apart.
 *
 * Pure. NAME { ... } is a section, NAME = VALUE something in it; a value is a number, "text", or a
 * [ list ] of these. Only the form is checked here; what it means is lvm.c's.
 */
#ifndef BLKSHIP_LVM_TREE_H
#define BLKSHIP_LVM_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lvm_kind { LVM_SECTION, LVM_NUMBER, LVM_TEXT, LVM_LIST };

/* Texts are borrowed from what was parsed, and not ended by a zero. */
struct lvm_node {
	enum lvm_kind kind;
	const char *name, *text;
	size_t name_bytes, text_bytes;
	uint64_t number;
	size_t first, next;	/* nodes below it, and beside it; 0: none */
};

struct lvm_tree {
	struct lvm_node *nodes;	/* the first is all of it */
	size_t nr, max;
};

/**
 * lvm_tree_parse - take a text apart
 * @text: borrowed as long as the tree is there
 * @out: lvm_tree_fini() is due on success
 * Return: 0; -EBADMSG; -E2BIG more than any group has; -ENOMEM.
 */
int lvm_tree_parse(const char *text, size_t bytes, struct lvm_tree *out);
void lvm_tree_fini(struct lvm_tree *tree);

/** lvm_tree_child - the first below @parent that has this name and kind; 0: none */
size_t lvm_tree_child(const struct lvm_tree *t, size_t parent, const char *name,
		      enum lvm_kind kind);

/** lvm_tree_number - the same of a number; false: none, and @out is as it was */
bool lvm_tree_number(const struct lvm_tree *t, size_t parent, const char *name, uint64_t *out);

/** lvm_tree_text_is - node @i is this text */
bool lvm_tree_text_is(const struct lvm_tree *t, size_t i, const char *text);

#endif
