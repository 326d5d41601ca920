#include "base/log_line.h"

#include "base/clock.h"
#include "base/escape.h"

#define CUT "…"
enum { CUT_LEN = sizeof CUT - 1, REQUEST_ID_MAX = 64, THREAD_MAX = 64 };

/* Writes up to end; what comes after the first thing that did not fit is left out. */
struct pen {
    char *at, *end;
    bool full;
};

static void put(struct pen *p, struct span s) {
    if (p->full || (size_t)(p->end - p->at) < s.len) {
        p->full = true;
        return;
    }
    memcpy(p->at, s.at, s.len);
    p->at += s.len;
}

static void put_escaped(struct pen *p, struct span s, enum escape_mode mode) {
    if (p->full) return;
    size_t taken;
    p->at += escape(p->at, (size_t)(p->end - p->at), s, mode, &taken);
    p->full = taken < s.len;
}

/* What ends the event, for which room was kept behind p->end. */
static void put_end(struct pen *p, struct span tail) {
    if (p->full) {
        memcpy(p->at, CUT, CUT_LEN);
        p->at += CUT_LEN;
    }
    memcpy(p->at, tail.at, tail.len);
    p->at += tail.len;
}

static void put_time(struct pen *p, int64_t wall_ns) {
    char text[CLOCK_RFC3339_LEN];
    clock_rfc3339(text, wall_ns);
    put(p, span_of(text, sizeof text));
}

static void put_priority(struct pen *p, enum log_level level) {
    static const char priorities[] = "<7><6><4><3>"; /* as syslog counts */
    put(p, span_of(priorities + 3 * level, 3));
}

static struct span head_of(struct span s, size_t max) {
    return span_of(s.at, s.len < max ? s.len : max);
}

const char *log_level_name(enum log_level level) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    return names[level];
}

/* The text with its newlines and tabs, each further line indented under the first,
 * which the tail ends. */
static void put_lines(struct pen *p, struct log_style style, const struct log_event *e,
                      struct span tail) {
    struct span rest = e->text;
    while (rest.len && rest.at[rest.len - 1] == '\n') rest.len--;
    bool first = true;
    for (size_t i = 0; i <= rest.len;) {
        size_t end = i;
        while (end < rest.len && rest.at[end] != '\n' && rest.at[end] != '\t') end++;
        put_escaped(p, span_of(rest.at + i, end - i), ESCAPE_PLAIN);
        if (end < rest.len && rest.at[end] == '\t') {
            put(p, SPAN("    "));
        } else {
            if (first) put(p, tail);
            first = false;
            if (end == rest.len) break;
            put(p, SPAN("\n"));
            if (style.journal) put_priority(p, e->level);
            put(p, SPAN("    "));
        }
        i = end + 1;
    }
}

static void put_text_event(struct pen *p, struct log_style style,
                           const struct log_event *e) {
    static const char levels[] = "debug info  warn  error ";
    char buffer[REQUEST_ID_MAX * 4 + 16];
    struct pen tail = {buffer, buffer + sizeof buffer, false};
    if (e->request_id.len) {
        put(&tail, SPAN(" request_id="));
        put_escaped(&tail, head_of(e->request_id, REQUEST_ID_MAX), ESCAPE_PLAIN);
    }
    struct span id = span_of(buffer, (size_t)(tail.at - buffer));

    if (style.journal) {
        put_priority(p, e->level);
    } else {
        put_time(p, e->wall_ns);
        put(p, SPAN(" "));
        put(p, span_of(levels + 6 * e->level, 6));
    }
    if (e->thread) {
        put_escaped(p, head_of(span_str(e->thread), THREAD_MAX), ESCAPE_PLAIN);
        put(p, SPAN(": "));
    }
    if (e->lines) {
        put_lines(p, style, e, id);
        put_end(p, SPAN(""));
    } else {
        p->end -= id.len;
        put_escaped(p, e->text, ESCAPE_PLAIN);
        put_end(p, id);
    }
}

/* "isolate 12" stands as a number of its own, so that it can be counted by. */
static bool is_isolate(struct span name, struct span *number) {
    static const char prefix[] = "isolate ";
    size_t n = sizeof prefix - 1;
    if (name.len <= n || name.len > n + 9 || memcmp(name.at, prefix, n) != 0)
        return false;
    *number = span_of(name.at + n, name.len - n);
    if (number->at[0] == '0' && number->len > 1) return false;
    for (size_t i = 0; i < number->len; i++)
        if (number->at[i] < '0' || number->at[i] > '9') return false;
    return true;
}

static void put_json_event(struct pen *p, struct log_style style,
                           const struct log_event *e) {
    if (style.journal) put_priority(p, e->level);
    put(p, SPAN("{\"time\":\""));
    put_time(p, e->wall_ns);
    put(p, SPAN("\",\"level\":\""));
    put(p, span_str(log_level_name(e->level)));
    if (e->thread) {
        struct span name = head_of(span_str(e->thread), THREAD_MAX), number;
        if (is_isolate(name, &number)) {
            put(p, SPAN("\",\"isolate\":"));
            put(p, number);
            put(p, SPAN(",\""));
        } else {
            put(p, SPAN("\",\"thread\":\""));
            put_escaped(p, name, ESCAPE_JSON);
            put(p, SPAN("\",\""));
        }
    } else {
        put(p, SPAN("\",\""));
    }
    if (e->request_id.len) {
        put(p, SPAN("request_id\":\""));
        put_escaped(p, head_of(e->request_id, REQUEST_ID_MAX), ESCAPE_JSON);
        put(p, SPAN("\",\""));
    }
    put(p, SPAN("msg\":\""));
    struct span text = e->text;
    while (e->lines && text.len && text.at[text.len - 1] == '\n') text.len--;
    put_escaped(p, text, ESCAPE_JSON);
    put_end(p, SPAN("\"}"));
}

size_t log_line(char *out, struct log_style style, const struct log_event *event) {
    size_t size = event->lines ? LOG_LINES_MAX : LOG_LINE_MAX;
    struct pen p = {out, out + size - CUT_LEN - sizeof "\"}", false};
    if (style.format == LOG_JSON)
        put_json_event(&p, style, event);
    else
        put_text_event(&p, style, event);
    *p.at++ = '\n';
    return (size_t)(p.at - out);
}
