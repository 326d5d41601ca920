/* Bytes of a multipart/form-data body into the events of its parts (RFC 7578, RFC 2046
 * 5.1): where a part begins and what its header says, its bytes, its end. What comes
 * before the first boundary and behind the last is skipped.
 *
 * Pull style: multipart_read is called with what has come until it says MULTIPART_MORE.
 * What it finds does not depend on how the bytes were cut, but for the pieces that the
 * data comes in. It holds no pointer into them between calls, and keeps one header, of
 * bounded size. One thread at a time. */
#ifndef CODEC_MULTIPART_H
#define CODEC_MULTIPART_H

#include "base/buf.h"
#include "codec/params.h"

enum { MULTIPART_BOUNDARY_MAX = 70 }; /* bytes; RFC 2046 5.1.1 */

struct multipart_limits {
    uint32_t parts_max; /* more is 413 */
    uint32_t head_max;  /* bytes of a part's header, its empty line too; 413 */
    uint32_t name_max;  /* bytes of a part's name as it came; 413 */
};

enum multipart_event {
    MULTIPART_MORE, /* all was used; call again with more bytes */
    MULTIPART_PART, /* a part's header is complete */
    MULTIPART_DATA, /* a run of its bytes */
    MULTIPART_OVER, /* the part is complete */
    MULTIPART_END,  /* the last boundary; what follows is used and skipped */
    MULTIPART_BAD,  /* answer with status; nothing more can be read */
};

struct multipart {
    struct multipart_limits limits;
    const char *reason; /* of MULTIPART_BAD: a short sentence; static storage */
    uint16_t status;    /* of MULTIPART_BAD: 400, 413 or 415 */
    uint8_t state;
    uint8_t length;  /* of the delimiter */
    uint8_t matched; /* bytes of it that have come */
    uint8_t unsaid;  /* of these, how many are not the part's if it goes on otherwise */
    bool in_part;
    uint32_t parts; /* so far */
    struct buf head;
    /* CR LF "--" boundary, and the "-" that may follow */
    char delimiter[4 + MULTIPART_BOUNDARY_MAX + 1];
};

/* Ready for the body of a message with that Content-Type. 0; ERR_WRONG_TYPE when it is
 * none of multipart/form-data, ERR_SYNTAX when its boundary is missing or malformed. */
int multipart_init(struct multipart *m, struct span content_type,
                   const struct multipart_limits *limits);

void multipart_done(struct multipart *m);

/* Reads on in the bytes not seen before; *used says how many are done with. With
 * MULTIPART_DATA *data is a run of the part's bytes, in `at` or in m, valid until the
 * next call. */
enum multipart_event multipart_read(struct multipart *m, const char *at, size_t len,
                                    size_t *used, struct span *data);

/* All of the form has come. */
bool multipart_complete(const struct multipart *m);

/* ---- from MULTIPART_PART until the next call ---- */

/* Takes the next field of the header; *from is 0 at first. False at the end. */
bool multipart_field(const struct multipart *m, size_t *from, struct span *name,
                     struct span *value);

/* The value of the field; empty when there is none. */
struct span multipart_value(const struct multipart *m, struct span name);

/* What Content-Disposition says; false when the parameter is not there. The file name
 * is the extended one (filename*) only when there is no plain one, and then *extended;
 * both have been checked. */
void multipart_name(const struct multipart *m, struct param *p);
bool multipart_file_name(const struct multipart *m, struct param *p, bool *extended);

#endif
