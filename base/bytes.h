/*
 * Borrowed bytes, a bounded reader and a bounded writer. Bytes from outside are never cast to a
 * struct: a cursor reads each field and refuses past the end. Nothing here allocates but ks_buf.
 */
#ifndef KS_BASE_BYTES_H
#define KS_BASE_BYTES_H

#include "base/defs.h"

#include <string.h>

/* Borrowed: valid as long as its owner says. data may be NULL when bytes is 0. */
struct ks_view {
    const uint8_t *data;
    size_t bytes;
};

static inline struct ks_view ks_view_of(const void *data, size_t bytes)
{
    return (struct ks_view){.data = (const uint8_t *)data, .bytes = bytes};
}

static inline struct ks_view ks_view_of_text(const char *text)
{
    return (struct ks_view){.data = (const uint8_t *)text, .bytes = strlen(text)};
}

bool ks_view_equal(struct ks_view a, struct ks_view b);
bool ks_view_is_utf8(
    struct ks_view text); /* strict: no surrogates, no overlong forms, at most U+10FFFF */
size_t ks_view_utf8_characters(struct ks_view valid_utf8);
bool ks_bytes_are_zero(const void *data, size_t bytes);

/* Reads forward; a read past the end returns false and moves nothing. */
struct ks_cursor {
    const uint8_t *data;
    size_t bytes;
    size_t position;
};

static inline struct ks_cursor ks_cursor_over(const void *data, size_t bytes)
{
    return (struct ks_cursor){.data = (const uint8_t *)data, .bytes = bytes, .position = 0};
}

static inline size_t ks_cursor_left(const struct ks_cursor *c)
{
    return c->bytes - c->position;
}

/* Little-endian stores and loads at an address the caller has checked. */
static inline void ks_store_u32le(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static inline void ks_store_u64le(uint8_t *to, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static inline uint32_t ks_load_u32le(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

static inline uint64_t ks_load_u64le(const uint8_t *from)
{
    return (uint64_t)ks_load_u32le(from) | (uint64_t)ks_load_u32le(from + 4) << 32;
}

static inline void ks_store_u32be(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (24 - 8 * i));
}

static inline void ks_store_u64be(uint8_t *to, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)(value >> (56 - 8 * i));
}

static inline uint64_t ks_load_u64be(const uint8_t *from)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | from[i];
    return value;
}

/* ---- reading fields: inline, for a record is a dozen of them ---- */

static inline bool ks_cursor_view(struct ks_cursor *c, size_t bytes, struct ks_view *out)
{
    if (bytes > ks_cursor_left(c))
        return false;
    /* No arithmetic on a NULL pointer: an empty view may have one. */
    *out = ks_view_of(bytes > 0 ? c->data + c->position : c->data, bytes);
    c->position += bytes;
    return true;
}

static inline bool ks_cursor_skip(struct ks_cursor *c, size_t bytes)
{
    struct ks_view skipped;
    return ks_cursor_view(c, bytes, &skipped);
}

static inline bool ks_cursor_u8(struct ks_cursor *c, uint8_t *out)
{
    if (c->position == c->bytes)
        return false;
    *out = c->data[c->position++];
    return true;
}

static inline bool ks_cursor_u32le(struct ks_cursor *c, uint32_t *out)
{
    if (ks_cursor_left(c) < 4)
        return false;
    *out = ks_load_u32le(c->data + c->position);
    c->position += 4;
    return true;
}

static inline bool ks_cursor_u64le(struct ks_cursor *c, uint64_t *out)
{
    if (ks_cursor_left(c) < 8)
        return false;
    *out = ks_load_u64le(c->data + c->position);
    c->position += 8;
    return true;
}

bool ks_cursor_u16le(struct ks_cursor *c, uint16_t *out);
bool ks_cursor_u32be(struct ks_cursor *c, uint32_t *out);

#define KS_VARINT_BYTES_MAX 10
bool ks_cursor_varint_any(struct ks_cursor *c, uint64_t *out); /* of any length */

/* Protobuf base-128 varint, minimal form only (a padded one is refused), at most 64 bits. */
static inline bool ks_cursor_varint(struct ks_cursor *c, uint64_t *out)
{
    /* Lengths of keys and of most records: one byte or two. */
    if (ks_cursor_left(c) >= 2) {
        const uint8_t *at = c->data + c->position;
        if (at[0] < 0x80) {
            c->position += 1;
            *out = at[0];
            return true;
        }
        if (at[1] - 1u < 0x7f) { /* not 0, which would be padding, and the last one */
            c->position += 2;
            *out = (uint64_t)(at[0] & 0x7f) | (uint64_t)at[1] << 7;
            return true;
        }
    }
    return ks_cursor_varint_any(c, out);
}

/* 1..10 */
static inline size_t ks_varint_bytes(uint64_t value)
{
    unsigned bits = 64u - (unsigned)__builtin_clzll(value | 1);
    return (bits * 9 + 64) / 64; /* bits / 7, rounded up, for 1 to 64 of them */
}

/* Writes the minimal form; room for ks_varint_bytes(value) is the caller's duty. Returns the bytes
 * written. */
static inline size_t ks_varint_store(uint8_t *to, uint64_t value)
{
    size_t bytes = 0;
    while (value >= 0x80) {
        to[bytes++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    to[bytes++] = (uint8_t)value;
    return bytes;
}

/* A growing buffer that owns its bytes, with a ceiling. After a refused append (memory or ceiling)
 * it is unchanged. */
struct ks_buf {
    uint8_t *data;
    size_t bytes;
    size_t capacity;
    size_t bytes_max;
};

void ks_buf_init(struct ks_buf *buf, size_t bytes_max);
void ks_buf_fini(struct ks_buf *buf);
bool ks_buf_reserve(struct ks_buf *buf, size_t more) KS_MUST_USE;
bool ks_buf_append(struct ks_buf *buf, const void *data, size_t bytes) KS_MUST_USE;
bool ks_buf_append_text(struct ks_buf *buf, const char *text) KS_MUST_USE;
bool ks_buf_printf(struct ks_buf *buf, const char *format, ...) KS_PRINTF(2, 3) KS_MUST_USE;
bool ks_buf_append_varint(struct ks_buf *buf, uint64_t value) KS_MUST_USE;

#endif
