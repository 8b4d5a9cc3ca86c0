#include "base/prng.h"
#include "tests/unit/ks_check.h"
#include "tools/ctl_base64.h"

struct vector {
    const char *bytes;
    const char *text;
};

/* RFC 4648, section 10. */
static const struct vector vectors[] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};

START_TEST(the_vectors_of_the_rfc_hold_both_ways)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf text;
    KS_CLEANUP(ks_buf_fini) struct ks_buf bytes;
    ks_buf_init(&text, 64);
    ks_buf_init(&bytes, 64);
    struct ks_view expected_text = ks_view_of_text(vectors[_i].text);
    struct ks_view expected_bytes = ks_view_of_text(vectors[_i].bytes);
    ck_assert(ctl_base64_encode(expected_bytes, &text));
    ck_assert(ks_view_equal(ks_view_of(text.data, text.bytes), expected_text));
    ck_assert(ctl_base64_decode(expected_text, &bytes));
    ck_assert(ks_view_equal(ks_view_of(bytes.data, bytes.bytes), expected_bytes));
}
END_TEST

static const char *const refused[] = {
    "Z", "Zg", "Zg=", "Zg=a", "Z===", "====", "Zm9v\n", "Zm 9", "Zh==", "Zm9=", "Zg==Zg==", "Zm9-"};

START_TEST(what_is_not_canonical_is_refused)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf bytes;
    ks_buf_init(&bytes, 64);
    ck_assert(!ctl_base64_decode(ks_view_of_text(refused[_i]), &bytes));
}
END_TEST

START_TEST(decoding_undoes_encoding_for_random_bytes)
{
    struct ks_prng prng;
    ks_prng_seed(&prng, 7);
    for (size_t length = 0; length < 200; length++) {
        uint8_t bytes[200];
        for (size_t i = 0; i < length; i++)
            bytes[i] = (uint8_t)ks_prng_u64(&prng);
        KS_CLEANUP(ks_buf_fini) struct ks_buf text;
        KS_CLEANUP(ks_buf_fini) struct ks_buf back;
        ks_buf_init(&text, 1000);
        ks_buf_init(&back, 1000);
        ck_assert(ctl_base64_encode(ks_view_of(bytes, length), &text));
        ck_assert(ctl_base64_decode(ks_view_of(text.data, text.bytes), &back));
        ck_assert(ks_view_equal(ks_view_of(back.data, back.bytes), ks_view_of(bytes, length)));
    }
}
END_TEST

KS_SUITE("tools/ctl_base64")
{
    KS_TEST_LOOP(the_vectors_of_the_rfc_hold_both_ways, (int)KS_COUNT_OF(vectors));
    KS_TEST_LOOP(what_is_not_canonical_is_refused, (int)KS_COUNT_OF(refused));
    KS_TEST(decoding_undoes_encoding_for_random_bytes);
}
