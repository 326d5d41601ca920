/* The app that a front has when several apps share its listeners: for each request it
 * finds the app by host and path and takes it there, on loan (loan.h), to that one of
 * the app's fronts which has the least to do and is not stuck. It answers only what is
 * for nobody, or for an app that cannot take it.
 *
 * One table for all fronts with usher_http, whose app_data it is; it does not change
 * while there are any. The crews are those of fronts which outlive them. */
#ifndef HTTP_USHER_H
#define HTTP_USHER_H

#include "http/exchange.h"
#include "http/front.h"
#include "http/vhost.h"

struct usher_app {
    struct crew *crew;
    const char *name;    /* for the log */
    atomic_llong silent; /* until then nothing more is said about it, ns */
};

struct usher {
    struct vhost *places;
    struct usher_app *apps; /* one for each place */
    unsigned count;
};

extern const struct http_app usher_http;

#endif
