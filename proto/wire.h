/*
 * Reading and writing protobuf fields by hand, for the few messages whose bytes must not be copied.
 * Unknown fields are skipped, so that a newer peer is understood; groups are refused.
 */
#ifndef KS_PROTO_WIRE_H
#define KS_PROTO_WIRE_H

#include "base/bytes.h"

enum ks_wire_type {
    KS_WIRE_VARINT = 0,
    KS_WIRE_FIXED64 = 1,
    KS_WIRE_BYTES = 2,
    KS_WIRE_FIXED32 = 5
};

struct ks_wire_field {
    uint32_t number;
    enum ks_wire_type type;
    uint64_t value;       /* of the three number types */
    struct ks_view bytes; /* of KS_WIRE_BYTES */
};

#define KS_WIRE_TAG_BYTES_MAX 5

/* False at the end of the message and at a malformed field; ks_cursor_left(c) == 0 tells which. */
bool ks_wire_next(struct ks_cursor *c, struct ks_wire_field *out_field);
static inline bool ks_wire_is(
    const struct ks_wire_field *field, uint32_t number, enum ks_wire_type type)
{
    return field->number == number && field->type == type;
}

/* Each writes tag and value (the last one tag and length, the bytes follow) and returns where the
 * next byte goes. */
uint8_t *ks_wire_put_varint(uint8_t *to, uint32_t number, uint64_t value);
uint8_t *ks_wire_put_fixed64(uint8_t *to, uint32_t number, uint64_t value);
uint8_t *ks_wire_put_length(uint8_t *to, uint32_t number, size_t bytes);

/* Bytes that those three write; the length form without the bytes themselves. */
size_t ks_wire_varint_bytes(uint32_t number, uint64_t value);
size_t ks_wire_fixed64_bytes(uint32_t number);

#endif
