#include "net/openssl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
/* That of the headers; libcrypto comes with it. */
#define LIBRARY "libssl.so." TEXT(OPENSSL_SHLIB_VERSION)

struct openssl openssl;

static char why[256];

/* OpenSSL makes its context only once: whoever asks for anything when that has failed
 * for want of memory crashes. */
static bool is_able(void *library) {
    void *(*context)(void);
    *(void **)&context = dlsym(library, "OSSL_LIB_CTX_get0_global_default");
    return !context || context();
}

static void load(void) {
    /* One text, each name with a zero behind it: an array of pointers would have to be
       relocated at every start. */
#define NAME(f) #f "\0"
    static const char names[] = OPENSSL_FUNCTIONS(NAME);
    struct openssl found;
    char *slot = (char *)&found;
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    void *function = library;
    for (const char *n = names; *n && function; n += strlen(n) + 1) {
        function = dlsym(library, n);
        memcpy(slot, &function, sizeof function);
        slot += sizeof function;
    }
    if (!function)
        snprintf(why, sizeof why, "%s", dlerror());
    else if (!is_able(library))
        snprintf(why, sizeof why, "OpenSSL had not enough memory to begin");
    else
        openssl = found;
}

const char *openssl_load(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    return why[0] ? why : NULL;
}

#ifdef __SANITIZE_THREAD__
/* What a certificate says is worked out once, under its lock; that it has been is an
   atomic that others look at without (x509v3_cache_extensions of OpenSSL, into which
   the sanitizer does not see). */
const char *__tsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void) {
    return "race:ASN1_STRING_cmp\n";
}
#endif
