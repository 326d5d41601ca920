#include "codec/compress.h"

#include "base/err.h"
#include "base/list.h"

#include <brotli/encode.h>
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>

enum {
    ROOM = 4096, /* of the output, at least, at each step */
    GZIP_LEVEL = 4,
    GZIP_FORMAT = 16, /* added to the bits of the window */
    BR_QUALITY = 2,
    BR_WINDOW = 18,
};

#define BROTLI_FUNCTIONS(X)                                                            \
    X(BrotliEncoderCreateInstance)                                                     \
    X(BrotliEncoderSetParameter)                                                       \
    X(BrotliEncoderCompressStream)                                                     \
    X(BrotliEncoderHasMoreOutput)

#define POINTER(f) __typeof__(f) *f;
static struct {
    bool there;
    BROTLI_FUNCTIONS(POINTER)
} lib;

static void load(void) {
    void *library = dlopen("libbrotlienc.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    bool all = true;
#define FIND(f)                                                                        \
    *(void **)&lib.f = dlsym(library, #f);                                             \
    all = all && lib.f;
    BROTLI_FUNCTIONS(FIND)
    lib.there = all;
}

static bool has_brotli(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    return lib.there;
}

/* ---- Brotli's memory ---- */

/* Without memory the encoder ends the process, unless whoever gives it memory does not
 * come back: then all that it had is freed here. */
struct brotli {
    BrotliEncoderState *state;
    struct link blocks;
    jmp_buf *out;
};

struct block {
    struct link link;
    alignas(max_align_t) char bytes[];
};

static void *brotli_alloc(void *user, size_t size) {
    struct brotli *b = user;
    struct block *block = malloc(sizeof *block + size);
    if (!block) longjmp(*b->out, 1);
    list_append(&b->blocks, &block->link);
    return block->bytes;
}

static void brotli_free(void *user, void *bytes) {
    (void)user;
    if (!bytes) return;
    struct block *block = LIST_OF(bytes, struct block, bytes);
    list_unlink(&block->link);
    free(block);
}

static void brotli_close(struct brotli *b) {
    struct link *first;
    while ((first = list_first(&b->blocks)))
        brotli_free(b, LIST_OF(first, struct block, link)->bytes);
    free(b);
}

static bool brotli_begin(struct brotli *b) {
    jmp_buf out;
    b->out = &out;
    if (setjmp(out) != 0) return false;
    b->state = lib.BrotliEncoderCreateInstance(brotli_alloc, brotli_free, b);
    lib.BrotliEncoderSetParameter(b->state, BROTLI_PARAM_QUALITY, BR_QUALITY);
    lib.BrotliEncoderSetParameter(b->state, BROTLI_PARAM_LGWIN, BR_WINDOW);
    return true;
}

static struct brotli *brotli_open(void) {
    struct brotli *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    list_init(&b->blocks);
    if (brotli_begin(b)) return b;
    brotli_close(b);
    return NULL;
}

/* One step; false without memory, and then the encoder may only be closed. */
static bool brotli_step(struct brotli *b, BrotliEncoderOperation operation,
                        size_t *left, const uint8_t **from, size_t *room,
                        uint8_t **to) {
    jmp_buf out;
    b->out = &out;
    if (setjmp(out) != 0) return false;
    return lib.BrotliEncoderCompressStream(b->state, operation, left, from, room, to,
                                           NULL);
}

/* ---- packers ---- */

bool packer_knows(enum coding c) {
    return c == CODING_GZIP || (c == CODING_BR && has_brotli());
}

int packer_open(struct packer *p, enum coding c, enum pack_size size) {
    bool whole = size == PACK_WHOLE;
    if (c == CODING_BR) {
        p->brotli = brotli_open();
        if (!p->brotli) return ERR_MEMORY;
    } else {
        memset(&p->z, 0, sizeof p->z);
        if (deflateInit2(&p->z, GZIP_LEVEL, Z_DEFLATED, GZIP_FORMAT + (whole ? 15 : 13),
                         whole ? 8 : 6, Z_DEFAULT_STRATEGY) != Z_OK)
            return ERR_MEMORY;
    }
    p->coding = c;
    return 0;
}

void packer_again(struct packer *p) {
    deflateReset(&p->z);
}

static int add_gzip(struct packer *p, struct span in, enum pack_how how,
                    struct buf *out) {
    static const int flushes[] = {
        [PACK_MORE] = Z_NO_FLUSH, [PACK_FLUSH] = Z_SYNC_FLUSH, [PACK_END] = Z_FINISH};
    p->z.next_in = (unsigned char *)(uintptr_t)in.at;
    p->z.avail_in = (unsigned)in.len;
    do {
        char *to = buf_reserve(out, ROOM);
        if (!to) return ERR_MEMORY;
        size_t room = buf_room(out);
        p->z.next_out = (unsigned char *)to;
        p->z.avail_out = (unsigned)room;
        deflate(&p->z, flushes[how]);
        buf_commit(out, room - p->z.avail_out);
    } while (p->z.avail_out == 0);
    return 0;
}

static int add_br(struct packer *p, struct span in, enum pack_how how,
                  struct buf *out) {
    static const BrotliEncoderOperation operations[] = {
        [PACK_MORE] = BROTLI_OPERATION_PROCESS,
        [PACK_FLUSH] = BROTLI_OPERATION_FLUSH,
        [PACK_END] = BROTLI_OPERATION_FINISH};
    struct brotli *b = p->brotli;
    const uint8_t *from = (const uint8_t *)in.at;
    size_t left = in.len;
    do {
        uint8_t *to = (uint8_t *)buf_reserve(out, ROOM);
        if (!to) return ERR_MEMORY;
        size_t room = buf_room(out), free = room;
        if (!brotli_step(b, operations[how], &left, &from, &free, &to))
            return ERR_MEMORY;
        buf_commit(out, room - free);
    } while (left || lib.BrotliEncoderHasMoreOutput(b->state));
    return 0;
}

int packer_add(struct packer *p, struct span in, enum pack_how how, struct buf *out) {
    return p->coding == CODING_BR ? add_br(p, in, how, out) : add_gzip(p, in, how, out);
}

void packer_close(struct packer *p) {
    if (p->coding == CODING_BR) brotli_close(p->brotli);
    if (p->coding == CODING_GZIP) deflateEnd(&p->z);
    p->coding = CODING_IDENTITY;
}

int pack_br(struct span in, struct buf *out) {
    size_t room = in.len + in.len / 8 + 1024, left = in.len;
    const uint8_t *from = (const uint8_t *)in.at;
    uint8_t *to = (uint8_t *)buf_reserve(out, room);
    struct brotli *b = to ? brotli_open() : NULL;
    if (!b) return ERR_MEMORY;
    size_t free = room;
    lib.BrotliEncoderSetParameter(b->state, BROTLI_PARAM_MODE, BROTLI_MODE_TEXT);
    lib.BrotliEncoderSetParameter(b->state, BROTLI_PARAM_SIZE_HINT, (uint32_t)in.len);
    bool done = brotli_step(b, BROTLI_OPERATION_FINISH, &left, &from, &free, &to) &&
                !left && !lib.BrotliEncoderHasMoreOutput(b->state);
    brotli_close(b);
    if (!done) return ERR_MEMORY;
    buf_commit(out, room - free);
    return 0;
}
