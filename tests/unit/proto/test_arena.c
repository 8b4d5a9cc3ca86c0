#include "base/alloc.h"
#include "proto/api.pb-c.h"
#include "proto/arena.h"
#include "tests/unit/ks_check.h"

START_TEST(blocks_are_aligned_and_apart)
{
    struct ks_arena arena;
    ks_arena_init(&arena, 1u << 20);
    uint8_t *last = NULL;
    for (size_t bytes = 0; bytes < 300; bytes++) {
        uint8_t *block = ks_arena_alloc(&arena, bytes);
        ck_assert_ptr_nonnull(block);
        ck_assert_uint_eq((uintptr_t)block % _Alignof(max_align_t), 0);
        memset(block, (int)bytes, bytes);
        if (last && bytes > 1)
            ck_assert_uint_eq(last[bytes - 2], (uint8_t)(bytes - 1));
        last = block;
    }
    ks_arena_fini(&arena);
}
END_TEST

START_TEST(the_ceiling_holds_and_a_reset_gives_everything_back)
{
    struct ks_arena arena;
    ks_arena_init(&arena, 100000);
    for (int round = 0; round < 5; round++) {
        size_t total = 0;
        while (ks_arena_alloc(&arena, 1000))
            total += 1000;
        ck_assert_uint_le(arena.bytes_held, 100000);
        ck_assert_uint_ge(total, 90000);
        ck_assert_ptr_null(ks_arena_alloc(&arena, SIZE_MAX));
        ks_arena_reset(&arena);
        ck_assert_uint_le(arena.bytes_held, 4096);
    }
    ck_assert_ptr_nonnull(ks_arena_alloc(&arena, 95000));
    ks_arena_fini(&arena);
}
END_TEST

START_TEST(a_full_memory_is_an_answer)
{
    struct ks_arena arena;
    ks_arena_init(&arena, 100000);
    ks_alloc_fail_nth(1, true);
    ck_assert_ptr_null(ks_arena_alloc(&arena, 1));
    ck_assert_ptr_null(ks_arena_strdup(&arena, "text"));
    ks_alloc_fail_nth(0, false);
    ck_assert_str_eq(ks_arena_strdup(&arena, "text"), "text");
    ks_arena_fini(&arena);
}
END_TEST

START_TEST(a_message_that_would_blow_up_past_the_ceiling_is_refused)
{
    /* 20 000 empty parts cost two bytes each on the wire and much more in memory. */
    static uint8_t packed[40000];
    for (size_t i = 0; i < sizeof packed; i += 2)
        packed[i] = 0x0a;
    struct ks_arena arena;
    ks_arena_init(&arena, 512u << 10);
    struct ks_view view = ks_view_of(packed, sizeof packed);
    ck_assert_ptr_null(ks_arena_unpack(&arena, &kstream__put_records_request__descriptor, view));
    ks_arena_reset(&arena);
    view.bytes = 2000;
    ck_assert_ptr_nonnull(ks_arena_unpack(&arena, &kstream__put_records_request__descriptor, view));
    ks_arena_fini(&arena);
}
END_TEST

START_TEST(absent_and_empty_members_stay_apart)
{
    struct ks_arena arena;
    ks_arena_init(&arena, 65536);
    Kstream__PutRecordRequest *request = (Kstream__PutRecordRequest *)(void *)ks_arena_unpack(
        &arena, &kstream__put_record_request__descriptor, ks_view_of("\x12\x00\x1a\x00", 4));
    ck_assert_ptr_nonnull(request);
    ck_assert(request->has_data && request->data.len == 0);
    ck_assert_str_eq(request->partition_key, "");
    ck_assert_ptr_null(request->stream_name);
    ks_arena_fini(&arena);
}
END_TEST

START_TEST(texts_that_a_c_string_cannot_hold_are_refused)
{
    static const struct {
        const char *bytes;
        size_t length;
        bool is_good;
    } rows[] = {{"\x0a\x03"
                 "abc",
                    5, true},
        {"\x0a\x03"
         "a\0c",
            5, false},
        {"\x0a\x02\xc3\xa4", 4, true}, {"\x0a\x02\xc3\xc3", 4, false},
        {"\x1a\x03\x0a\x01\x00", 5, false},
        {"\x1a\x03\x0a\x01"
         "P",
            5, true}};
    struct ks_arena arena;
    ks_arena_init(&arena, 65536);
    for (size_t i = 0; i < KS_COUNT_OF(rows); i++)
        ck_assert_int_eq(ks_arena_unpack(&arena, &kstream__create_stream_request__descriptor,
                             ks_view_of(rows[i].bytes, rows[i].length)) != NULL,
            rows[i].is_good);
    ks_arena_fini(&arena);
}
END_TEST

KS_SUITE("proto/arena")
{
    KS_TEST(texts_that_a_c_string_cannot_hold_are_refused);
    KS_TEST(blocks_are_aligned_and_apart);
    KS_TEST(the_ceiling_holds_and_a_reset_gives_everything_back);
    KS_TEST(a_full_memory_is_an_answer);
    KS_TEST(a_message_that_would_blow_up_past_the_ceiling_is_refused);
    KS_TEST(absent_and_empty_members_stay_apart);
}
