#include "daemon/history_format.h"

#include "base/crc32c.h"

#include <string.h>

static const uint8_t magic[4] = {'K', 'S', 'H', '1'};

bool ks_history_block_begin(struct ks_buf *buf)
{
    static const uint8_t header[KS_HISTORY_HEADER_BYTES];
    return ks_buf_append(buf, header, sizeof(header));
}

bool ks_history_block_add(struct ks_buf *buf, const struct ks_minute_row *row)
{
    size_t before = buf->bytes;
    uint64_t bits = 0;
    for (unsigned i = 0; i < KS_FIGURE_COUNT; i++)
        bits |= row->values[i].count > 0 ? 1ull << i : 0;
    uint64_t shard =
        row->shard_index == KS_MINUTES_WHOLE_STREAM ? 0 : (uint64_t)row->shard_index + 1;
    bool is_fine = ks_buf_append_varint(buf, row->stream_number) &&
                   ks_buf_append_varint(buf, shard) && ks_buf_append_varint(buf, bits);
    for (unsigned i = 0; is_fine && i < KS_FIGURE_COUNT; i++) {
        const struct ks_figure_value *value = &row->values[i];
        if (value->count > 0)
            is_fine = ks_buf_append_varint(buf, value->count) &&
                      ks_buf_append_varint(buf, value->sum) &&
                      ks_buf_append_varint(buf, value->least) &&
                      ks_buf_append_varint(buf, value->greatest);
    }
    if (!is_fine)
        buf->bytes = before;
    return is_fine;
}

void ks_history_block_end(struct ks_buf *buf, uint64_t minute, uint64_t run_id)
{
    uint8_t *header = buf->data;
    KS_ASSERT(buf->bytes >= KS_HISTORY_HEADER_BYTES);
    memcpy(header, magic, sizeof(magic));
    ks_store_u32le(header + 8, (uint32_t)(buf->bytes - KS_HISTORY_HEADER_BYTES));
    ks_store_u32le(header + 12, 0);
    ks_store_u64le(header + 16, minute);
    ks_store_u64le(header + 24, run_id);
    ks_store_u32le(header + 4, ks_crc32c(header + 8, buf->bytes - 8));
}

bool ks_history_block_read(struct ks_view data, struct ks_history_block *out)
{
    if (data.bytes < KS_HISTORY_HEADER_BYTES || memcmp(data.data, magic, sizeof(magic)) != 0)
        return false;
    uint32_t bytes = ks_load_u32le(data.data + 8);
    if (bytes > data.bytes - KS_HISTORY_HEADER_BYTES || ks_load_u32le(data.data + 12) != 0 ||
        ks_load_u32le(data.data + 4) !=
            ks_crc32c(data.data + 8, KS_HISTORY_HEADER_BYTES - 8 + (size_t)bytes))
        return false;
    *out = (struct ks_history_block){.minute = ks_load_u64le(data.data + 16),
        .run_id = ks_load_u64le(data.data + 24),
        .payload = ks_view_of(data.data + KS_HISTORY_HEADER_BYTES, bytes),
        .bytes = KS_HISTORY_HEADER_BYTES + (size_t)bytes};
    return true;
}

static bool value_read(struct ks_cursor *payload, struct ks_figure_value *out)
{
    return ks_cursor_varint(payload, &out->count) && ks_cursor_varint(payload, &out->sum) &&
           ks_cursor_varint(payload, &out->least) && ks_cursor_varint(payload, &out->greatest);
}

bool ks_history_row_read(struct ks_cursor *payload, struct ks_minute_row *row)
{
    uint64_t shard = 0;
    uint64_t bits = 0;
    memset(row->values, 0, sizeof(row->values));
    if (!ks_cursor_varint(payload, &row->stream_number) || !ks_cursor_varint(payload, &shard) ||
        !ks_cursor_varint(payload, &bits) || shard > UINT32_MAX)
        return false;
    row->shard_index = shard == 0 ? KS_MINUTES_WHOLE_STREAM : (uint32_t)(shard - 1);
    for (unsigned i = 0; i < 64; i++) {
        struct ks_figure_value unknown; /* of a newer broker */
        if (!(bits >> i & 1))
            continue;
        if (!value_read(payload, i < KS_FIGURE_COUNT ? &row->values[i] : &unknown))
            return false;
    }
    return true;
}
