#include "proto/put_records.h"

#include "proto/batch.h"
#include "proto/patterns.h"
#include "proto/wire.h"

/* Field numbers of the messages in api.proto. */
enum { REQUEST_RECORDS = 1, REQUEST_NAME, REQUEST_ARN, REQUEST_ID, REQUEST_EPOCH, REQUEST_PARTS };
enum { ENTRY_DATA = 1, ENTRY_EXPLICIT_HASH, ENTRY_KEY };
enum {
    PART_SHARD = 1,
    PART_PRODUCER_ID,
    PART_PRODUCER_SEQUENCE,
    PART_IS_FIRST,
    PART_COUNT,
    PART_RECORDS,
    PART_IS_REPEAT
};

enum {
    RECORD_NAME = 1,
    RECORD_DATA,
    RECORD_KEY,
    RECORD_EXPLICIT_HASH,
    RECORD_ORDERING,
    RECORD_ARN,
    RECORD_ID
};

#define SEEN(field_number) (1u << (field_number))

static enum ks_status malformed(struct ks_error *err, const char *what)
{
    return ks_fail(err, KS_PROTOCOL, 0, "a put with a malformed %s", what);
}

/* A member given twice is refused: which one counts would depend on the reader. */
static bool see_once(uint32_t *seen, const struct ks_wire_field *field)
{
    if (field->number > 31)
        return true; /* unknown, skipped */
    bool is_new = (*seen & SEEN(field->number)) == 0;
    *seen |= SEEN(field->number);
    return is_new;
}

/* ---- requests ---- */

static bool part_decode(struct ks_view message, struct ks_put_part *part)
{
    *part = (struct ks_put_part){.shard_index = 0};
    struct ks_cursor c = ks_cursor_over(message.data, message.bytes);
    struct ks_wire_field f;
    uint32_t seen = 0;
    while (ks_wire_next(&c, &f)) {
        if (!see_once(&seen, &f))
            return false;
        if (ks_wire_is(&f, PART_SHARD, KS_WIRE_VARINT) && f.value <= KS_SHARD_INDEX_MAX)
            part->shard_index = (uint32_t)f.value;
        else if (ks_wire_is(&f, PART_PRODUCER_ID, KS_WIRE_FIXED64))
            part->producer_id = f.value;
        else if (ks_wire_is(&f, PART_PRODUCER_SEQUENCE, KS_WIRE_FIXED64))
            part->producer_sequence = f.value;
        else if (ks_wire_is(&f, PART_IS_FIRST, KS_WIRE_VARINT) && f.value <= 1)
            part->is_first = f.value == 1;
        else if (ks_wire_is(&f, PART_COUNT, KS_WIRE_VARINT) && f.value <= UINT32_MAX)
            part->record_count = (uint32_t)f.value;
        else if (ks_wire_is(&f, PART_RECORDS, KS_WIRE_BYTES))
            part->records = f.bytes;
        else if (ks_wire_is(&f, PART_IS_REPEAT, KS_WIRE_VARINT) && f.value <= 1)
            part->is_repeat = f.value == 1;
        else if (f.number <= PART_IS_REPEAT)
            return false;
    }
    uint32_t required = SEEN(PART_SHARD) | SEEN(PART_COUNT) | SEEN(PART_RECORDS);
    bool is_producer_whole = part->producer_id != 0 ||
                             (part->producer_sequence == 0 && !part->is_first && !part->is_repeat);
    return ks_cursor_left(&c) == 0 && (seen & required) == required && is_producer_whole;
}

static bool entry_decode(struct ks_view message, struct ks_put_entry *entry)
{
    *entry = (struct ks_put_entry){.has_key = false};
    struct ks_cursor c = ks_cursor_over(message.data, message.bytes);
    struct ks_wire_field f;
    uint32_t seen = 0;
    while (ks_wire_next(&c, &f)) {
        if (!see_once(&seen, &f))
            return false;
        if (ks_wire_is(&f, ENTRY_DATA, KS_WIRE_BYTES)) {
            entry->has_data = true;
            entry->data = f.bytes;
        } else if (ks_wire_is(&f, ENTRY_EXPLICIT_HASH, KS_WIRE_BYTES)) {
            entry->has_explicit_hash = true;
            entry->explicit_hash = f.bytes;
        } else if (ks_wire_is(&f, ENTRY_KEY, KS_WIRE_BYTES)) {
            entry->has_key = true;
            entry->key = f.bytes;
        } else if (f.number <= ENTRY_KEY) {
            return false;
        }
    }
    return ks_cursor_left(&c) == 0;
}

