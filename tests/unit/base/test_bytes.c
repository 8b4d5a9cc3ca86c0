#include "base/alloc.h"
#include "base/bytes.h"
#include "tests/unit/ks_check.h"

#include <string.h>

START_TEST(views_compare_by_content)
{
    ck_assert(ks_view_equal(ks_view_of("a\0b", 3), ks_view_of("a\0b", 3)));
    ck_assert(!ks_view_equal(ks_view_of("a\0b", 3), ks_view_of("a\0c", 3)));
    ck_assert(!ks_view_equal(ks_view_of("ab", 2), ks_view_of("ab", 1)));
    ck_assert(ks_view_equal(ks_view_of(NULL, 0), ks_view_of_text("")));
}
END_TEST

/* The first and the last character of each length, and both sides of the surrogates. */
START_TEST(well_formed_utf8_is_accepted)
{
    static const char *const good[] = {"", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80",
        "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < KS_COUNT_OF(good); i++) {
        ck_assert_msg(ks_view_is_utf8(ks_view_of_text(good[i])), "good[%zu]", i);
        ck_assert_uint_eq(ks_view_utf8_characters(ks_view_of_text(good[i])), i == 0 ? 0 : 1);
    }
    ck_assert(ks_view_is_utf8(ks_view_of("a\0b", 3)));
    ck_assert_uint_eq(ks_view_utf8_characters(ks_view_of_text("a\xc3\xa9\xe2\x82\xac")), 3);
}
END_TEST

START_TEST(malformed_utf8_is_refused)
{
    static const char *const bad[] = {
        "\x80", "\xbf", "\xc0\x80", "\xc1\xbf",             /* a tail alone, two-byte overlong */
        "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf",                 /* three- and four-byte overlong */
        "\xed\xa0\x80", "\xed\xbf\xbf",                     /* surrogates */
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",     /* above U+10FFFF */
        "\xc3", "\xe2\x82", "\xf0\x9f\x98",                 /* cut */
        "\xc3(", "\xe2(\xa1", "\xe2\x82(", "\xf0\x9f\x98(", /* a tail byte that is none */
    };
    for (size_t i = 0; i < KS_COUNT_OF(bad); i++)
        ck_assert_msg(!ks_view_is_utf8(ks_view_of_text(bad[i])), "bad[%zu]", i);
    /* The bound counts, not what lies behind it. */
    ck_assert(!ks_view_is_utf8(ks_view_of("\xe2\x82\xac", 2)));
    /* At any place among plain letters, which are looked at eight at a time. */
    for (size_t i = 0; i < KS_COUNT_OF(bad); i++) {
        for (size_t at = 0; at <= 40; at++) {
            char text[64] = "";
            memset(text, 'a', 40);
            memcpy(text + at, bad[i], strlen(bad[i]));
            size_t bytes = KS_MAX((size_t)40, at + strlen(bad[i]));
            ck_assert_msg(!ks_view_is_utf8(ks_view_of(text, bytes)), "bad[%zu] at %zu", i, at);
        }
    }
}
END_TEST

START_TEST(zeros_are_recognised_wherever_a_one_hides)
{
    uint8_t bytes[130] = {0};
    ck_assert(ks_bytes_are_zero(bytes, sizeof bytes));
    ck_assert(ks_bytes_are_zero(bytes, 0));
    ck_assert(ks_bytes_are_zero(NULL, 0));
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = 1;
        ck_assert(!ks_bytes_are_zero(bytes, sizeof bytes));
        ck_assert(ks_bytes_are_zero(bytes, i));
        bytes[i] = 0;
    }
}
END_TEST

START_TEST(a_cursor_reads_fields_in_order)
{
    static const uint8_t data[] = {
        7, 1, 2, 1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 0xac, 0x02, 'x', 'y', 'z'};
    struct ks_cursor c = ks_cursor_over(data, sizeof data);
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    struct ks_view view;
    ck_assert(ks_cursor_u8(&c, &u8) && u8 == 7);
    ck_assert(ks_cursor_u16le(&c, &u16) && u16 == 0x0201);
    ck_assert(ks_cursor_u32le(&c, &u32) && u32 == 0x04030201);
    ck_assert(ks_cursor_u64le(&c, &u64) && u64 == 0x0807060504030201);
    ck_assert(ks_cursor_u32be(&c, &u32) && u32 == 0x01020304);
    ck_assert(ks_cursor_varint(&c, &u64) && u64 == 300);
    ck_assert(ks_cursor_skip(&c, 1));
    ck_assert(ks_cursor_view(&c, 2, &view) && ks_view_equal(view, ks_view_of_text("yz")));
    ck_assert_uint_eq(ks_cursor_left(&c), 0);
}
END_TEST

