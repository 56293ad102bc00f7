// SPDX-License-Identifier: GPL-2.0-only
/* lvm_tree - the text in which LVM2 keeps what it knows, taken apart. */
#include "lvm_tree.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../store/array.h"

#define MAX_DEPTH	16
#define MAX_NODES	(1u << 18)

/* What is being taken apart. */
struct parser {
	struct lvm_tree *tree;
	const char *at, *end;
};

static void skip_space(struct parser *p)
{
	while (p->at < p->end) {
		if (*p->at == '#')
			while (p->at < p->end && *p->at != '\n')
				p->at++;
		else if (*p->at && !isspace((unsigned char)*p->at))
			return;
		else
			p->at++;	/* and the zero at the end of the text */
	}
}

static bool take_char(struct parser *p, char c)
{
	skip_space(p);
	if (p->at == p->end || *p->at != c)
		return false;
	p->at++;
	return true;
}

static bool in_name(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("_.+-", c));
}

/* Below @parent, behind *@last, which is 0 for the first, and then the new one. */
static int node_add(struct lvm_tree *t, size_t parent, size_t *last, const struct lvm_node *node)
{
	if (t->nr == MAX_NODES)
		return -E2BIG;
	if (!array_reserve(&t->nodes, &t->max, t->nr + 1))
		return -ENOMEM;
	t->nodes[t->nr] = *node;
	if (*last)
		t->nodes[*last].next = t->nr;
	else
		t->nodes[parent].first = t->nr;
	*last = t->nr++;
	return 0;
}

static int parse_value(struct parser *p, struct lvm_node *node)
{
	skip_space(p);
	if (take_char(p, '"')) {
		node->kind = LVM_TEXT;
		node->text = p->at;
		while (p->at < p->end && *p->at != '"')
			p->at += *p->at == '\\' && p->at + 1 < p->end ? 2 : 1;
		node->text_bytes = p->at - node->text;
		return take_char(p, '"') ? 0 : -EBADMSG;
	}
	if (p->at == p->end || !isdigit((unsigned char)*p->at))
		return -EBADMSG;
	node->kind = LVM_NUMBER;
	for (; p->at < p->end && isdigit((unsigned char)*p->at); p->at++)
		if (__builtin_mul_overflow(node->number, 10, &node->number) ||
		    __builtin_add_overflow(node->number, *p->at - '0', &node->number))
			return -EBADMSG;
	return 0;
}

static int parse_list(struct parser *p, size_t list)
{
	size_t last = 0;

	if (take_char(p, ']'))
		return 0;
	do {
		struct lvm_node node = { 0 };
		int ret = parse_value(p, &node);

		if (!ret)
			ret = node_add(p->tree, list, &last, &node);
		if (ret)
			return ret;
	} while (take_char(p, ','));
	return take_char(p, ']') ? 0 : -EBADMSG;
}

static int parse_section(struct parser *p, size_t section, unsigned int depth);

static int parse_member(struct parser *p, size_t section, size_t *last, unsigned int depth)
{
	struct lvm_node node = { .name = p->at };
	int ret = 0;

	while (p->at < p->end && in_name(*p->at))
		p->at++;
	node.name_bytes = p->at - node.name;
	if (!node.name_bytes)
		return -EBADMSG;
	if (take_char(p, '{'))
		node.kind = LVM_SECTION;
	else if (!take_char(p, '='))
		return -EBADMSG;
	else if (take_char(p, '['))
		node.kind = LVM_LIST;
	else
		ret = parse_value(p, &node);
	if (!ret)
		ret = node_add(p->tree, section, last, &node);
	if (ret)
		return ret;
	if (node.kind == LVM_LIST)
		return parse_list(p, *last);
	return node.kind == LVM_SECTION ? parse_section(p, *last, depth + 1) : 0;
}

static int parse_section(struct parser *p, size_t section, unsigned int depth)
{
	size_t last = 0;
	int ret = depth > MAX_DEPTH ? -EBADMSG : 0;

	while (!ret) {
		if (depth && take_char(p, '}'))
			return 0;
		skip_space(p);
		if (p->at == p->end)
			return depth ? -EBADMSG : 0;
		ret = parse_member(p, section, &last, depth);
	}
	return ret;
}

int lvm_tree_parse(const char *text, size_t bytes, struct lvm_tree *out)
{
	struct lvm_tree tree = { .nr = 0 };
	struct parser p = { .tree = &tree, .at = text, .end = text + bytes };
	const struct lvm_node all = { .kind = LVM_SECTION };
	int ret = array_reserve(&tree.nodes, &tree.max, 1) ? 0 : -ENOMEM;

	if (!ret) {
		tree.nodes[tree.nr++] = all;
		ret = parse_section(&p, 0, 0);
	}
	if (ret)
		lvm_tree_fini(&tree);
	else
		*out = tree;
	return ret;
}

void lvm_tree_fini(struct lvm_tree *tree)
{
	free(tree->nodes);
	memset(tree, 0, sizeof(*tree));
}

/* -- asking it -- */

size_t lvm_tree_child(const struct lvm_tree *t, size_t parent, const char *name, enum lvm_kind kind)
{
	for (size_t i = t->nodes[parent].first; i; i = t->nodes[i].next)
		if (t->nodes[i].kind == kind && t->nodes[i].name_bytes == strlen(name) &&
		    !memcmp(t->nodes[i].name, name, t->nodes[i].name_bytes))
			return i;
	return 0;
}

bool lvm_tree_number(const struct lvm_tree *t, size_t parent, const char *name, uint64_t *out)
{
	size_t i = lvm_tree_child(t, parent, name, LVM_NUMBER);

	if (i)
		*out = t->nodes[i].number;
	return i;
}

bool lvm_tree_text_is(const struct lvm_tree *t, size_t i, const char *text)
{
	return t->nodes[i].kind == LVM_TEXT && t->nodes[i].text_bytes == strlen(text) &&
	       !memcmp(t->nodes[i].text, text, t->nodes[i].text_bytes);
}
