#include "base/prng.h"
#include "base/u128.h"
#include "tests/unit/ks_check.h"

#include <string.h>

#define MAX_TEXT "340282366920938463463374607431768211455"

static bool parses(const char *text)
{
    ks_u128 value;
    return ks_u128_from_text(text, strlen(text), &value);
}

START_TEST(the_ends_of_the_range_have_their_text)
{
    char text[KS_U128_TEXT_BYTES];
    ck_assert_uint_eq(ks_u128_to_text(0, text), 1);
    ck_assert_str_eq(text, "0");
    ck_assert_uint_eq(ks_u128_to_text(KS_U128_MAX, text), 39);
    ck_assert_str_eq(text, MAX_TEXT);
    ks_u128_to_text((ks_u128)1 << 127, text);
    ck_assert_str_eq(text, "170141183460469231731687303715884105728");
}
END_TEST

START_TEST(text_undoes_numbers)
{
    struct ks_prng prng;
    ks_prng_seed(&prng, 7);
    for (unsigned i = 0; i < 2000; i++) {
        ks_u128 value = (ks_u128)ks_prng_u64(&prng) << 64 | ks_prng_u64(&prng);
        value >>= i % 128;
        char text[KS_U128_TEXT_BYTES];
        size_t length = ks_u128_to_text(value, text);
        ck_assert_uint_eq(length, strlen(text));
        ks_u128 back = 0;
        ck_assert(ks_u128_from_text(text, length, &back));
        ck_assert(back == value);
        uint8_t bytes[16];
        ks_u128_store_be(bytes, value);
        ck_assert(ks_u128_load_be(bytes) == value);
    }
}
END_TEST

START_TEST(only_the_canonical_text_is_a_number)
{
    ck_assert(parses("0"));
    ck_assert(parses(MAX_TEXT));
    ck_assert(!parses("340282366920938463463374607431768211456"));  /* 2^128 */
    ck_assert(!parses("999999999999999999999999999999999999999"));  /* 39 nines */
    ck_assert(!parses("1000000000000000000000000000000000000000")); /* 40 digits */
    static const char *const bad[] = {"", "00", "01", "-1", "+1", " 1", "1 ", "0x1", "1.0", "1e3"};
    for (size_t i = 0; i < KS_COUNT_OF(bad); i++)
        ck_assert_msg(!parses(bad[i]), "'%s'", bad[i]);
}
END_TEST

START_TEST(refused_text_leaves_the_result_alone)
{
    ks_u128 value = 42;
    ck_assert(!ks_u128_from_text("12x", 3, &value));
    ck_assert(value == 42);
    ck_assert(ks_u128_from_text("12x", 2, &value)); /* the length counts, no zero is needed */
    ck_assert(value == 12);
}
END_TEST

START_TEST(bytes_are_big_endian)
{
    uint8_t bytes[16];
    ks_u128_store_be(bytes, (ks_u128)0x0102030405060708 << 64 | 0x090a0b0c0d0e0f10);
    for (uint8_t i = 0; i < 16; i++)
        ck_assert_uint_eq(bytes[i], i + 1);
}
END_TEST

KS_SUITE("base/u128")
{
    KS_TEST(the_ends_of_the_range_have_their_text);
    KS_TEST(text_undoes_numbers);
    KS_TEST(only_the_canonical_text_is_a_number);
    KS_TEST(refused_text_leaves_the_result_alone);
    KS_TEST(bytes_are_big_endian);
}
