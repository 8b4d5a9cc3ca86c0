#include "client/position.h"

#include "proto/wire.h"

#include <stdio.h>
#include <stdlib.h>

/* In the order of enum kstream_position_type: the prefix of the text, the name on the wire. */
static const struct {
    const char *text;
    const char *wire;
} position_types[] = {
    [KSTREAM_TRIM_HORIZON] = {"trim-horizon", "TRIM_HORIZON"},
    [KSTREAM_LATEST] = {"latest", "LATEST"},
    [KSTREAM_AT_SEQUENCE_NUMBER] = {"at:", "AT_SEQUENCE_NUMBER"},
    [KSTREAM_AFTER_SEQUENCE_NUMBER] = {"after:", "AFTER_SEQUENCE_NUMBER"},
    [KSTREAM_AT_TIMESTAMP] = {"time:", "AT_TIMESTAMP"},
};

struct kstream_position kstream_from_trim_horizon(void)
{
    return (struct kstream_position){.type = KSTREAM_TRIM_HORIZON};
}

struct kstream_position kstream_from_latest(void)
{
    return (struct kstream_position){.type = KSTREAM_LATEST};
}

struct kstream_position kstream_from_time_ms(uint64_t timestamp_unix_ms)
{
    return (struct kstream_position){
        .type = KSTREAM_AT_TIMESTAMP, .timestamp_unix_ms = timestamp_unix_ms};
}

static struct kstream_position position_of(
    enum kstream_position_type type, const char *sequence_number)
{
    struct kstream_position position = {.type = type};
    snprintf(position.sequence_number, sizeof position.sequence_number, "%s", sequence_number);
    return position;
}

struct kstream_position kstream_from_sequence_number(const char *sequence_number)
{
    return position_of(KSTREAM_AT_SEQUENCE_NUMBER, sequence_number);
}

struct kstream_position kstream_after_sequence_number(const char *sequence_number)
{
    return position_of(KSTREAM_AFTER_SEQUENCE_NUMBER, sequence_number);
}

static bool position_has_sequence(enum kstream_position_type type)
{
    return type == KSTREAM_AT_SEQUENCE_NUMBER || type == KSTREAM_AFTER_SEQUENCE_NUMBER;
}

void kstream_position_to_text(
    const struct kstream_position *position, char text[KSTREAM_POSITION_BYTES])
{
    const char *start = (size_t)position->type < KS_COUNT_OF(position_types)
                            ? position_types[position->type].text
                            : "";
    if (position->type == KSTREAM_AT_TIMESTAMP)
        snprintf(text, KSTREAM_POSITION_BYTES, "%s%llu", start,
            (unsigned long long)position->timestamp_unix_ms);
    else
        snprintf(text, KSTREAM_POSITION_BYTES, "%s%.*s", start, KSTREAM_SEQUENCE_BYTES - 1,
            position_has_sequence(position->type) ? position->sequence_number : "");
}

/* A decimal of 1 to 18 digits, nothing else. */
static bool read_decimal(const char *text, uint64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 18 || text[digits] != '\0')
        return false;
    *out = strtoull(text, NULL, 10);
    return true;
}

static bool position_read_rest(const char *rest, struct kstream_position *position)
{
    if (position->type == KSTREAM_AT_TIMESTAMP)
        return read_decimal(rest, &position->timestamp_unix_ms);
    if (!position_has_sequence(position->type))
        return rest[0] == '\0';
    size_t digits = strspn(rest, "0123456789");
    if (digits == 0 || rest[digits] != '\0' || digits >= sizeof position->sequence_number)
        return false;
    memcpy(position->sequence_number, rest, digits + 1);
    return true;
}

enum kstream_status kstream_position_from_text(
    const char *text, struct kstream_position *out_position, struct kstream_error *err)
{
    for (size_t i = 0; text && i < KS_COUNT_OF(position_types); i++) {
        size_t prefix_bytes = strlen(position_types[i].text);
        struct kstream_position position = {.type = (enum kstream_position_type)i};
        if (strncmp(text, position_types[i].text, prefix_bytes) == 0 &&
            position_read_rest(text + prefix_bytes, &position)) {
            *out_position = position;
            return KSTREAM_OK;
        }
    }
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status st = ks_fail(&inner, KS_INVALID, 0,
        "'%.80s' is no position: trim-horizon, latest, at:SEQUENCE, after:SEQUENCE, time:UNIX-MS",
        text ? text : "");
    return client_result(st, &inner, 0, err);
}

enum ks_status client_position_request(const struct kstream_position *position,
    Kstream__GetShardIteratorRequest *request, struct ks_error *err)
{
    if ((size_t)position->type >= KS_COUNT_OF(position_types))
        return ks_fail(err, KS_INVALID, 0, "a position of unknown type %d", (int)position->type);
    request->shard_iterator_type = client_text(position_types[position->type].wire);
    if (position_has_sequence(position->type))
        request->starting_sequence_number = client_text(position->sequence_number);
    request->has_timestamp_unix_ms = position->type == KSTREAM_AT_TIMESTAMP;
    request->timestamp_unix_ms = position->timestamp_unix_ms;
    return KS_OK;
}

enum ks_status client_iterator_read(
    struct ks_view message, char iterator[KSTREAM_ITERATOR_BYTES], struct ks_error *err)
{
    struct ks_cursor c = ks_cursor_over(message.data, message.bytes);
    struct ks_wire_field field;
    while (ks_wire_next(&c, &field))
        if (ks_wire_is(&field, 1, KS_WIRE_BYTES) && field.bytes.bytes > 0 &&
            field.bytes.bytes < KSTREAM_ITERATOR_BYTES) {
            memcpy(iterator, field.bytes.data, field.bytes.bytes);
            iterator[field.bytes.bytes] = '\0';
            return KS_OK;
        }
    return ks_fail(err, KS_PROTOCOL, 0, "the broker answered without an iterator");
}
