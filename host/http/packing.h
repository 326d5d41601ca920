/* Compressing the answers of an exchange on their way, when the settings want it: text
 * that is long enough, for who accepts it, unless the app or a header says otherwise.
 *
 * Short bodies are compressed at once and keep a known length; longer ones and streams
 * become chunks, piece by piece, those of a stream flushed at each write. The exchange
 * asks in exchange_answer and exchange_head and then sends its pieces this way; nobody
 * above it notices. The isolate's thread. */
#ifndef HTTP_PACKING_H
#define HTTP_PACKING_H

#include "codec/coding.h"
#include "http/exchange.h"

enum {
    PACKING_WHOLE = 64 * 1024, /* up to here a body is compressed at once */
    PACKING_PIECE = 48 * 1024, /* at most, then others have their turn */
};

/* The coding for an answer with that status and type and so many bytes, negative when
 * that is not known. Adds the Vary that belongs to it; identity without memory. */
enum coding packing_choose(struct exchange *x, int status, struct span type,
                           int64_t length);

/* Adds Vary: Accept-Encoding, if it is not there. 0 or ERR_MEMORY. */
int packing_vary(struct exchange *x);

/* Answers with all of body. False: it is to be sent as it is. */
bool packing_answer(struct exchange *x, int status, struct span type, struct span body);

/* The body is going to be compressed: sets fields and framing for the head. False: it
 * is to be sent as it is. */
bool packing_begin(struct exchange *x, int status, struct span type, int64_t length);

/* As exchange_body, but with IO_OK, too, less than all may be taken: others should have
 * their turn first. */
enum io packing_body(struct exchange *x, struct span piece, size_t *taken);

/* The last of it, however much is unsent. False: less was written than promised. */
bool packing_end(struct exchange *x);

/* A strong ETag among the fields becomes weak. 0 or ERR_MEMORY. */
int packing_weaken(struct exchange *x);

void packing_done(struct exchange *x);

/* Of a front that has packed. */
struct packing_kit;
void packing_kit_free(struct packing_kit *kit);

#endif
