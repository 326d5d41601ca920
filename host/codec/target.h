/* Request targets (RFC 9112 3.2) and the percent-encoding in them (RFC 3986 2.1):
 * splits a target into path and query, decodes and normalises the path, walks a query.
 *
 * The path keeps "%2F" and "%25" of an encoded slash and percent sign as they came, so
 * that a segment can hold them; target_decode turns a single segment into its final
 * bytes. A path never holds NUL, never a "." or ".." segment, and always starts with
 * "/". Any thread. */
#ifndef CODEC_TARGET_H
#define CODEC_TARGET_H

#include "base/span.h"

enum target_form { TARGET_ORIGIN, TARGET_ABSOLUTE, TARGET_AUTHORITY, TARGET_ASTERISK };

struct target {
    enum target_form form;
    struct span path;      /* decoded and normalised; points into raw when nothing had
                              to change, else into scratch; "*" for the asterisk form */
    struct span query;     /* as it came, without "?"; .at is NULL when there is none */
    struct span authority; /* absolute and authority form; else empty */
    struct span scheme;    /* absolute form; else empty */
};

/* Splits raw. scratch has room for raw.len bytes and may not overlap it; it may be NULL
 * at first, and then -ENOBUFS says that it is needed. is_connect says that the method
 * is CONNECT and the target an authority. 0, or ERR_SYNTAX with *why a static sentence:
 * a bad escape or "%00" in the path, a byte that is not visible ASCII, a fragment, a
 * path above the root, a bad authority, an unknown form. Empty segments stay; the
 * scheme may be any. */
int target_parse(struct span raw, bool is_connect, char *scratch, struct target *out,
                 const char **why);

/* True when path has no escape that target_decode would change. */
bool target_plain(struct span path);

/* Decodes %XX (and "+" as a space when plus) into out, which has room for s.len bytes
 * and may be s.at itself. An escape that is not one stays as it is. Returns the length.
 */
size_t target_decode(struct span s, bool plus, char *out);

/* Takes the next name=value of a query or urlencoded form off *rest, undecoded; false
 * when nothing is left. Empty pairs are skipped; without "=" the value is empty. */
bool query_next(struct span *rest, struct span *name, struct span *value);

#endif
