# SPDX-License-Identifier: GPL-2.0-only
# The nbdkit plugin: position-independent, and never with sanitizers, which a program
# that has none (nbdkit) cannot load. What is below it is tested with them.

PLUGIN := $(BUILD)/nbdkit-blkship-plugin.so
PLUGIN_SRC := $(wildcard userspace/lib/*.c userspace/store/*.c userspace/export/*.c) \
	userspace/rados/rados_format.c
PLUGIN_OBJ := $(patsubst %.c,$(BUILD)/obj/pic/%.o,$(PLUGIN_SRC))
PLUGIN_CFLAGS = $(filter-out -fsanitize=% -fno-sanitize-recover=% -U_FORTIFY_SOURCE,$(CFLAGS)) -fPIC

$(BUILD)/obj/pic/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(PLUGIN_CFLAGS) $(PKG_CFLAGS) -Iuapi -c $< -o $@
$(BUILD)/libplugin.a: $(filter-out %/plugin.o,$(PLUGIN_OBJ))
	@rm -f $@
	ar rcs $@ $^
# nbdkit has the symbols that are called; plugin_init is all that is offered.
$(PLUGIN): $(filter %/plugin.o,$(PLUGIN_OBJ)) $(BUILD)/libplugin.a
	$(CC) -shared -Wl,--exclude-libs,ALL -Wl,--as-needed -o $@ $^ $(LDLIBS)