START_TEST(a_cursor_refuses_past_the_end_and_stays)
{
    static const uint8_t data[8] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80};
    uint8_t u8 = 1;
    uint16_t u16 = 2;
    uint32_t u32 = 3;
    uint64_t u64 = 4;
    struct ks_view view = {0};
    for (size_t left = 0; left < 8; left++) {
        struct ks_cursor c = {.data = data, .bytes = sizeof data, .position = 8 - left};
        ck_assert(left >= 1 || !ks_cursor_u8(&c, &u8));
        ck_assert(left >= 2 || !ks_cursor_u16le(&c, &u16));
        ck_assert(left >= 4 || !ks_cursor_u32le(&c, &u32));
        ck_assert(left >= 4 || !ks_cursor_u32be(&c, &u32));
        ck_assert(!ks_cursor_u64le(&c, &u64));
        ck_assert(!ks_cursor_varint(&c, &u64));
        ck_assert(!ks_cursor_view(&c, left + 1, &view));
        ck_assert(!ks_cursor_view(&c, SIZE_MAX, &view));
        ck_assert(!ks_cursor_skip(&c, left + 1));
        ck_assert_uint_eq(c.position, 8 - left);
    }
    ck_assert(u8 == 1 && u16 == 2 && u32 == 3 && u64 == 4 && view.bytes == 0);
}
END_TEST

START_TEST(a_cursor_over_nothing_gives_an_empty_view)
{
    struct ks_cursor c = ks_cursor_over(NULL, 0);
    struct ks_view view = ks_view_of_text("x");
    ck_assert(ks_cursor_view(&c, 0, &view));
    ck_assert_uint_eq(view.bytes, 0);
}
END_TEST

START_TEST(varints_come_back_at_every_bit_length)
{
    for (unsigned bits = 0; bits <= 64; bits++) {
        for (uint64_t step = 0; step < 3; step++) {
            /* 2^bits - 1, 2^bits, 2^bits + 1 */
            uint64_t value = (bits == 64 ? 0 : (uint64_t)1 << bits) + step - 1;
            uint8_t encoded[KS_VARINT_BYTES_MAX];
            size_t bytes = ks_varint_store(encoded, value);
            ck_assert_uint_eq(bytes, ks_varint_bytes(value));
            ck_assert_uint_le(bytes, KS_VARINT_BYTES_MAX);
            struct ks_cursor c = ks_cursor_over(encoded, bytes);
            uint64_t decoded = 0;
            ck_assert(ks_cursor_varint(&c, &decoded));
            ck_assert_uint_eq(decoded, value);
            ck_assert_uint_eq(ks_cursor_left(&c), 0);
        }
    }
}
END_TEST

START_TEST(varints_beyond_64_bits_or_padded_are_refused)
{
    static const struct {
        const char *bytes;
        size_t count;
    } bad[] = {
        {"\x80\x00", 2},                                  /* 0 padded */
        {"\xac\x82\x00", 3},                              /* 300 padded */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10}, /* 2^65 */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81", 10}, /* an eleventh byte announced */
        {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 10},
    };
    for (size_t i = 0; i < KS_COUNT_OF(bad); i++) {
        struct ks_cursor c = ks_cursor_over(bad[i].bytes, bad[i].count);
        uint64_t value;
        ck_assert_msg(!ks_cursor_varint(&c, &value), "bad[%zu]", i);
        ck_assert_uint_eq(c.position, 0);
    }
    struct ks_cursor c = ks_cursor_over("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10);
    uint64_t value = 0;
    ck_assert(ks_cursor_varint(&c, &value));
    ck_assert_uint_eq(value, UINT64_MAX);
}
END_TEST

