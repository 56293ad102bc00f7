// SPDX-License-Identifier: GPL-2.0-only
#include "name.h"

#include <string.h>

/* Not isalnum(): what is valid must not depend on the locale. */
#define ALNUM_ "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

bool name_valid(const char *name)
{
	size_t len = strnlen(name, NAME_BYTES);

	return len > 0 && len < NAME_BYTES && strchr(ALNUM_, name[0]) &&
	       strspn(name, ALNUM_ ".-") == len;
}