/* One field of the request. */
static enum ks_status request_take(
    struct ks_put_request *request, const struct ks_wire_field *f, struct ks_error *err)
{
    if (ks_wire_is(f, REQUEST_PARTS, KS_WIRE_BYTES)) {
        if (request->part_count == KS_PUT_PARTS_MAX)
            return ks_fail(err, KS_TOO_LARGE, 0, "a put of more than %u parts", KS_PUT_PARTS_MAX);
        return part_decode(f->bytes, &request->parts[request->part_count++])
                   ? KS_OK
                   : malformed(err, "part");
    }
    if (ks_wire_is(f, REQUEST_RECORDS, KS_WIRE_BYTES)) {
        if (request->entry_count == KS_PUT_RECORDS_MAX)
            return ks_fail(
                err, KS_TOO_LARGE, 0, "a put of more than %u records", KS_PUT_RECORDS_MAX);
        return entry_decode(f->bytes, &request->entries[request->entry_count++])
                   ? KS_OK
                   : malformed(err, "record");
    }
    if (ks_wire_is(f, REQUEST_NAME, KS_WIRE_BYTES))
        request->stream.name = f->bytes;
    else if (ks_wire_is(f, REQUEST_ARN, KS_WIRE_BYTES))
        request->stream.arn = f->bytes;
    else if (ks_wire_is(f, REQUEST_ID, KS_WIRE_BYTES))
        request->stream.id = f->bytes;
    else if (ks_wire_is(f, REQUEST_EPOCH, KS_WIRE_VARINT)) {
        request->routing_epoch = f->value;
        request->has_routing_epoch = true;
    } else if (f->number <= REQUEST_PARTS) {
        return malformed(err, "member");
    }
    return KS_OK;
}

enum ks_status ks_put_request_decode(
    struct ks_view message, struct ks_put_request *out_request, struct ks_error *err)
{
    struct ks_put_request *r = out_request;
    r->message = message;
    r->stream = (struct ks_put_stream){.name = {NULL, 0}};
    r->routing_epoch = 0;
    r->has_routing_epoch = false;
    r->part_count = 0;
    r->entry_count = 0;
    struct ks_cursor c = ks_cursor_over(message.data, message.bytes);
    struct ks_wire_field f;
    uint32_t seen = 0;
    while (ks_wire_next(&c, &f)) {
        bool is_repeated = f.number == REQUEST_RECORDS || f.number == REQUEST_PARTS;
        if (!is_repeated && !see_once(&seen, &f))
            return malformed(err, "member");
        enum ks_status st = request_take(r, &f, err);
        if (st)
            return st;
    }
    if (ks_cursor_left(&c) > 0)
        return malformed(err, "message");
    if (r->part_count > 0 && r->entry_count > 0)
        return ks_fail(err, KS_PROTOCOL, 0, "a put with both records and parts");
    if (r->part_count > 0 && (!r->has_routing_epoch || r->stream.id.bytes == 0))
        return ks_fail(err, KS_PROTOCOL, 0, "a routed put without stream id and routing epoch");
    return KS_OK;
}

static bool member_is_valid(struct ks_view member, enum ks_pattern pattern, size_t bytes_max)
{
    return !member.data || (member.bytes <= bytes_max && ks_pattern_matches(pattern, member));
}

static bool stream_is_valid(const struct ks_put_stream *stream)
{
    /* An ARN may hold other characters than ASCII, and its bound counts characters. */
    if (stream->arn.data && (!ks_view_is_utf8(stream->arn) || ks_view_utf8_characters(stream->arn) >
                                                                  KS_STREAM_ARN_CHARACTERS_MAX))
        return false;
    return member_is_valid(stream->arn, KS_PATTERN_STREAM_ARN, SIZE_MAX) &&
           member_is_valid(stream->name, KS_PATTERN_NAME, KS_STREAM_NAME_BYTES_MAX) &&
           member_is_valid(stream->id, KS_PATTERN_STREAM_ID, KS_STREAM_ID_BYTES);
}

