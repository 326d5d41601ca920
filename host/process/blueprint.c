#include "process/blueprint.h"

#include "api/blocking_state.h"
#include "base/check.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t ns(double seconds) {
    return (int64_t)(seconds * (double)CLOCK_SECOND);
}

static uint32_t bounded(uint64_t n) {
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

void blueprint_release(struct blueprint *b) {
    if (atomic_fetch_sub(&b->references, 1) != 1) return;
    if (b->blocking) blocking_site_close(b->blocking);
    if (b->settings) settings_free(b->settings);
    free(b->appdir);
    free(b->prefix);
    free(b->form_directory);
    free(b);
}

static void app_closed(const struct app_options *o) {
    blueprint_release(o->owner);
}

/* The settings have been checked. */
static struct dns_options names(const struct settings *s) {
    struct dns_options o = {.patience = ns(s->resolver_timeout)};
    char why[ADDR_WHY];
    for (size_t i = 0; i < s->resolver.count && o.count < DNS_SERVERS; i++)
        if (addr_numeric(s->resolver.at[i], 53, &o.servers[o.count], why) == 0)
            o.count++;
    return o;
}

static struct client_trust trust(const struct settings *s) {
    struct client_trust t = {.headers = (enum client_headers)s->forwarded};
    char why[ADDR_WHY];
    for (size_t i = 0; i < s->trusted_proxies.count; i++)
        cidr_add(&t.proxies, s->trusted_proxies.at[i], why);
    return t;
}

static void app_copied(const struct app_options *o) {
    struct blueprint *b = o->owner;
    atomic_fetch_add(&b->references, 1);
}

struct blueprint *blueprint_new(struct settings *s, bool own, const char *appdir) {
    struct blueprint *b = calloc(1, sizeof *b);
    if (!b) {
        if (own) settings_free(s);
        return NULL;
    }
    atomic_init(&b->references, 1);
    b->settings = own ? s : NULL;
    b->appdir = appdir ? strdup(appdir) : NULL;
    b->form_directory = strdup(s->form_directory);
    if ((appdir && !b->appdir) || !b->form_directory) {
        blueprint_release(b);
        return NULL;
    }
    b->options = (struct app_options){
        .appdir = b->appdir,
        .strict = s->strict,
        .compat_path = s->compat_path,
        .compat_lua51 = s->compat & COMPAT_LUA51,
        .compat_ngx = s->compat & COMPAT_NGX,
        .links = s->symlinks,
        .isolates = s->isolates,
        .version = ATOLL_VERSION,
        .limits = &b->limits,
        .forms = &b->forms,
        .json_access = s->log_format == LOG_JSON,
        .closed = app_closed,
        .copied = app_copied,
        .owner = b,
    };
    b->plan = (struct generation_plan){
        .open = app_open,
        .unopened = app_unopened,
        .data = &b->options,
        .generational = s->gc == GC_GENERATIONAL,
        .memory = s->memory == MEMORY_NONE ? 0 : (size_t)s->memory,
        .drain_timeout = ns(s->drain_timeout),
        .load_timeout = ns(s->load_timeout),
        .handler_timeout = ns(s->handler_timeout),
        .stuck_timeout = appdir ? ns(s->handler_timeout) : 0,
        .names = names(s),
    };
    b->limits = (struct front_limits){
        .head = {.request_line_max = bounded(s->request_line_max),
                 .header_bytes_max = bounded(s->header_bytes_max),
                 .header_count_max = s->header_count_max},
        .body_max = s->body_max,
        .head_timeout = ns(s->head_timeout),
        .body_timeout = ns(s->body_timeout),
        .body_rate = s->body_rate,
        .idle_timeout = ns(s->idle_timeout),
        .write_timeout = ns(s->write_timeout),
        .requests_per_connection = s->requests_per_connection,
        .connections_max = s->connections_max,
        .connections_per_address = s->connections_per_address,
        .open_files = s->open_files,
        .websocket = {.message_max = bounded(s->websocket_message_max),
                      .queue_max = bounded(s->websocket_queue),
                      .ping = ns(s->websocket_ping),
                      .patience = ns(s->websocket_timeout)},
        .compress = s->compression,
        .compress_min = s->compress_min,
        .trust = trust(s),
    };
    b->forms = (struct form_limits){
        .parts_max = s->form_parts_max,
        .name_max = bounded(s->form_name_max),
        .head_max = bounded(s->form_header_max),
        .memory_max = s->form_memory_max,
        .part_max = s->form_part_max,
        .directory = b->form_directory,
    };
    snprintf(b->limits.compress_types, sizeof b->limits.compress_types, "%s",
             s->compress_types);
    return b;
}

bool blueprint_under(struct blueprint *b, const char *prefix) {
    if (!*prefix) return true;
    b->options.prefix = b->prefix = strdup(prefix);
    return b->prefix != NULL;
}

struct generation *blueprint_build(struct blueprint *b, uint64_t number,
                                   struct buf *error) {
    if (!b->blocking) {
        b->options.blocking = b->blocking = blocking_site_new(&b->options, &b->plan);
        if (!b->blocking) {
            buf_printf(error, "not enough memory");
            return NULL;
        }
    }
    atomic_fetch_add(&b->references, 1);
    /* On failure, too, the app is closed, which gives the reference back. */
    return generation_new(&b->plan, number, error);
}
