/* Usage: embed FILE... >embedded.c
 *
 * Turns Lua modules (paths from the top of the source tree, "lua/atoll/app.lua") into
 * the table that host/base/embedded.h declares: each is compiled, by the Lua that the
 * program is linked with, and written as bytes. Names and lines stay in it, so that
 * errors and tracebacks tell them. */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int put(lua_State *L, const void *at, size_t n, void *data) {
    const unsigned char *bytes = at;
    (void)L;
    for (size_t i = 0; i < n; i++, (*(unsigned *)data)++)
        printf(*(unsigned *)data % 20 == 19 ? "%u,\n" : "%u,", bytes[i]);
    return 0;
}

/* "lua/atoll/fs/init.lua" is the module "atoll.fs". */
static void put_module(const char *path) {
    const char *name = strncmp(path, "lua/", 4) == 0 ? path + 4 : path;
    size_t n = strlen(name);
    n -= n > 4 && strcmp(name + n - 4, ".lua") == 0 ? 4 : 0;
    n -= n > 5 && strncmp(name + n - 5, "/init", 5) == 0 ? 5 : 0;
    putchar('"');
    for (size_t i = 0; i < n; i++) putchar(name[i] == '/' ? '.' : name[i]);
    putchar('"');
}

int main(int argc, char **argv) {
    lua_State *L = luaL_newstate();
    if (!L) {
        fprintf(stderr, "embed: not enough memory\n");
        return EXIT_FAILURE;
    }
    printf("/* Written by contrib/embed.c. */\n#include \"base/embedded.h\"\n");
    for (int i = 1; i < argc; i++) {
        unsigned written = 0;
        printf("\nstatic const unsigned char file_%d[] = {\n", i);
        if (luaL_loadfile(L, argv[i]) != LUA_OK || lua_dump(L, put, &written, 0) != 0) {
            fprintf(stderr, "embed: %s\n", lua_tostring(L, -1));
            return EXIT_FAILURE;
        }
        printf("};\n");
        lua_pop(L, 1);
    }
    printf("\nconst struct embedded_file embedded_files[] = {\n");
    for (int i = 1; i < argc; i++) {
        printf("    {");
        put_module(argv[i]);
        printf(", \"%s\", file_%d, sizeof file_%d},\n", argv[i], i, i);
    }
    printf("    {NULL, NULL, NULL, 0},\n};\n");
    lua_close(L);
    if (fflush(stdout) == 0 && !ferror(stdout)) return EXIT_SUCCESS;
    perror("embed");
    return EXIT_FAILURE;
}
