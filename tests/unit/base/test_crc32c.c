#include "base/crc32c.h"
#include "base/prng.h"
#include "tests/unit/ks_check.h"

#include <string.h>

/* The definition, bit by bit: reflected polynomial 0x1edc6f41. */
static uint32_t crc_by_definition(const uint8_t *data, size_t bytes)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

/* RFC 3720, appendix B.4; the check value of the polynomial. */
START_TEST(published_vectors_hold)
{
    uint8_t data[32];
    ck_assert_uint_eq(ks_crc32c("123456789", 9), 0xe3069283);
    memset(data, 0, sizeof data);
    ck_assert_uint_eq(ks_crc32c(data, sizeof data), 0x8a9136aa);
    memset(data, 0xff, sizeof data);
    ck_assert_uint_eq(ks_crc32c(data, sizeof data), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        data[i] = i;
    ck_assert_uint_eq(ks_crc32c(data, sizeof data), 0x46dd794e);
    for (uint8_t i = 0; i < 32; i++)
        data[i] = (uint8_t)(31 - i);
    ck_assert_uint_eq(ks_crc32c(data, sizeof data), 0x113fdb5c);
}
END_TEST

START_TEST(the_crc_of_nothing_is_zero)
{
    ck_assert_uint_eq(ks_crc32c(NULL, 0), 0);
    ck_assert_uint_eq(ks_crc32c_extend(0x12345678, NULL, 0), 0x12345678);
}
END_TEST

/* Every length and alignment around the unrolled loops of the fast code, and every cut in two. */
START_TEST(every_length_alignment_and_cut_agrees_with_the_definition)
{
    uint8_t data[400];
    struct ks_prng prng;
    ks_prng_seed(&prng, 1);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)ks_prng_u64(&prng);
    for (size_t start = 0; start < 9; start++) {
        for (size_t bytes = 0; bytes < 390; bytes++)
            ck_assert_uint_eq(
                ks_crc32c(data + start, bytes), crc_by_definition(data + start, bytes));
    }
    uint32_t whole = crc_by_definition(data, sizeof data);
    for (size_t cut = 0; cut <= sizeof data; cut++) {
        uint32_t crc = ks_crc32c(data, cut);
        ck_assert_uint_eq(ks_crc32c_extend(crc, data + cut, sizeof data - cut), whole);
    }
}
END_TEST

KS_SUITE("base/crc32c")
{
    KS_TEST(published_vectors_hold);
    KS_TEST(the_crc_of_nothing_is_zero);
    KS_TEST(every_length_alignment_and_cut_agrees_with_the_definition);
}
