#include "base/prng.h"
#include "proto/sequence.h"
#include "tests/unit/ks_check.h"

START_TEST(a_number_printed_in_the_aws_documentation_decodes)
{
    struct ks_sequence_number n;
    const char *text = "49590338271490256608559692538361571095921575989136588898";
    ck_assert_int_eq(ks_sequence_from_text(ks_view_of_text(text), &n), KS_OK);
    ck_assert_uint_eq(n.created_unix_s, 1542776258);
    ck_assert_uint_eq(n.ordinal, 1734642199);
    ck_assert_uint_eq(n.arrival_unix_s, 1545084650);
    ck_assert_uint_eq(n.shard_index, 6);
    char again[KS_SEQUENCE_TEXT_BYTES];
    ks_sequence_to_text(&n, again);
    ck_assert_str_eq(again, text);
}
END_TEST

START_TEST(reading_undoes_printing)
{
    struct ks_prng prng;
    ks_prng_seed(&prng, (uint64_t)_i);
    for (int round = 0; round < 2000; round++) {
        struct ks_sequence_number n = {
            .created_unix_s = ks_prng_u64(&prng) & KS_SEQUENCE_SECONDS_MAX,
            .ordinal = ks_prng_u64(&prng) >> (1 + ks_prng_below(&prng, 63)),
            .arrival_unix_s = ks_prng_u64(&prng) & KS_SEQUENCE_SECONDS_MAX,
            .shard_index = (uint32_t)ks_prng_below(&prng, KS_SHARD_INDEX_MAX + 1ULL)};
        char text[KS_SEQUENCE_TEXT_BYTES];
        ks_sequence_to_text(&n, text);
        ck_assert_uint_eq(strlen(text), 56);
        struct ks_sequence_number back;
        ck_assert_int_eq(ks_sequence_from_text(ks_view_of_text(text), &back), KS_OK);
        ck_assert_uint_eq(back.created_unix_s, n.created_unix_s);
        ck_assert_uint_eq(back.ordinal, n.ordinal);
        ck_assert_uint_eq(back.arrival_unix_s, n.arrival_unix_s);
        ck_assert_uint_eq(back.shard_index, n.shard_index);
    }
}
END_TEST

START_TEST(numbers_of_a_shard_rise_with_the_ordinal_and_exceed_the_parents)
{
    char parent[KS_SEQUENCE_TEXT_BYTES];
    char start[KS_SEQUENCE_TEXT_BYTES];
    char first[KS_SEQUENCE_TEXT_BYTES];
    char end[KS_SEQUENCE_TEXT_BYTES];
    ks_sequence_to_text(&(struct ks_sequence_number){.created_unix_s = 1700000000,
                            .ordinal = KS_SEQUENCE_ORDINAL_END,
                            .arrival_unix_s = KS_SEQUENCE_SECONDS_MAX,
                            .shard_index = KS_SHARD_INDEX_MAX},
        parent);
    struct ks_sequence_number n = {
        .created_unix_s = 1700000001, .arrival_unix_s = 1700000900, .shard_index = 3};
    ks_sequence_to_text(&n, start);
    n.ordinal = 1;
    n.arrival_unix_s = 1700000901;
    ks_sequence_to_text(&n, first);
    n.ordinal = KS_SEQUENCE_ORDINAL_END;
    ks_sequence_to_text(&n, end);
    ck_assert_str_lt(parent, start);
    ck_assert_str_lt(start, first);
    ck_assert_str_lt(first, end);
}
END_TEST

static const char *const bad_numbers[] = {
    "",
    "0",
    "1",
    "4959033827149025660855969253836157109592157598913658889",
    "495903382714902566085596925383615710959215759891365888980",
    "49590338271490256608559692538361571095921575989136588899", /* version 3 */
    "49590338271490256608559692538361571095921575989136588914", /* shard 7, nibble 6 */
    "99590338271490256608559692538361571095921575989136588898", /* leading digit 4 */
    "4959033827149025660855969253836157109592157598913658889a",
    "-9590338271490256608559692538361571095921575989136588898",
};

START_TEST(what_kinesis_never_printed_is_invalid)
{
    struct ks_sequence_number n;
    ck_assert_int_eq(ks_sequence_from_text(ks_view_of_text(bad_numbers[_i]), &n), KS_INVALID);
}
END_TEST

START_TEST(shard_ids_are_printed_with_twelve_digits)
{
    char text[KS_SHARD_ID_TEXT_BYTES];
    ks_shard_id_to_text(0, text);
    ck_assert_str_eq(text, "shardId-000000000000");
    ks_shard_id_to_text(KS_SHARD_INDEX_MAX, text);
    ck_assert_str_eq(text, "shardId-002147483647");
}
END_TEST

static const struct {
    const char *text;
    int64_t index; /* -1: invalid */
} shard_ids[] = {
    {"shardId-000000000007", 7},
    {"shard-1", 1},
    {"1", 1},
    {"anything-000", 0},
    {"shardId-2147483647", 2147483647},
    {"shardId-2147483648", -1},
    {"shardId-99999999999999999999999999", -1},
    {"", -1},
    {"shardId-", -1},
    {"shardId", -1},
    {"a-b-1", -1},
    {"shardId-1x", -1},
};

START_TEST(shard_ids_are_read_as_leniently_as_kinesis_does)
{
    uint32_t index = 0;
    enum ks_status st = ks_shard_id_from_text(ks_view_of_text(shard_ids[_i].text), &index);
    ck_assert_int_eq(st, shard_ids[_i].index < 0 ? KS_INVALID : KS_OK);
    if (shard_ids[_i].index >= 0)
        ck_assert_int_eq(index, shard_ids[_i].index);
}
END_TEST

KS_SUITE("proto/sequence")
{
    KS_TEST(a_number_printed_in_the_aws_documentation_decodes);
    KS_TEST_LOOP(reading_undoes_printing, 4);
    KS_TEST(numbers_of_a_shard_rise_with_the_ordinal_and_exceed_the_parents);
    KS_TEST_LOOP(what_kinesis_never_printed_is_invalid, KS_COUNT_OF(bad_numbers));
    KS_TEST(shard_ids_are_printed_with_twelve_digits);
    KS_TEST_LOOP(shard_ids_are_read_as_leniently_as_kinesis_does, KS_COUNT_OF(shard_ids));
}
