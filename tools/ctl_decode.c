#include "tools/ctl_decode.h"

#include <zlib.h>

#define CHUNK_BYTES (64u << 10)
#define GZIP_WINDOW (16 + MAX_WBITS)

enum ks_status ctl_decode_from_text(
    const char *text, enum ctl_decode *out_decode, struct ks_error *err)
{
    static const char *const names[] = {
        [CTL_DECODE_AUTO] = "auto",
        [CTL_DECODE_RAW] = "raw",
        [CTL_DECODE_BASE64] = "base64",
        [CTL_DECODE_GZIP] = "gzip",
        [CTL_DECODE_JSON] = "json",
    };
    for (size_t i = 0; i < KS_COUNT_OF(names); i++) {
        if (strcmp(names[i], text) == 0) {
            *out_decode = (enum ctl_decode)i;
            return KS_OK;
        }
    }
    return ks_fail(
        err, KS_USAGE, 0, "'--decode %.40s': auto, raw, base64, gzip or json is needed", text);
}

static bool is_gzip(struct ks_view data)
{
    return data.bytes > 2 && data.data[0] == 0x1f && data.data[1] == 0x8b;
}

/* Unpacks one member; the stream stands behind it. */
static bool inflate_member(z_stream *stream, struct ks_buf *out)
{
    int result = Z_OK;
    while (result == Z_OK) {
        if (!ks_buf_reserve(out, CHUNK_BYTES))
            return false;
        stream->next_out = out->data + out->bytes;
        stream->avail_out = CHUNK_BYTES;
        result = inflate(stream, Z_NO_FLUSH);
        out->bytes += CHUNK_BYTES - stream->avail_out;
    }
    return result == Z_STREAM_END;
}

bool ctl_decode_gunzip(struct ks_view data, struct ks_buf *out)
{
    z_stream stream = {.avail_in = (uInt)data.bytes};
    /* zlib does not write through it, but its pointer is not const. */
    memcpy(&stream.next_in, &data.data, sizeof data.data);
    if (!is_gzip(data) || data.bytes > UINT32_MAX || inflateInit2(&stream, GZIP_WINDOW) != Z_OK)
        return false;
    bool is_fine = inflate_member(&stream, out);
    while (is_fine && stream.avail_in > 0)
        is_fine = inflateReset(&stream) == Z_OK && inflate_member(&stream, out);
    inflateEnd(&stream);
    return is_fine;
}

enum ks_status ctl_decode_bytes(enum ctl_decode decode, struct ks_view data,
    struct ks_buf *unpacked, struct ks_view *out_shown, struct ks_error *err)
{
    *out_shown = data;
    if (decode == CTL_DECODE_RAW || decode == CTL_DECODE_BASE64)
        return KS_OK;
    if (ctl_decode_gunzip(data, unpacked)) {
        *out_shown = ks_view_of(unpacked->data, unpacked->bytes);
        return KS_OK;
    }
    unpacked->bytes = 0;
    return decode == CTL_DECODE_GZIP ? ks_fail(err, KS_CORRUPT, 0, "no gzip") : KS_OK;
}
