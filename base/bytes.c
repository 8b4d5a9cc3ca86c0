#include "base/bytes.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>

bool ks_view_equal(struct ks_view a, struct ks_view b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

/*
 * The bytes of the character that starts at text, 0 if it is not well formed: Unicode 15, table
 * 3-7. The bounds of the second byte are what refuses overlong forms (E0, F0), surrogates (ED) and
 * numbers above U+10FFFF (F4).
 */
static size_t utf8_character_bytes(const uint8_t *text, size_t bytes)
{
    uint8_t first = text[0];
    if (first < 0x80)
        return 1;
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || bytes < length)
        return 0;
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    return length;
}

/* Whether eight bytes are ASCII. */
static bool is_ascii_word(const uint8_t *text)
{
    uint64_t word;
    memcpy(&word, text, sizeof word);
    return (word & 0x8080808080808080u) == 0;
}

bool ks_view_is_utf8(struct ks_view text)
{
    size_t position = 0;
    while (position < text.bytes) {
        if (text.bytes - position >= 8 && is_ascii_word(text.data + position)) {
            position += 8;
            continue;
        }
        /* The last bytes as part of a word: keys have a dozen. */
        if (text.bytes - position < 8 && text.bytes >= 8 &&
            is_ascii_word(text.data + text.bytes - 8))
            return true;
        size_t length = utf8_character_bytes(text.data + position, text.bytes - position);
        if (length == 0)
            return false;
        position += length;
    }
    return true;
}

size_t ks_view_utf8_characters(struct ks_view valid_utf8)
{
    size_t characters = 0;
    for (size_t i = 0; i < valid_utf8.bytes; i++)
        characters += (valid_utf8.data[i] & 0xc0) != 0x80;
    return characters;
}

bool ks_bytes_are_zero(const void *data, size_t bytes)
{
    const uint8_t *from = data;
    /* The first byte is zero and every byte equals the one before it: memcmp does the walk at full
     * speed. */
    return bytes == 0 || (from[0] == 0 && memcmp(from, from + 1, bytes - 1) == 0);
}

bool ks_cursor_u16le(struct ks_cursor *c, uint16_t *out)
{
    struct ks_view field;
    if (!ks_cursor_view(c, 2, &field))
        return false;
    *out = (uint16_t)(field.data[0] | field.data[1] << 8);
    return true;
}

bool ks_cursor_u32be(struct ks_cursor *c, uint32_t *out)
{
    struct ks_view field;
    if (!ks_cursor_view(c, 4, &field))
        return false;
    *out = (uint32_t)field.data[0] << 24 | (uint32_t)field.data[1] << 16 |
           (uint32_t)field.data[2] << 8 | (uint32_t)field.data[3];
    return true;
}

bool ks_cursor_varint_any(struct ks_cursor *c, uint64_t *out)
{
    uint64_t value = 0;
    size_t left = KS_MIN(ks_cursor_left(c), (size_t)KS_VARINT_BYTES_MAX);
    for (size_t i = 0; i < left; i++) {
        uint8_t byte = c->data[c->position + i];
        if (i == KS_VARINT_BYTES_MAX - 1 && byte > 1)
            return false; /* more than 64 bits */
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte & 0x80)
            continue;
        if (byte == 0 && i > 0)
            return false; /* padded: a second spelling of the same number */
        c->position += i + 1;
        *out = value;
        return true;
    }
    return false;
}

void ks_buf_init(struct ks_buf *buf, size_t bytes_max)
{
    *buf = (struct ks_buf){.bytes_max = bytes_max};
}

void ks_buf_fini(struct ks_buf *buf)
{
    ks_free(buf->data);
    ks_buf_init(buf, buf->bytes_max);
}

bool ks_buf_reserve(struct ks_buf *buf, size_t more)
{
    KS_ASSERT(buf->bytes <= buf->bytes_max);
    if (more > buf->bytes_max - buf->bytes)
        return false;
    size_t needed = buf->bytes + more;
    if (needed <= buf->capacity)
        return true;
    /* Doubling, so that many small appends cost linear time; never beyond the ceiling. */
    size_t capacity = buf->capacity > buf->bytes_max / 2 ? buf->bytes_max : buf->capacity * 2;
    capacity = KS_MIN(KS_MAX(capacity, KS_MAX(needed, (size_t)64)), buf->bytes_max);
    uint8_t *data = ks_realloc(buf->data, capacity);
    if (!data)
        return false;
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

bool ks_buf_append(struct ks_buf *buf, const void *data, size_t bytes)
{
    if (bytes == 0)
        return true;
    if (!ks_buf_reserve(buf, bytes))
        return false;
    memcpy(buf->data + buf->bytes, data, bytes);
    buf->bytes += bytes;
    return true;
}

bool ks_buf_append_text(struct ks_buf *buf, const char *text)
{
    return ks_buf_append(buf, text, strlen(text));
}

bool ks_buf_printf(struct ks_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        return false;
    if (length == 0)
        return true;
    /* vsnprintf wants room for its zero, which never counts as content nor against the ceiling. */
    KS_AUTO_FREE char *text = ks_malloc((size_t)length + 1);
    if (!text)
        return false;
    va_start(args, format);
    int written = vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return written == length && ks_buf_append(buf, text, (size_t)length);
}

bool ks_buf_append_varint(struct ks_buf *buf, uint64_t value)
{
    uint8_t encoded[KS_VARINT_BYTES_MAX];
    return ks_buf_append(buf, encoded, ks_varint_store(encoded, value));
}
