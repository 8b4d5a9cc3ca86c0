#include "daemon/iterator.h"
#include "tests/unit/daemon/temp.h"

#include <sys/stat.h>

static const struct ks_token_key key = {{1, 2, 3}};
static const struct ks_iterator sample = {.issued_unix_ms = 1421889600000,
    .stream_number = 0x0102030405060708,
    .log_id = 9,
    .shard_index = 0x01020304,
    .sequence = 0x1122334455667788};

START_TEST(iterator_comes_back_as_it_was)
{
    char text[KS_TOKEN_TEXT_BYTES_MAX];
    struct ks_iterator back;
    ks_iterator_to_text(&key, &sample, text);
    ck_assert_uint_eq(strlen(text), 72);
    ck_assert_int_eq(
        ks_iterator_from_text(&key, ks_view_of_text(text), sample.issued_unix_ms, &back, NULL),
        KS_OK);
    ck_assert_uint_eq(back.stream_number, sample.stream_number);
    ck_assert_uint_eq(back.log_id, sample.log_id);
    ck_assert_uint_eq(back.shard_index, sample.shard_index);
    ck_assert_uint_eq(back.sequence, sample.sequence);
    ck_assert_uint_eq(back.issued_unix_ms, sample.issued_unix_ms);
}
END_TEST

START_TEST(every_altered_character_is_refused)
{
    char text[KS_TOKEN_TEXT_BYTES_MAX];
    struct ks_iterator back;
    ks_iterator_to_text(&key, &sample, text);
    for (size_t i = 0; i < 72; i++) {
        char good = text[i];
        const char others[] = "AB9/=-\n";
        for (const char *c = others; *c; c++) {
            text[i] = *c;
            if (*c != good)
                ck_assert_int_eq(ks_iterator_from_text(&key, ks_view_of_text(text),
                                     sample.issued_unix_ms, &back, NULL),
                    KS_INVALID);
        }
        text[i] = good;
    }
    for (size_t bytes = 0; bytes < 72; bytes++)
        ck_assert_int_eq(ks_iterator_from_text(
                             &key, ks_view_of(text, bytes), sample.issued_unix_ms, &back, NULL),
            KS_INVALID);
}
END_TEST

START_TEST(another_key_or_kind_is_refused)
{
    const struct ks_token_key other = {{1, 2, 4}};
    uint8_t payload[KS_TOKEN_PAYLOAD_BYTES_MAX];
    size_t bytes = 0;
    char text[KS_TOKEN_TEXT_BYTES_MAX];
    struct ks_iterator back;
    ks_iterator_to_text(&key, &sample, text);
    ck_assert_int_eq(
        ks_iterator_from_text(&other, ks_view_of_text(text), sample.issued_unix_ms, &back, NULL),
        KS_INVALID);
    ck_assert_int_eq(
        ks_token_open(&key, KS_TOKEN_LIST_SHARDS, ks_view_of_text(text), payload, &bytes),
        KS_INVALID);
    ks_token_seal(&key, KS_TOKEN_LIST_STREAMS, ks_view_of_text("clicks"), text);
    ck_assert_int_eq(
        ks_token_open(&key, KS_TOKEN_LIST_STREAMS, ks_view_of_text(text), payload, &bytes), KS_OK);
    ck_assert(ks_view_equal(ks_view_of(payload, bytes), ks_view_of_text("clicks")));
}
END_TEST

START_TEST(expired_says_so_in_the_words_of_kinesis)
{
    char text[KS_TOKEN_TEXT_BYTES_MAX];
    struct ks_iterator back;
    struct ks_error error = KS_ERROR_INIT;
    ks_iterator_to_text(&key, &sample, text);
    uint64_t last = sample.issued_unix_ms + KS_ITERATOR_TTL_MS;
    ck_assert_int_eq(
        ks_iterator_from_text(&key, ks_view_of_text(text), last, &back, &error), KS_OK);
    ck_assert_int_eq(ks_iterator_from_text(&key, ks_view_of_text(text), last + 1, &back, &error),
        KS_EXPIRED_ITERATOR);
    ck_assert_str_eq(error.text, "Iterator expired. The iterator was created at time Thu Jan 22 "
                                 "01:20:00 UTC 2015 while right now it is Thu Jan "
                                 "22 01:25:00 UTC 2015 which is further in the future than the "
                                 "tolerated delay of 300000 milliseconds.");
}
END_TEST

START_TEST(key_outlives_a_restart_and_is_private)
{
    char folder[64];
    char path[128];
    struct ks_token_key first;
    struct ks_token_key second;
    struct stat stat_;
    temp_make(folder);
    ck_assert_int_eq(ks_token_key_load(folder, &first, NULL), KS_OK);
    ck_assert_int_eq(ks_token_key_load(folder, &second, NULL), KS_OK);
    ck_assert_mem_eq(&first, &second, sizeof(first));
    snprintf(path, sizeof(path), "%s/iterator.key", folder);
    ck_assert_int_eq(stat(path, &stat_), 0);
    ck_assert_uint_eq(stat_.st_mode & 0777, 0600);
    temp_write(folder, "iterator.key", "short");
    ck_assert_int_eq(ks_token_key_load(folder, &second, NULL), KS_CORRUPT);
    temp_remove(folder);
}
END_TEST

KS_SUITE("daemon/iterator")
{
    KS_TEST(iterator_comes_back_as_it_was);
    KS_TEST(every_altered_character_is_refused);
    KS_TEST(another_key_or_kind_is_refused);
    KS_TEST(expired_says_so_in_the_words_of_kinesis);
    KS_TEST(key_outlives_a_restart_and_is_private);
}
