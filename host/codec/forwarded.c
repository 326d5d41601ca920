#include "codec/forwarded.h"

#include "base/ip.h"
#include "codec/authority.h"

#include <arpa/inet.h>

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

static struct span trim(struct span s) {
    while (s.len && is_blank(s.at[0])) s = span_of(s.at + 1, s.len - 1);
    while (s.len && is_blank(s.at[s.len - 1])) s.len--;
    return s;
}

static const char *find_back(const char *begin, const char *end, char c) {
    while (end > begin)
        if (*--end == c) return end;
    return NULL;
}

bool forwarded_last(struct span *list, struct span *element) {
    const char *begin = list->at, *end = begin + list->len, *at = end;
    for (; list->len; at--) {
        if (at > begin && at[-1] == '"') {
            at = find_back(begin, at - 1, '"');
            if (!at) break;
            at++; /* what the loop takes is the opening quote */
        } else if (at == begin || at[-1] == ',') {
            *element = trim(span_of(at, (size_t)(end - at)));
            *list = span_of(begin, at == begin ? 0 : (size_t)(at - 1 - begin));
            if (element->len) return true;
            end = at == begin ? begin : at - 1;
            if (at == begin) break;
        }
    }
    *list = span_of(begin, 0);
    return false;
}

static bool is_token(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* A token, as far as it goes. */
static struct span take_token(struct span *rest) {
    size_t n = 0;
    while (n < rest->len && is_token(rest->at[n])) n++;
    struct span token = span_of(rest->at, n);
    *rest = span_of(rest->at + n, rest->len - n);
    return token;
}

/* Up to the next quote, which is also an end for those that a backslash would hide:
 * nobody needs such in an address or a name. */
static bool take_quoted(struct span *rest, struct span *text) {
    const char *begin = rest->at + 1;
    const char *quote = rest->len > 1 ? memchr(begin, '"', rest->len - 1) : NULL;
    if (!quote || memchr(begin, '\\', (size_t)(quote - begin))) return false;
    *text = span_of(begin, (size_t)(quote - begin));
    *rest = span_of(quote + 1, rest->len - text->len - 2);
    return true;
}

/* Most proxies quote what has a colon; from those that do not, it is taken too. */
static bool take_value(struct span *rest, struct span *value) {
    if (rest->len && rest->at[0] == '"') return take_quoted(rest, value);
    size_t n = 0;
    while (n < rest->len && (is_token(rest->at[n]) || strchr(":[]", rest->at[n])))
        if (!rest->at[n++]) return false;
    *value = span_of(rest->at, n);
    *rest = span_of(rest->at + n, rest->len - n);
    return n > 0;
}

bool forwarded_pairs(struct span element, struct forwarded_pairs *out) {
    const struct {
        struct span name;
        struct span *to;
    } known[] = {{SPAN("for"), &out->client},
                 {SPAN("proto"), &out->scheme},
                 {SPAN("host"), &out->host}};
    struct span rest = trim(element), value;
    *out = (struct forwarded_pairs){0};
    while (rest.len) {
        if (rest.at[0] == ';') {
            rest = trim(span_of(rest.at + 1, rest.len - 1));
            continue;
        }
        struct span name = take_token(&rest);
        if (!name.len || !rest.len || rest.at[0] != '=') return false;
        rest = span_of(rest.at + 1, rest.len - 1);
        if (!take_value(&rest, &value)) return false;
        rest = trim(rest);
        if (rest.len && rest.at[0] != ';') return false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            if (!span_case_eq(name, known[i].name)) continue;
            if (known[i].to->at) return false;
            *known[i].to = value;
        }
    }
    return true;
}

/* ":80", or a name in the place of a port, which hides it; or nothing. */
static bool read_port(struct span text, uint16_t *port) {
    unsigned n = 0;
    *port = 0;
    if (!text.len) return true;
    if (text.at[0] != ':' || text.len < 2) return false;
    if (text.at[1] == '_') return true;
    if (text.len > 6) return false;
    for (size_t i = 1; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') return false;
        n = n * 10 + (unsigned)(text.at[i] - '0');
    }
    *port = (uint16_t)n;
    return n <= UINT16_MAX;
}

static bool read_v6(struct span text, struct forwarded_node *out) {
    if (!authority_ip(text, AF_INET6, out->address)) return false;
    const unsigned char *v4 = ip_v4_within(out->address);
    out->v6 = !v4;
    if (v4) memcpy(out->address, v4, 4);
    return true;
}

bool forwarded_node(struct span text, struct forwarded_node *out) {
    *out = (struct forwarded_node){0};
    if (!text.len) return false;
    const char *end = text.at + text.len, *stop;
    if (text.at[0] == '[') {
        stop = memchr(text.at, ']', text.len);
        return stop &&
               read_port(span_of(stop + 1, (size_t)(end - stop - 1)), &out->port) &&
               read_v6(span_of(text.at + 1, (size_t)(stop - text.at - 1)), out);
    }
    stop = memchr(text.at, ':', text.len);
    if (!stop) return authority_ip(text, AF_INET, out->address);
    if (memchr(stop + 1, ':', (size_t)(end - stop - 1))) return read_v6(text, out);
    return read_port(span_of(stop, (size_t)(end - stop)), &out->port) &&
           authority_ip(span_of(text.at, (size_t)(stop - text.at)), AF_INET,
                        out->address);
}

bool forwarded_scheme(struct span text, bool *secure) {
    *secure = span_case_eq(text, SPAN("https")) || span_case_eq(text, SPAN("wss"));
    return *secure || span_case_eq(text, SPAN("http")) ||
           span_case_eq(text, SPAN("ws"));
}
