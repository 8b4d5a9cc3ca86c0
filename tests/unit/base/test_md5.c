#include "base/alloc.h"
#include "base/md5.h"
#include "base/prng.h"
#include "tests/unit/ks_check.h"

#include <openssl/evp.h>
#include <string.h>

/* RFC 1321, appendix A.5. */
static const struct {
    const char *text;
    uint64_t high, low;
} vectors[] = {
    {"", 0xd41d8cd98f00b204, 0xe9800998ecf8427e},
    {"a", 0x0cc175b9c0f1b6a8, 0x31c399e269772661},
    {"abc", 0x900150983cd24fb0, 0xd6963f7d28e17f72},
    {"message digest", 0xf96b697d7cb7938d, 0x525a2f31aaf161d0},
    {"abcdefghijklmnopqrstuvwxyz", 0xc3fcd3d76192e400, 0x7dfb496cca67e13b},
    {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
        0x57edf4a22be3c955, 0xac49da2e2107b67a},
};

START_TEST(many_keys_get_their_own_hash)
{
    KS_CLEANUP(ks_md5_destroyp) struct ks_md5 *md5 = NULL;
    ck_assert_int_eq(ks_md5_create(&md5, NULL), KS_OK);
    struct ks_view keys[KS_COUNT_OF(vectors)];
    ks_u128 hashes[KS_COUNT_OF(vectors)];
    for (size_t i = 0; i < KS_COUNT_OF(vectors); i++)
        keys[i] = ks_view_of_text(vectors[i].text);
    /* Twice: the reused context carries nothing over. */
    for (int round = 0; round < 2; round++) {
        memset(hashes, 0, sizeof hashes);
        ck_assert_int_eq(ks_md5_many(md5, keys, KS_COUNT_OF(keys), hashes), KS_OK);
        for (size_t i = 0; i < KS_COUNT_OF(vectors); i++)
            ck_assert_msg(hashes[i] == ((ks_u128)vectors[i].high << 64 | vectors[i].low),
                "MD5 of '%s'", vectors[i].text);
    }
}
END_TEST

static ks_u128 openssl_md5(struct ks_view key)
{
    uint8_t digest[16];
    unsigned digest_bytes = 0;
    ck_assert_int_eq(EVP_Digest(key.data, key.bytes, digest, &digest_bytes, EVP_md5(), NULL), 1);
    return ks_u128_load_be(digest);
}

/* Every length around the ends of words and blocks, in every lane, in groups of every size. */
START_TEST(every_width_agrees_with_openssl)
{
    static const unsigned widths[] = {4, 8, 16};
    KS_CLEANUP(ks_md5_destroyp) struct ks_md5 *md5 = NULL;
    ck_assert_int_eq(ks_md5_create(&md5, NULL), KS_OK);
    if (!ks_md5_use_lanes(md5, widths[_i]))
        return; /* this processor cannot */
    struct ks_prng prng;
    ks_prng_seed(&prng, 7);
    for (size_t count = 1; count <= 40; count++) {
        uint8_t bytes[40][140];
        struct ks_view keys[40];
        ks_u128 hashes[40];
        for (int round = 0; round < 20; round++) {
            for (size_t i = 0; i < count; i++) {
                for (size_t j = 0; j < sizeof bytes[i]; j++)
                    bytes[i][j] = (uint8_t)ks_prng_u64(&prng);
                keys[i] = ks_view_of(bytes[i], ks_prng_below(&prng, round % 2 ? 60 : 140));
            }
            ck_assert_int_eq(ks_md5_many(md5, keys, count, hashes), KS_OK);
            for (size_t i = 0; i < count; i++)
                ck_assert_msg(hashes[i] == openssl_md5(keys[i]), "key %zu of %zu, %zu bytes", i,
                    count, keys[i].bytes);
        }
    }
}
END_TEST

START_TEST(a_width_that_does_not_exist_is_refused)
{
    KS_CLEANUP(ks_md5_destroyp) struct ks_md5 *md5 = NULL;
    ck_assert_int_eq(ks_md5_create(&md5, NULL), KS_OK);
    ck_assert(!ks_md5_use_lanes(md5, 3));
}
END_TEST

START_TEST(no_keys_are_fine)
{
    KS_CLEANUP(ks_md5_destroyp) struct ks_md5 *md5 = NULL;
    ck_assert_int_eq(ks_md5_create(&md5, NULL), KS_OK);
    ck_assert_int_eq(ks_md5_many(md5, NULL, 0, NULL), KS_OK);
    ks_md5_destroy(NULL);
}
END_TEST

START_TEST(without_memory_nothing_is_made)
{
    struct ks_md5 *md5 = NULL;
    struct ks_error err = KS_ERROR_INIT;
    ks_alloc_fail_nth(1, true);
    ck_assert_int_eq(ks_md5_create(&md5, &err), KS_NO_MEMORY);
    ck_assert_ptr_null(md5);
    ck_assert_str_eq(err.text, "cannot set up MD5");
}
END_TEST

KS_SUITE("base/md5")
{
    KS_TEST(many_keys_get_their_own_hash);
    KS_TEST_LOOP(every_width_agrees_with_openssl, 3);
    KS_TEST(a_width_that_does_not_exist_is_refused);
    KS_TEST(no_keys_are_fine);
    KS_TEST(without_memory_nothing_is_made);
}
