#include "api/libs.h"

#include "api/buffer_lua.h"
#include "api/files_lua.h"
#include "api/http_lua.h"
#include "api/loan_lua.h"
#include "api/multipart_lua.h"
#include "api/net_lua.h"
#include "api/serve_lua.h"
#include "api/websocket_lua.h"
#include "api/ws_client_lua.h"

#include <lauxlib.h>

static const luaL_Reg modules[] = {
    {"atoll.core.blocking", luaopen_atoll_core_blocking},
    {"atoll.core.buffer", luaopen_atoll_core_buffer},
    {"atoll.core.channel", luaopen_atoll_channel},
    {"atoll.core.crypto", luaopen_atoll_core_crypto},
    {"atoll.core.fd", luaopen_atoll_core_fd},
    {"atoll.core.files", luaopen_atoll_core_files},
    {"atoll.core.host", luaopen_atoll_core_host},
    {"atoll.core.http", luaopen_atoll_core_http},
    {"atoll.core.isolate", luaopen_atoll_core_isolate},
    {"atoll.core.loan", luaopen_atoll_core_loan},
    {"atoll.core.multipart", luaopen_atoll_core_multipart},
    {"atoll.core.password", luaopen_atoll_core_password},
    {"atoll.core.port", luaopen_atoll_core_port},
    {"atoll.core.request", luaopen_atoll_core_request},
    {"atoll.core.response", luaopen_atoll_core_response},
    {"atoll.core.script", luaopen_atoll_script},
    {"atoll.core.semaphore", luaopen_atoll_semaphore},
    {"atoll.core.serve", luaopen_atoll_core_serve},
    {"atoll.core.shared", luaopen_atoll_core_shared},
    {"atoll.core.spawn", luaopen_atoll_core_spawn},
    {"atoll.core.stdio", luaopen_atoll_stdio},
    {"atoll.core.task", luaopen_atoll_task},
    {"atoll.core.testing", luaopen_atoll_core_testing},
    {"atoll.core.topic", luaopen_atoll_core_topic},
    {"atoll.core.ticker", luaopen_atoll_ticker},
    {"atoll.core.websocket", luaopen_atoll_core_websocket},
    {"atoll.core.ws_client", luaopen_atoll_core_ws_client},
    {"atoll.fs", luaopen_atoll_fs},
    {"atoll.json", luaopen_atoll_json},
    {"atoll.net", luaopen_atoll_net},
    {"cjson", luaopen_cjson},
    {"cjson.safe", luaopen_cjson_safe},
    {"socket.core", luaopen_socket_core},
    {"socket.unix", luaopen_socket_unix},
    {NULL, NULL},
};

void libs_preload(lua_State *L) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    luaL_setfuncs(L, modules, 0);
    lua_pop(L, 1);
}
