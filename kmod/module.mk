# SPDX-License-Identifier: GPL-2.0
# Building the module; included by the top Makefile. Guests get theirs from
# tests/vm/build-module, which knows the cached kernels; so does the lint, as both
# series must be free of warnings whatever runs here.

KDIR ?= /lib/modules/$(shell uname -r)/build
MODULE_SERIES := 6.1 6.12

.PHONY: module lint-kernel
module: ## build blkship.ko (KDIR=... for another kernel than the running one)
	@if [ -e "$(KDIR)/Makefile" ]; then \
		$(MAKE) -s -C "$(KDIR)" M="$(CURDIR)" modules; \
	else \
		echo "module: no headers at $(KDIR); built for Debian's instead:" && \
		tests/vm/build-module $(lastword $(MODULE_SERIES)); \
	fi

lint-kernel: ## W=1 and sparse on the module for each kernel series; nothing may be said
	@for series in $(MODULE_SERIES); do \
		rm -rf $(BUILD_ROOT)/lint-kmod && \
		BUILD_DIR=$(BUILD_ROOT)/lint-kmod tests/vm/build-module $$series W=1 C=2 \
			CF=-Wsparse-error KCFLAGS=-Werror || exit 1; \
	done