static bool entry_is_valid(const struct ks_put_entry *entry)
{
    return entry->has_key && entry->has_data && ks_key_is_valid(entry->key) &&
           entry->data.bytes <= KS_RECORD_BYTES_MAX &&
           (!entry->has_explicit_hash ||
               ks_pattern_matches(KS_PATTERN_HASH_KEY, entry->explicit_hash));
}

bool ks_put_request_is_valid(const struct ks_put_request *request)
{
    if (!stream_is_valid(&request->stream))
        return false;
    if (request->entry_count == 0)
        return request->part_count > 0;
    for (uint32_t i = 0; i < request->entry_count; i++)
        if (!entry_is_valid(&request->entries[i]))
            return false;
    return true;
}

enum ks_status ks_put_record_decode(
    struct ks_view message, struct ks_put_record *out_record, struct ks_error *err)
{
    struct ks_put_record r = {.entry = {.has_key = false}};
    struct ks_cursor c = ks_cursor_over(message.data, message.bytes);
    struct ks_wire_field f;
    uint32_t seen = 0;
    struct ks_view *const members[] = {[RECORD_NAME] = &r.stream.name,
        [RECORD_DATA] = &r.entry.data,
        [RECORD_KEY] = &r.entry.key,
        [RECORD_EXPLICIT_HASH] = &r.entry.explicit_hash,
        [RECORD_ORDERING] = &r.sequence_number_for_ordering,
        [RECORD_ARN] = &r.stream.arn,
        [RECORD_ID] = &r.stream.id};
    while (ks_wire_next(&c, &f)) {
        if (f.number > RECORD_ID)
            continue;
        if (f.type != KS_WIRE_BYTES || !see_once(&seen, &f))
            return malformed(err, "member");
        *members[f.number] = f.bytes;
    }
    if (ks_cursor_left(&c) > 0)
        return malformed(err, "message");
    r.entry.has_data = (seen & SEEN(RECORD_DATA)) != 0;
    r.entry.has_key = (seen & SEEN(RECORD_KEY)) != 0;
    r.entry.has_explicit_hash = (seen & SEEN(RECORD_EXPLICIT_HASH)) != 0;
    *out_record = r;
    return KS_OK;
}

bool ks_put_record_is_valid(const struct ks_put_record *record)
{
    return stream_is_valid(&record->stream) && entry_is_valid(&record->entry) &&
           member_is_valid(record->sequence_number_for_ordering, KS_PATTERN_SEQUENCE_NUMBER, 129);
}

/* Bytes before the records' own, their tag and length included, but for the tag and length of the
 * part itself. Every tag here is one byte. */
static size_t part_fields_bytes(const struct ks_put_part *part)
{
    size_t bytes = 1 + ks_varint_bytes(part->shard_index) + 1 +
                   ks_varint_bytes(part->record_count) + 1 + ks_varint_bytes(part->records.bytes);
    if (part->producer_id != 0)
        bytes += 9 + 9 + (part->is_first ? 2u : 0u) + (part->is_repeat ? 2u : 0u);
    return bytes;
}

static size_t part_head_bytes(const struct ks_put_part *part)
{
    size_t fields_bytes = part_fields_bytes(part);
    return 1 + ks_varint_bytes(fields_bytes + part->records.bytes) + fields_bytes;
}

size_t ks_put_part_encode_head(
    const struct ks_put_part *part, uint8_t to[KS_PUT_PART_HEAD_BYTES_MAX])
{
    size_t fields_bytes = part_fields_bytes(part);
    uint8_t *at = ks_wire_put_length(to, REQUEST_PARTS, fields_bytes + part->records.bytes);
    uint8_t *fields = at;
    at = ks_wire_put_varint(at, PART_SHARD, part->shard_index);
    if (part->producer_id != 0) {
        at = ks_wire_put_fixed64(at, PART_PRODUCER_ID, part->producer_id);
        at = ks_wire_put_fixed64(at, PART_PRODUCER_SEQUENCE, part->producer_sequence);
        if (part->is_first)
            at = ks_wire_put_varint(at, PART_IS_FIRST, 1);
        if (part->is_repeat)
            at = ks_wire_put_varint(at, PART_IS_REPEAT, 1);
    }
    at = ks_wire_put_varint(at, PART_COUNT, part->record_count);
    at = ks_wire_put_length(at, PART_RECORDS, part->records.bytes);
    KS_ASSERT((size_t)(at - fields) == fields_bytes);
    return (size_t)(at - to);
}

