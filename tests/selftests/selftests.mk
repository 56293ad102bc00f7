# SPDX-License-Identifier: GPL-2.0-only
# Programs that run in guests against the real module; included by the top Makefile.

SELFTESTS := $(addprefix $(BUILD)/selftests/,control capture order overflow consumer faults meta hang tap replay inject hostile lifetime)
SELFTEST_COMMON := $(call objs,$(addprefix tests/selftests/,selftest.c ring.c netlink.c fault.c raw.c))

# kselftest.h and kselftest_harness.h of the kernel's own tests, found when first used.
KSELFTEST = $(eval KSELFTEST := $(shell tests/vm/kernel-cache debug)/headers/tools/testing/selftests)$(KSELFTEST)

.PHONY: selftest-programs
selftest-programs: $(SELFTESTS)

# The harness defines functions of fixtures without declaring them.
$(BUILD)/obj/tests/selftests/%.o: tests/selftests/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(PKG_CFLAGS) -Wno-missing-prototypes -Iuapi -isystem $(KSELFTEST) -c $< -o $@
$(SELFTESTS): $(BUILD)/selftests/%: $(BUILD)/obj/tests/selftests/%.o $(SELFTEST_COMMON) \
	$(BUILD)/obj/userspace/lib/crc32c.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs libnl-genl-3.0 libisal) -lpthread

$(BUILD)/write-cost: $(BUILD)/obj/tests/vm/write_cost.o
	$(CC) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs liburing)

$(BUILD)/raw-writes: $(BUILD)/obj/tests/vm/raw_writes.o
	$(CC) $(LDFLAGS) -o $@ $^
