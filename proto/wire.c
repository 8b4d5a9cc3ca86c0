#include "proto/wire.h"

static bool wire_next(struct ks_cursor *c, struct ks_wire_field *field)
{
    uint64_t tag = 0;
    if (!ks_cursor_varint(c, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return false;
    *field = (struct ks_wire_field){.number = (uint32_t)(tag >> 3)};
    uint64_t bytes = 0;
    uint32_t value32 = 0;
    switch (tag & 7) {
    case KS_WIRE_VARINT:
        field->type = KS_WIRE_VARINT;
        return ks_cursor_varint(c, &field->value);
    case KS_WIRE_FIXED64:
        field->type = KS_WIRE_FIXED64;
        return ks_cursor_u64le(c, &field->value);
    case KS_WIRE_BYTES:
        field->type = KS_WIRE_BYTES;
        return ks_cursor_varint(c, &bytes) && bytes <= ks_cursor_left(c) &&
               ks_cursor_view(c, (size_t)bytes, &field->bytes);
    case KS_WIRE_FIXED32:
        field->type = KS_WIRE_FIXED32;
        if (!ks_cursor_u32le(c, &value32))
            return false;
        field->value = value32;
        return true;
    default:
        return false;
    }
}

bool ks_wire_next(struct ks_cursor *c, struct ks_wire_field *out_field)
{
    if (ks_cursor_left(c) == 0)
        return false;
    size_t start = c->position;
    if (wire_next(c, out_field))
        return true;
    /* Stand before the malformed field, so that something is always left. */
    c->position = start;
    return false;
}

static uint8_t *put_tag(uint8_t *to, uint32_t number, enum ks_wire_type type)
{
    return to + ks_varint_store(to, (uint64_t)number << 3 | (uint64_t)type);
}

uint8_t *ks_wire_put_varint(uint8_t *to, uint32_t number, uint64_t value)
{
    to = put_tag(to, number, KS_WIRE_VARINT);
    return to + ks_varint_store(to, value);
}

uint8_t *ks_wire_put_fixed64(uint8_t *to, uint32_t number, uint64_t value)
{
    to = put_tag(to, number, KS_WIRE_FIXED64);
    ks_store_u64le(to, value);
    return to + 8;
}

uint8_t *ks_wire_put_length(uint8_t *to, uint32_t number, size_t bytes)
{
    to = put_tag(to, number, KS_WIRE_BYTES);
    return to + ks_varint_store(to, bytes);
}

size_t ks_wire_varint_bytes(uint32_t number, uint64_t value)
{
    return ks_varint_bytes((uint64_t)number << 3) + ks_varint_bytes(value);
}

size_t ks_wire_fixed64_bytes(uint32_t number)
{
    return ks_varint_bytes((uint64_t)number << 3) + 8;
}
