# atoll. `make help` lists what can be made; everything built goes to build/<flavour>.
#
# CC=clang: another compiler. SAN=address,undefined or SAN=thread: with sanitizers.
# WERROR= lets warnings pass; LTO= links without optimising; V=1 shows the commands.

ifeq ($(origin CC),default)
CC := gcc
endif
comma := ,
space := $(subst ,, )
compiler := $(filter-out gcc,$(notdir $(firstword $(CC))))
FLAVOUR := $(subst $(space),-,$(strip $(compiler) $(subst $(comma),-,$(SAN))))
B := build/$(or $(FLAVOUR),release)
ATOLL := $(B)/atoll

VERSION := 0.1.0
PREFIX ?= /usr/local
WERROR := -Werror
LTO := $(if $(SAN)$(compiler),,1)
FUZZ_SECONDS := 10
SPECS := spec $(wildcard apps/*/spec)
# The busted in which the specs run: the program's own, where they may wait. While the
# program is broken: make spec BUSTED='busted --lua=lua5.4'
BUSTED = $(ATOLL) test

include contrib/llhttp.mk # LLHTTP_FLAGS, LLHTTP_LIBS, LLHTTP_OBJS

# Lua is linked whole and its API exported: C modules look for it in the program.
LUA_FLAGS := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags lua5.4 2>/dev/null))
LUA_LIBS := -Wl,--whole-archive $(shell $(CC) -print-file-name=liblua5.4.a 2>/dev/null) \
    -Wl,--no-whole-archive -Wl,--export-dynamic-symbol=lua_* \
    -Wl,--export-dynamic-symbol=luaL_* -Wl,--export-dynamic-symbol=luaopen_*

INCLUDES := -Ihost -D_GNU_SOURCE $(LUA_FLAGS) $(LLHTTP_FLAGS)
CPPFLAGS += $(INCLUDES) -DATOLL_VERSION='"$(VERSION)"'
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
    -Wpointer-arith -Wformat=2 $(WERROR)
CFLAGS := -std=c11 -g -pthread -fvisibility=hidden -fno-plt
ifeq ($(SAN),)
CFLAGS += -O2 -fPIE -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 \
    $(if $(LTO),-flto=auto)
LDFLAGS += -pie -Wl,-z,relro,-z,now
else
CFLAGS += -O1 -fno-omit-frame-pointer -fsanitize=$(SAN:fuzzer%=fuzzer-no-link%) \
    $(if $(findstring undefined,$(SAN)),-fno-sanitize-recover=undefined)
LDFLAGS += -fsanitize=$(SAN)
endif
Q := $(if $(V),,@)
# --wrap: host/isolate/concat.h, budget.h, outside.h
ATOLL_LINK = -Wl,--wrap=luaT_tryconcatTM -Wl,--wrap=luaD_throw \
    -Wl,--wrap=luaC_fullgc -Wl,--wrap=luaD_pcall \
    $(LUA_LIBS) $(LLHTTP_LIBS) -lev -lcares -lwslay -lz -ldl -lm
LINK = $(Q)echo '  ld $@'; $(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^)

LUA_FILES := $(sort $(filter-out lua/atoll/types/%,$(shell find lua -name '*.lua')))
OBJS := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard host/*/*.c))) \
    $(B)/embedded.o $(LLHTTP_OBJS)
