# SPDX-License-Identifier: GPL-2.0-only
# The RADOS backend: a shared object that is loaded only for locations on a cluster, so
# that nothing else needs Ceph's libraries. Never with sanitizers, which those lack.

RADOS := $(BUILD)/blkship-rados.so
RADOS_SRC := $(wildcard userspace/rados/*.c) userspace/lib/env_host.c userspace/lib/thread.c

$(RADOS): $(patsubst %.c,$(BUILD)/obj/pic/%.o,$(RADOS_SRC))
	$(CC) -shared -Wl,-z,defs -Wl,-Bsymbolic -Wl,--as-needed -o $@ $^ -lrados -lpthread

# With stand-ins for the cluster instead of librados.
$(BUILD)/tests/test_rados_owner: $(call objs,tests/unit/test_rados_owner.c \
		userspace/rados/owner.c userspace/rados/process.c) $(LIB)
$(BUILD)/tests/test_rados_takeover: $(call objs,tests/unit/test_rados_takeover.c \
		userspace/rados/takeover.c) $(LIB)
$(BUILD)/tests/test_rados_monitors: $(call objs,tests/unit/test_rados_monitors.c \
		userspace/rados/monitors.c) $(LIB)
$(BUILD)/tests/test_rados_waste: $(call objs,tests/unit/test_rados_waste.c \
		userspace/rados/waste.c) $(LIB)
$(patsubst %,$(BUILD)/tests/test_rados_%,owner takeover monitors waste):
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)
