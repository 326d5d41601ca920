/* The authority of an http or https URI, as Host and request targets carry it: a host
 * and maybe a port (RFC 9110 7.2, RFC 3986 3.2.2). User information is not allowed in
 * either place (RFC 9110 4.2.4), and a zone identifier is not part of the grammar.
 *
 * Only the form is checked, nothing is decoded or looked up. Any thread. */
#ifndef CODEC_AUTHORITY_H
#define CODEC_AUTHORITY_H

#include "base/span.h"

/* Splits s into host and port, the brackets of an IP literal included in the host.
 * False when s is not `host [":" [port]]` with a host of at least one byte and a port
 * below 65536. The port is empty when there is none. */
bool authority_parse(struct span s, struct span *host, struct span *port);

/* Reads an IP address, without brackets, into the 4 or 16 bytes of AF_INET or AF_INET6.
 * Leading zeros are refused in an IPv4 address. */
bool authority_ip(struct span text, int family, unsigned char *to);

#endif
