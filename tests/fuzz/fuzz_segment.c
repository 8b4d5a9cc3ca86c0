/* Header and footer of a segment: what is accepted is encoded again to the same bytes. */
#include "base/crc32c.h"
#include "storage/segment_format.h"
#include "tests/fuzz/fuzz.h"

static void check_footer(struct ks_view input)
{
    struct ks_footer footer;
    uint64_t bytes = 0;
    if (input.bytes >= 4)
        KS_IGNORE(ks_footer_length(ks_view_of(input.data + input.bytes - 4, 4), &bytes), "bounds");
    if (ks_footer_decode(input, &footer))
        return;
    struct ks_buf again;
    ks_buf_init(&again, KS_FOOTER_BYTES_MAX + 16);
    KS_ASSERT(bytes == input.bytes);
    KS_ASSERT(ks_footer_encode(&footer, &again));
    KS_ASSERT(ks_view_equal(ks_view_of(again.data, again.bytes), input));
    KS_ASSERT(input.bytes <= ks_footer_bytes_bound(footer.batch_count, footer.mark_count));
    ks_buf_fini(&again);
    ks_footer_fini(&footer);
}

/* The input as the beginning of a header, with the right magic and checksum. */
static void check_header(const uint8_t *data, size_t bytes)
{
    static uint8_t header[KS_SEGMENT_HEADER_BYTES];
    struct ks_segment_header decoded;
    memset(header, 0, sizeof header);
    memcpy(header, data, KS_MIN(bytes, sizeof header));
    KS_IGNORE(
        ks_segment_header_decode(ks_view_of(header, sizeof header), &decoded, NULL), "bounds");
    memcpy(header, "kstrmSEG", 8);
    ks_store_u32le(header + 8, ks_crc32c(header + 12, sizeof header - 12));
    KS_IGNORE(
        ks_segment_header_decode(ks_view_of(header, sizeof header), &decoded, NULL), "bounds");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static uint8_t resealed[1u << 20];
    check_header(data, bytes);
    check_footer(ks_view_of(data, bytes));
    if (bytes < 8 || bytes > sizeof resealed)
        return 0;
    /* With the right checksum where the length says it belongs, so that inputs reach what follows.
     */
    memcpy(resealed, data, bytes);
    struct ks_cursor c = ks_cursor_over(resealed, bytes);
    uint64_t length = 0;
    if (ks_cursor_skip(&c, 1) && ks_cursor_varint(&c, &length) && ks_cursor_left(&c) > 5) {
        uint8_t *crc = resealed + c.position + 1;
        ks_store_u32le(crc, ks_crc32c(crc + 4, (size_t)(resealed + bytes - crc) - 4));
        check_footer(ks_view_of(resealed, bytes));
    }
    return 0;
}
