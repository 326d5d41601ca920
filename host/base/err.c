#include "base/err.h"

#include <string.h>

const char *err_name(int err) {
    switch (err) {
    case 0: return "OK";
    case ERR_CLOSED: return "ECLOSED";
    case ERR_TOO_LARGE: return "ETOOLARGE";
    case ERR_SYNTAX: return "ESYNTAX";
    case ERR_CANCELLED: return "ECANCELED";
    case ERR_LUA: return "ELUA";
    case ERR_MEMORY: return "ENOMEM";
    case ERR_NOT_FOUND: return "ENOTFOUND";
    case ERR_TLS: return "ETLS";
    case ERR_NAMES: return "EAI_AGAIN";
    case ERR_TRUNCATED: return "ETRUNCATED";
    case ERR_WRONG_TYPE: return "EWRONGTYPE";
    }
    const char *name = strerrorname_np(err < 0 ? -err : err);
    return name ? name : "EUNKNOWN";
}

const char *err_text(int err) {
    switch (err) {
    case 0: return "no error";
    case ERR_CLOSED: return "closed";
    case ERR_TOO_LARGE: return "too large";
    case ERR_SYNTAX: return "malformed";
    case ERR_CANCELLED: return "cancelled";
    case ERR_LUA: return "Lua error";
    case ERR_MEMORY: return "not enough memory";
    case ERR_NOT_FOUND: return "host not found";
    case ERR_TLS: return "TLS failed";
    case ERR_NAMES: return "the name servers failed";
    case ERR_TRUNCATED: return "cut off";
    case ERR_WRONG_TYPE: return "wrong type";
    }
    const char *text = strerrordesc_np(err < 0 ? -err : err);
    return text ? text : "unknown error";
}
