# SPDX-License-Identifier: GPL-2.0-only
# libFuzzer programs, one for each kind of input that comes from outside: clang, ASan and
# UBSan. FUZZ_RUNS bounds how long; FUZZ_RUNS=-1 goes on until something is found.

FUZZ_RUNS ?= 20000
FUZZ_BUILD := $(BUILD_ROOT)/fuzz
FUZZ_CC ?= clang
FUZZ_CFLAGS := -std=gnu11 -O1 -g -Wall -Wextra -Wno-unused-parameter -fno-strict-aliasing \
	-fno-omit-frame-pointer -D_GNU_SOURCE -MMD -MP \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined \
	$(shell pkg-config --cflags $(PACKAGES))
FUZZ_PROGRAMS := $(patsubst tests/fuzz/%.c,$(FUZZ_BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SRC := $(addprefix userspace/lib/,crc32c.c extent_sweep.c keyring.c name.c segment_format.c \
	unit_builder.c unit_cipher.c when.c wire_format.c) $(wildcard userspace/store/*.c) \
	$(addprefix userspace/target/,session.c greeting.c) $(wildcard userspace/export/lvm*.c) \
	$(addprefix tests/host/,history.c sim_env.c sim_disk.c test_batch.c)

$(FUZZ_BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_CFLAGS) -c $< -o $@
$(FUZZ_BUILD)/fuzz_%: $(FUZZ_BUILD)/obj/tests/fuzz/fuzz_%.o $(patsubst %.c,$(FUZZ_BUILD)/obj/%.o,$(FUZZ_SRC))
	$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -o $@ $^ -lisal -llz4 -ljansson -lcrypto

.PHONY: fuzz fuzz-programs
fuzz-programs: $(FUZZ_PROGRAMS)
fuzz: fuzz-programs ## fuzz what comes from outside, FUZZ_RUNS inputs for each kind
	@for p in $(FUZZ_PROGRAMS); do \
		mkdir -p $(FUZZ_BUILD)/corpus/$$(basename $$p) && \
		$$p -runs=$(FUZZ_RUNS) -max_len=16384 -timeout=20 -seed=$${FUZZ_SEED:-1} \
			-artifact_prefix=$$p- -verbosity=0 -print_final_stats=1 \
			$(FUZZ_BUILD)/corpus/$$(basename $$p) >$$p.log 2>&1 || \
			{ tail -n 60 $$p.log; echo "$$p: failed"; exit 1; }; \
		echo "$$p: $$(grep -o 'number_of_executed_units: .*' $$p.log)"; \
	done; echo "$(words $(FUZZ_PROGRAMS)) passed, 0 failed, 0 skipped"

-include $(shell find $(FUZZ_BUILD)/obj -name '*.d' 2>/dev/null)