size_t ks_put_routed_encode_head(const struct ks_put_routed *put, uint8_t to[KS_PUT_HEAD_BYTES_MAX])
{
    KS_ASSERT(put->stream_id.bytes > 0 && put->stream_id.bytes <= KS_STREAM_ID_BYTES);
    uint8_t fields[64];
    uint8_t *at = ks_wire_put_length(fields, REQUEST_ID, put->stream_id.bytes);
    memcpy(at, put->stream_id.data, put->stream_id.bytes);
    at = ks_wire_put_varint(at + put->stream_id.bytes, REQUEST_EPOCH, put->routing_epoch);
    size_t fields_bytes = (size_t)(at - fields);
    size_t message_bytes = fields_bytes;
    for (uint32_t i = 0; i < put->part_count; i++) {
        message_bytes += part_head_bytes(&put->parts[i]) + put->parts[i].records.bytes;
        if (message_bytes > KS_FRAME_BYTES_MAX - KS_FRAME_PREFIX_BYTES_MAX)
            return 0;
    }
    struct ks_request_head head = {.request_id = put->request_id, .op = KS_OP_PUT_RECORDS};
    size_t prefix_bytes = ks_request_encode_prefix(&head, message_bytes, to);
    memcpy(to + prefix_bytes, fields, fields_bytes);
    return prefix_bytes + fields_bytes;
}

static size_t member_bytes(uint32_t number, struct ks_view member, bool is_present)
{
    return is_present ? ks_wire_varint_bytes(number, member.bytes) + member.bytes : 0;
}

static uint8_t *put_member(uint8_t *to, uint32_t number, struct ks_view member, bool is_present)
{
    if (!is_present)
        return to;
    to = ks_wire_put_length(to, number, member.bytes);
    if (member.bytes > 0)
        memcpy(to, member.data, member.bytes);
    return to + member.bytes;
}

static size_t entry_bytes(const struct ks_put_entry *entry)
{
    return member_bytes(ENTRY_DATA, entry->data, entry->has_data) +
           member_bytes(ENTRY_EXPLICIT_HASH, entry->explicit_hash, entry->has_explicit_hash) +
           member_bytes(ENTRY_KEY, entry->key, entry->has_key);
}

enum ks_status ks_put_plain_append(struct ks_buf *to, const struct ks_put_plain *put)
{
    const struct ks_put_stream *stream = &put->stream;
    size_t message_bytes = member_bytes(REQUEST_NAME, stream->name, stream->name.data != NULL) +
                           member_bytes(REQUEST_ARN, stream->arn, stream->arn.data != NULL) +
                           member_bytes(REQUEST_ID, stream->id, stream->id.data != NULL);
    for (uint32_t i = 0; i < put->entry_count; i++) {
        size_t bytes = entry_bytes(&put->entries[i]);
        message_bytes += ks_wire_varint_bytes(REQUEST_RECORDS, bytes) + bytes;
        if (message_bytes > KS_FRAME_BYTES_MAX - KS_FRAME_PREFIX_BYTES_MAX)
            return KS_TOO_LARGE;
    }
    if (!ks_buf_reserve(to, KS_FRAME_PREFIX_BYTES_MAX + message_bytes))
        return KS_NO_MEMORY;
    struct ks_request_head head = {.request_id = put->request_id, .op = KS_OP_PUT_RECORDS};
    uint8_t *start = to->data + to->bytes;
    uint8_t *at = start + ks_request_encode_prefix(&head, message_bytes, start);
    uint8_t *message = at;
    for (uint32_t i = 0; i < put->entry_count; i++) {
        const struct ks_put_entry *entry = &put->entries[i];
        at = ks_wire_put_length(at, REQUEST_RECORDS, entry_bytes(entry));
        at = put_member(at, ENTRY_DATA, entry->data, entry->has_data);
        at = put_member(at, ENTRY_EXPLICIT_HASH, entry->explicit_hash, entry->has_explicit_hash);
        at = put_member(at, ENTRY_KEY, entry->key, entry->has_key);
    }
    at = put_member(at, REQUEST_NAME, stream->name, stream->name.data != NULL);
    at = put_member(at, REQUEST_ARN, stream->arn, stream->arn.data != NULL);
    at = put_member(at, REQUEST_ID, stream->id, stream->id.data != NULL);
    KS_ASSERT((size_t)(at - message) == message_bytes);
    to->bytes += (size_t)(at - start);
    return KS_OK;
}