START_TEST(stores_and_loads_agree_on_the_byte_order)
{
    uint8_t bytes[8];
    ks_store_u32le(bytes, 0x01020304);
    ck_assert_mem_eq(bytes, "\4\3\2\1", 4);
    ck_assert_uint_eq(ks_load_u32le(bytes), 0x01020304);
    ks_store_u64le(bytes, 0x0102030405060708);
    ck_assert_mem_eq(bytes, "\10\7\6\5\4\3\2\1", 8);
    ck_assert_uint_eq(ks_load_u64le(bytes), 0x0102030405060708);
    ks_store_u32be(bytes, 0x01020304);
    ck_assert_mem_eq(bytes, "\1\2\3\4", 4);
    ks_store_u64be(bytes, 0x0102030405060708);
    ck_assert_mem_eq(bytes, "\1\2\3\4\5\6\7\10", 8);
    ck_assert_uint_eq(ks_load_u64be(bytes), 0x0102030405060708);
}
END_TEST

START_TEST(a_buffer_grows_to_its_ceiling_and_not_beyond)
{
    struct ks_buf buf;
    ks_buf_init(&buf, 1000);
    for (int i = 0; i < 100; i++)
        ck_assert(ks_buf_append(&buf, "0123456789", 10));
    ck_assert_uint_eq(buf.bytes, 1000);
    ck_assert_uint_le(buf.capacity, 1000);
    ck_assert(!ks_buf_append(&buf, "x", 1));
    ck_assert(!ks_buf_printf(&buf, "%d", 1));
    ck_assert(!ks_buf_append_varint(&buf, 1));
    ck_assert(!ks_buf_reserve(&buf, SIZE_MAX));
    ck_assert(ks_buf_append(&buf, NULL, 0));
    ck_assert_uint_eq(buf.bytes, 1000);
    ck_assert_mem_eq(buf.data + 990, "0123456789", 10);
    ks_buf_fini(&buf);
    ck_assert_ptr_null(buf.data);
}
END_TEST

START_TEST(a_buffer_without_memory_is_unchanged)
{
    struct ks_buf buf;
    ks_buf_init(&buf, 1 << 20);
    ck_assert(ks_buf_append_text(&buf, "kept"));
    size_t capacity = buf.capacity;
    uint8_t filler[4096] = {0};
    ks_alloc_fail_nth(1, true);
    ck_assert(!ks_buf_append(&buf, filler, sizeof filler));
    ck_assert(!ks_buf_printf(&buf, "%s", "text"));
    ks_alloc_fail_nth(0, false);
    ck_assert_uint_eq(buf.bytes, 4);
    ck_assert_uint_eq(buf.capacity, capacity);
    ck_assert_mem_eq(buf.data, "kept", 4);
    ks_buf_fini(&buf);
}
END_TEST

START_TEST(a_buffer_formats_to_the_last_byte)
{
    struct ks_buf buf;
    ks_buf_init(&buf, 8);
    ck_assert(ks_buf_printf(&buf, "%s", "12345678"));
    ck_assert_uint_eq(buf.bytes, 8);
    ck_assert_mem_eq(buf.data, "12345678", 8);
    ck_assert(ks_buf_printf(&buf, "%s", ""));
    ks_buf_fini(&buf);
    ks_buf_init(&buf, 16);
    ck_assert(ks_buf_append_varint(&buf, 300));
    ck_assert_uint_eq(buf.bytes, 2);
    ck_assert_mem_eq(buf.data, "\xac\x02", 2);
    ks_buf_fini(&buf);
}
END_TEST

KS_SUITE("base/bytes")
{
    KS_TEST(views_compare_by_content);
    KS_TEST(well_formed_utf8_is_accepted);
    KS_TEST(malformed_utf8_is_refused);
    KS_TEST(zeros_are_recognised_wherever_a_one_hides);
    KS_TEST(a_cursor_reads_fields_in_order);
    KS_TEST(a_cursor_refuses_past_the_end_and_stays);
    KS_TEST(a_cursor_over_nothing_gives_an_empty_view);
    KS_TEST(varints_come_back_at_every_bit_length);
    KS_TEST(varints_beyond_64_bits_or_padded_are_refused);
    KS_TEST(stores_and_loads_agree_on_the_byte_order);
    KS_TEST(a_buffer_grows_to_its_ceiling_and_not_beyond);
    KS_TEST(a_buffer_without_memory_is_unchanged);
    KS_TEST(a_buffer_formats_to_the_last_byte);
}
