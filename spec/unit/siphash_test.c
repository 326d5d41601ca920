/* The vectors of the paper's reference code: key 00 .. 0f, input 00 01 02 .. */
#include "base/siphash.h"
#include "unit.h"

static const struct siphash_key key = {UINT64_C(0x0706050403020100),
                                       UINT64_C(0x0f0e0d0c0b0a0908)};

static uint64_t of(size_t len) {
    char bytes[64];
    for (size_t i = 0; i < len; i++) bytes[i] = (char)i;
    return siphash(&key, span_of(bytes, len));
}

TEST(agrees_with_the_reference) {
    EXPECT(of(0) == UINT64_C(0x726fdb47dd0e0e31));
    EXPECT(of(1) == UINT64_C(0x74f839c593dc67fd));
    EXPECT(of(8) == UINT64_C(0x93f5f5799a932462));
    EXPECT(of(15) == UINT64_C(0xa129ca6149be45e5));
    EXPECT(of(63) == UINT64_C(0x958a324ceb064572));
}