# Rooms without a loop, a thread or Lua: unit tests and fuzzers link all of them.
PURE := $(sort $(wildcard host/base/*.c host/codec/*.c) \
    host/http/router.c host/http/pattern.c host/http/vhost.c host/http/access.c \
    host/net/addr.c host/net/census.c host/net/cidr.c \
    host/isolate/shared.c $(wildcard host/isolate/dict*.c) \
    $(addprefix host/process/,settings.c settings_text.c problem.c suggest.c cpus.c \
    cgroup.c ram.c wrap.c notify.c))
PURE_OBJS := $(PURE:%.c=$(B)/%.o) $(LLHTTP_OBJS)
UNIT_OBJS := $(patsubst %.c,$(B)/%.o,spec/unit/main.c $(wildcard spec/unit/*_test.c) \
    $(addprefix host/net/,bind.c listen.c loop.c pool.c reserve.c stream.c timer.c))
FUZZERS := $(patsubst contrib/fuzz/%.c,$(B)/%,$(wildcard contrib/fuzz/*_fuzz.c))
LUA_CHECKED := $(wildcard lua apps spec contrib) .busted .luacheckrc \
    $(shell grep -l '^\#!.* lua' -r contrib)
FORMATTED := $(wildcard $(addsuffix /*.[ch],host/* spec/unit spec/shim contrib contrib/*))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: $(shell sed -n 's/^\([a-z]*\):.*/\1/p' Makefile) FORCE
AGAIN := $(MAKE) --no-print-directory

help: ## what can be made (this list)
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18
run: ## set up, build, and serve apps/hello on 127.0.0.1:8080
	@contrib/setup build
	+@$(AGAIN) build
	@exec $(ATOLL) serve apps/hello
test: ## set up, build, and run every check and spec
	@contrib/setup test
	+@for part in build check unit spec; do $(AGAIN) $$part || exit; done

build: $(ATOLL) ## build the program: build/<flavour>/atoll
unit: $(B)/unit-tests ## run the unit tests of the pure rooms (UNIT=name)
	@$(B)/unit-tests $(UNIT)
spec: $(ATOLL) $(B)/sites.so $(B)/crash.so ## run the specs in the program (SPECS=spec/some_spec.lua)
	@ATOLL=$(abspath $(ATOLL)) contrib/specs $(B)/specs '$(BUSTED)' $(SPECS)

browser: $(ATOLL) ## run the specs of pages in chromium (SCREENSHOTS=directory)
	ATOLL=$(abspath $(ATOLL)) $(BUSTED) --pattern=_browser $(SPECS)

check: lint $(ATOLL) ## lint, headers alone, luacheck, clang-format, generated files
	@CC='$(CC)' contrib/lint/headers -std=c11 $(INCLUDES) $(WARNINGS)
	@contrib/lint/generated $(ATOLL)
	@luacheck -q $(LUA_CHECKED)
	@clang-format --dry-run -Werror $(FORMATTED)
lint: ## prove the layers and the rules of the house
	@contrib/lint/all

format: ## clang-format all C files
	clang-format -i $(FORMATTED)

bench: ## set up, build, and measure (BENCH="--only hello", see contrib/bench)
	@contrib/setup bench
	+@$(AGAIN) build
	ATOLL=$(abspath $(ATOLL)) contrib/bench/run $(BENCH)

scale: ## count what growth costs (contrib/scale)
	@contrib/scale/run

fuzz: ## set up, and run each fuzzer for FUZZ_SECONDS=10
	@contrib/setup test
	+@$(AGAIN) CC=clang SAN=fuzzer,address,undefined fuzzers
fuzzers: $(FUZZERS)
	@contrib/fuzz/run $(FUZZ_SECONDS) $(FUZZERS)

afl: ## the same by AFL++, FUZZ_SECONDS for each in turn
	@contrib/setup afl
	+@$(AGAIN) CC=afl-clang-fast SAN=fuzzer,address,undefined aflfuzzers
aflfuzzers: $(FUZZERS)
	@contrib/fuzz/afl $(FUZZ_SECONDS) $(FUZZERS)
chaos: ## set up, build, and do everything to a host (SECONDS=180, SEED=, APPS=2, ONLY=)
	@contrib/setup build
	+@$(AGAIN) build rough
	@$(UNDER) contrib/chaos/run.lua SECONDS=$(SECONDS) SEED=$(SEED) APPS=$(APPS) \
	    ONLY='$(ONLY)'
soak: ## the same for a steady load, and draw memory and latency (SECONDS=600)
	@contrib/setup build
	+@$(AGAIN) build rough
	@$(UNDER) contrib/chaos/soak.lua SECONDS=$(SECONDS) $(abspath $(B))/soak
rough: $(B)/crash.so $(B)/rough.so
UNDER = ATOLL=$(abspath $(ATOLL)) CHAOS_CRASH=$(abspath $(B))/crash.so \
    CHAOS_ROUGH=$(abspath $(B))/rough.so \
    $(firstword $(wildcard build/release/atoll) $(ATOLL)) run

clean: ## remove build/
	rm -rf build
install: $(ATOLL) ## build and install (PREFIX=/usr/local, DESTDIR)
	@contrib/install $(ATOLL) '$(DESTDIR)$(PREFIX)'

# What objects are compiled with and programs linked from; a change remakes them.
$(B)/flags: private STAMP = $(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) $(LDFLAGS)
$(B)/objects: private STAMP = $(OBJS) $(UNIT_OBJS) $(ATOLL_LINK)
$(B)/flags $(B)/objects: FORCE
	@printf '%s\n' '$(subst ','\'',$(STAMP))' | contrib/update $@

$(B)/embedded.c: $(B)/embed FORCE
	@$< $(LUA_FILES) | contrib/update $@
$(B)/embed: contrib/embed.c $(B)/flags
	@echo '  ld $@'
	$(Q)$(CC) -std=c11 -O1 $(WARNINGS) $(LUA_FLAGS) -o $@ $< $(LUA_LIBS) -ldl -lm

$(ATOLL): $(OBJS) $(B)/objects
	$(LINK) $(ATOLL_LINK)

# What makes calls fail, and a module that crashes, for specs.
$(B)/sites.so $(B)/crash.so: $(B)/%.so: spec/shim/%.c $(B)/flags
	$(MODULE)
# What the chaos run does to other processes.
$(B)/rough.so: $(B)/%.so: contrib/chaos/%.c $(B)/flags
	$(MODULE)
define MODULE
@echo '  ld $@'
$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O2 -g -fPIC -shared -fvisibility=hidden \
    $(LUA_FLAGS) $(WARNINGS) -o $@ $< -ldl
endef

$(B)/unit-tests: $(UNIT_OBJS) $(B)/objects
$(B)/unit-tests: private LIBS := -lev
$(FUZZERS): $(B)/%: $(B)/contrib/fuzz/%.o
$(B)/json_fuzz: $(addprefix $(B)/host/api/,json_read.o json_write.o)
$(B)/pack_fuzz: $(addprefix $(B)/host/isolate/,pack.o cargo.o)
$(B)/json_fuzz $(B)/pack_fuzz: private LIBS := $(LUA_LIBS) -ldl
$(B)/unit-tests $(FUZZERS): $(PURE_OBJS)
	$(LINK) $(LLHTTP_LIBS) $(LIBS) -lwslay -lz -lm

$(B)/contrib/fuzz/%.o: private WARNINGS += -Wno-missing-prototypes
define COMPILE
@mkdir -p $(@D); echo '  cc $<'
$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) -MMD -MP -c -o $@ $<
endef

$(B)/%.o: %.c $(B)/flags
	$(COMPILE)
$(B)/%.o: $(B)/%.c $(B)/flags
	$(COMPILE)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
