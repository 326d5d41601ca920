# The HTTP parser. Part of the Makefile.
#
# llhttp: the library from 9.2.1 on; else Debian's sources, safe only in strict mode.
ifneq ($(shell pkg-config --exists 'libllhttp >= 9.2.1' 2>/dev/null && echo yes),)
LLHTTP_FLAGS := -DATOLL_LLHTTP_PACKAGED $(shell pkg-config --cflags libllhttp)
LLHTTP_LIBS := $(shell pkg-config --libs libllhttp)
else
LLHTTP_FLAGS := -DLLHTTP_STRICT_MODE=1 -isystem /usr/share/include/llhttp
LLHTTP_OBJS := $(patsubst %,$(B)/llhttp/%.o,api http llhttp)
# Compiled twice: codec/http1_read takes what the processor can do.
ifeq ($(shell $(CC) -dumpmachine | cut -d- -f1),x86_64)
LLHTTP_FLAGS += -DATOLL_LLHTTP_TWICE
LLHTTP_OBJS += $(B)/llhttp/sse42.o
UNUSED := message_begin|(url|method|version|header_field|header_value)_complete
endif
endif

$(B)/llhttp/%.o: private WARNINGS := -w
$(B)/llhttp/sse42.o: private CFLAGS += -msse4.2
$(B)/llhttp/%.o: /usr/share/llhttp/%.c $(B)/flags
	$(COMPILE)
$(B)/llhttp/sse42.c: /usr/share/llhttp/llhttp.c
	@mkdir -p $(@D)
	@sed -E -e 's/llhttp__internal_(_c_|init|execute)/llhttp_sse42_\1/g' \
	    -e 's/llhttp__on_($(UNUSED))\(state, p, endp\)/0/' $< >$@
