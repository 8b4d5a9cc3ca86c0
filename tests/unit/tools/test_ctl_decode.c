#include "base/alloc.h"
#include "tests/unit/ks_check.h"
#include "tools/ctl_decode.h"

#include <zlib.h>

/* Appends data as one member of gzip. */
static void pack(struct ks_buf *out, const void *data, size_t bytes)
{
    z_stream stream = {.avail_in = (uInt)bytes};
    memcpy(&stream.next_in, &data, sizeof data);
    ck_assert_int_eq(
        deflateInit2(&stream, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&stream, bytes) + 64;
    ck_assert(ks_buf_reserve(out, room));
    stream.next_out = out->data + out->bytes;
    stream.avail_out = (uInt)room;
    ck_assert_int_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out->bytes += room - stream.avail_out;
    deflateEnd(&stream);
}

static bool gunzip_is(struct ks_view packed, const char *text)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf out;
    ks_buf_init(&out, 1u << 20);
    return ctl_decode_gunzip(packed, &out) &&
           ks_view_equal(ks_view_of(out.data, out.bytes), ks_view_of_text(text));
}

START_TEST(gzip_is_unpacked_also_of_several_members)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf packed;
    ks_buf_init(&packed, 1u << 20);
    pack(&packed, "hello ", 6);
    ck_assert(gunzip_is(ks_view_of(packed.data, packed.bytes), "hello "));
    pack(&packed, "world", 5);
    ck_assert(gunzip_is(ks_view_of(packed.data, packed.bytes), "hello world"));
    packed.bytes = 0;
    pack(&packed, "", 0);
    ck_assert(gunzip_is(ks_view_of(packed.data, packed.bytes), ""));
}
END_TEST

START_TEST(damaged_gzip_is_none)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf packed;
    ks_buf_init(&packed, 1u << 20);
    pack(&packed, "some text that is packed", 24);
    for (size_t cut = 0; cut < packed.bytes; cut++)
        ck_assert(!gunzip_is(ks_view_of(packed.data, cut), "some text that is packed"));
    for (size_t i = packed.bytes - 8; i < packed.bytes; i++) {
        packed.data[i] ^= 1; /* checksum and length */
        ck_assert(!gunzip_is(ks_view_of(packed.data, packed.bytes), "some text that is packed"));
        packed.data[i] ^= 1;
    }
    ck_assert(ks_buf_append(&packed, "x", 1));
    ck_assert(!gunzip_is(ks_view_of(packed.data, packed.bytes), "some text that is packed"));
    ck_assert(!gunzip_is(ks_view_of_text("\x1f\x8b"), ""));
    ck_assert(!gunzip_is(ks_view_of_text("plain"), ""));
}
END_TEST

START_TEST(what_would_get_too_large_is_not_unpacked)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf packed;
    KS_CLEANUP(ks_buf_fini) struct ks_buf out;
    ks_buf_init(&packed, 8u << 20);
    ks_buf_init(&out, 1u << 20);
    size_t bytes = 4u << 20;
    uint8_t *zeros = ks_zalloc(bytes);
    pack(&packed, zeros, bytes);
    ck_assert_uint_lt(packed.bytes, 100000);
    ck_assert(!ctl_decode_gunzip(ks_view_of(packed.data, packed.bytes), &out));
    ck_assert_uint_le(out.bytes, 1u << 20);
    ks_free(zeros);
}
END_TEST

START_TEST(each_way_shows_what_it_says)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf packed;
    ks_buf_init(&packed, 1u << 20);
    pack(&packed, "text", 4);
    struct ks_view gzip = ks_view_of(packed.data, packed.bytes);
    struct ks_view plain = ks_view_of_text("plain");
    for (int i = CTL_DECODE_AUTO; i <= CTL_DECODE_JSON; i++) {
        enum ctl_decode decode = (enum ctl_decode)i;
        bool unpacks = decode != CTL_DECODE_RAW && decode != CTL_DECODE_BASE64;
        KS_CLEANUP(ks_buf_fini) struct ks_buf out;
        ks_buf_init(&out, 1u << 20);
        struct ks_view shown;
        ck_assert_int_eq(ctl_decode_bytes(decode, gzip, &out, &shown, NULL), KS_OK);
        ck_assert(ks_view_equal(shown, unpacks ? ks_view_of_text("text") : gzip));
        struct ks_error err = KS_ERROR_INIT;
        ck_assert_int_eq(ctl_decode_bytes(decode, plain, &out, &shown, &err),
            decode == CTL_DECODE_GZIP ? KS_CORRUPT : KS_OK);
        ck_assert(ks_view_equal(shown, plain));
    }
    enum ctl_decode decode = CTL_DECODE_RAW;
    ck_assert_int_eq(ctl_decode_from_text("json", &decode, NULL), KS_OK);
    ck_assert_int_eq(decode, CTL_DECODE_JSON);
    ck_assert_int_eq(ctl_decode_from_text("zip", &decode, NULL), KS_USAGE);
}
END_TEST

KS_SUITE("tools/ctl_decode")
{
    KS_TEST(gzip_is_unpacked_also_of_several_members);
    KS_TEST(damaged_gzip_is_none);
    KS_TEST(what_would_get_too_large_is_not_unpacked);
    KS_TEST(each_way_shows_what_it_says);
}
