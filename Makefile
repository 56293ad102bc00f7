# SPDX-License-Identifier: GPL-2.0-only
# blkship: `make help` lists the targets.
#
# SAN=1 builds everything with ASan and UBSan under build/san; WERROR=1, which CI
# sets, makes warnings errors.

.DEFAULT_GOAL := all
BUILD_ROOT ?= build
BUILD := $(BUILD_ROOT)$(if $(SAN),/san)
PACKAGES := liburing openssl libnl-genl-3.0 devmapper blkid liblz4 libisal inih jansson

CC := gcc
CFLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla -Wno-unused-parameter -fno-strict-aliasing -fstack-protector-strong \
	-D_GNU_SOURCE -D_FORTIFY_SOURCE=2 -MMD -MP \
	$(if $(WERROR),-Werror) \
	$(if $(SAN),-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=undefined -U_FORTIFY_SOURCE)
# Asked for when first used: demo and check have to install the packages before.
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES)))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $(shell pkg-config --libs $(PACKAGES)))$(PKG_LIBS)
LDFLAGS := $(if $(SAN),-fsanitize=address -fsanitize=undefined)
LDLIBS = $(PKG_LIBS) -lpthread

objs = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

# One library of everything that is not a main(); each program takes what it needs.
LIB_SRC := $(wildcard userspace/lib/*.c userspace/store/*.c) userspace/rados/rados_format.c \
	$(filter-out %/plugin.c,$(wildcard userspace/export/*.c)) \
	$(filter-out %/main.c,$(wildcard userspace/shipper/*.c userspace/target/*.c))
LIB := $(BUILD)/libblkship.a
# The module's arithmetic, built for the host.
CORE_SRC := kmod/ring_core.c kmod/dirty_core.c kmod/meta_core.c
CORE := $(BUILD)/libcore.a

CLI_SRC := $(wildcard tools/blkship/*.c)
PROGRAMS := $(BUILD)/blkship $(BUILD)/blkshipd $(BUILD)/blkship-targetd

# tests/host: helpers that several test programs share (simulated files, generator).
TEST_LIB_SRC := $(wildcard tests/host/*.c)
TEST_LIB := $(BUILD)/libtest.a
UNIT := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
SIM := $(if $(wildcard tests/sim/*.c),$(BUILD)/tests/order_sim) $(BUILD)/tests/store_sim \
	$(BUILD)/tests/golden_make $(BUILD)/tests/limits_make
BENCH := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))

.PHONY: all programs tests module demo check check-long bench bench-kernel bench-ship bench-store bench-export
.PHONY: lint deb help clean unit
all: programs module ## build userspace and module
programs: $(PROGRAMS) $(BUILD)/nbdkit-blkship-plugin.so $(BUILD)/blkship-rados.so
tests: $(UNIT) $(SIM) $(BENCH) $(BUILD)/tests/conformance $(BUILD)/workload $(BUILD)/raw_write $(BUILD)/raw-writes $(BUILD)/stress

$(BUILD)/obj/kmod/%.o: kmod/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(PKG_CFLAGS) -Itests/hostkernel -Wno-missing-prototypes -c $< -o $@
# Tests see the module's headers as the host builds them.
$(BUILD)/obj/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(PKG_CFLAGS) -Itests/hostkernel -c $< -o $@
$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(PKG_CFLAGS) -Iuapi -c $< -o $@

$(LIB): $(call objs,$(LIB_SRC))
$(CORE): $(call objs,$(CORE_SRC))
$(TEST_LIB): $(call objs,$(TEST_LIB_SRC))
$(LIB) $(CORE) $(TEST_LIB):
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/blkship: $(call objs,$(CLI_SRC)) $(LIB)
$(BUILD)/blkshipd: $(call objs,userspace/shipper/main.c) $(LIB)
$(BUILD)/blkship-targetd: $(call objs,userspace/target/main.c) $(LIB)
$(PROGRAMS):
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/tests/test_%: $(BUILD)/obj/tests/unit/test_%.o $(TEST_LIB) $(LIB) $(CORE)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)
# Of a command, not of the library.
$(BUILD)/tests/test_content: $(call objs,tests/unit/test_content.c tools/blkship/content.c) $(LIB)
$(BUILD)/tests/test_lv_join: $(call objs,tests/unit/test_lv_join.c tools/blkship/lv_join.c) $(LIB)
$(BUILD)/tests/test_damage: $(call objs,tests/unit/test_damage.c tools/blkship/damage.c tools/blkship/cli.c) $(LIB)
$(BUILD)/tests/test_restore_damage: $(call objs,$(addprefix tools/blkship/,restore_part.c damage.c qcow2.c nbd_handshake.c cli.c)) \
	$(call objs,tests/unit/test_restore_damage.c) $(TEST_LIB) $(LIB) $(CORE)
$(BUILD)/tests/test_content $(BUILD)/tests/test_lv_join $(BUILD)/tests/test_damage $(BUILD)/tests/test_restore_damage:
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)
$(BUILD)/workload: $(BUILD)/obj/tests/vm/workload.o
	$(CC) $(LDFLAGS) -o $@ $^ -lsqlite3
$(BUILD)/raw_write: $(BUILD)/obj/tests/vm/raw_write.o
	$(CC) $(LDFLAGS) -o $@ $^
$(BUILD)/stress: $(BUILD)/obj/tests/vm/stress.o
	$(CC) $(LDFLAGS) -o $@ $^ -lpthread
$(BUILD)/tests/order_sim: $(call objs,$(wildcard tests/sim/*.c)) $(TEST_LIB) $(LIB) $(CORE)
$(BUILD)/tests/store_sim: $(call objs,$(wildcard tests/store_sim/*.c)) $(TEST_LIB) $(LIB) $(CORE)
$(BUILD)/tests/limits_make: $(call objs,tests/limits/make.c) $(TEST_LIB) $(LIB) $(CORE)
$(BUILD)/tests/golden_make: $(call objs,tests/golden/make.c) $(TEST_LIB) $(LIB) $(CORE)
$(BUILD)/tests/conformance: $(call objs,tests/env/conformance.c) $(LIB)
$(SIM) $(BUILD)/tests/conformance:
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(TEST_LIB) $(LIB) $(CORE)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

include kmod/module.mk
include userspace/export/plugin.mk
include userspace/rados/rados.mk
include tests/selftests/selftests.mk
include tests/fuzz/fuzz.mk

unit: $(UNIT) ## run the unit tests
	tests/run-unit $(UNIT)

demo: ## protect a guest, lose it, get every second back; needs root
	@tools/install-packages
	@$(MAKE) -s -j2 programs $(BUILD)/workload
	@tools/demo/demo $(DEMO_ARGS)

check: ## run all tests
	@tools/install-packages
	@tests/check

check-long: ## run all tests, for longer
	@tools/install-packages
	@tests/check --long

bench: programs tests ## measure; results go to build/bench.json
	@tests/bench/run
bench-kernel: ## only: instructions of a captured write, in guests with either kernel
	@tests/bench/kernel
bench-ship: programs tests ## only: from the ring to durable at the target
	@tests/bench/pipeline
bench-store: programs tests ## only: the timeline store, and reading points over NBD
	@tests/bench/store
	@tests/bench/export
bench-export: programs tests ## only: reading points over NBD
	@tests/bench/export

deb: programs ## Debian packages, into build/deb
	@tools/deb/build

lint: ## sparse and warnings on the module, shellcheck, unused things
	@tests/lint

clean: ## remove what was built
	rm -rf $(BUILD_ROOT)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
.SECONDARY:
