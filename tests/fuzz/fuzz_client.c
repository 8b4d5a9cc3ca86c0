/*
 * What libkstream takes from outside: an answer of GetRecords ('b'), a saved position of a reader
 * ('s'), an endpoint ('e'). Whatever an answer says, records come in rising ordinals and from its
 * own bytes.
 */
#include "base/alloc.h"
#include "client/reader_priv.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define MESSAGE_BYTES_MAX 65536u

static bool lies_within(const void *data, size_t bytes, struct ks_view frame)
{
    const uint8_t *from = data;
    return bytes == 0 || (from >= frame.data && from + bytes <= frame.data + frame.bytes);
}

static void check_batch(const struct kstream_batch *batch, struct ks_view frame)
{
    uint64_t next = 0;
    uint64_t lost = 0;
    char text[KSTREAM_SEQUENCE_BYTES];
    for (size_t i = 0; i < kstream_batch_count(batch); i++) {
        const struct kstream_record *record = kstream_batch_record(batch, i);
        KS_ASSERT(record->ordinal >= next);
        next = record->ordinal + KS_MAX(record->lost_records, (uint64_t)1);
        lost += record->lost_records;
        KS_ASSERT(lies_within(record->key, record->key_bytes, frame));
        KS_ASSERT(lies_within(record->data, record->data_bytes, frame));
        kstream_batch_sequence_number(batch, i, text);
    }
    KS_ASSERT(lost == kstream_batch_lost_records(batch));
    size_t count;
    const struct kstream_child_shard *children = kstream_batch_child_shards(batch, &count);
    for (size_t i = 0; i < count; i++) {
        KS_ASSERT(children[i].shard_id && children[i].starting_hash_key);
        KS_ASSERT(children[i].ending_hash_key);
        for (size_t k = 0; k < children[i].parent_count; k++)
            KS_ASSERT(children[i].parent_shard_ids[k]);
    }
}

static void take_answer(struct ks_view message)
{
    struct kstream_batch *batch = NULL;
    uint8_t *frame = ks_malloc(KS_MAX(message.bytes, (size_t)1));
    KS_ASSERT(frame);
    memcpy(frame, message.data, message.bytes);
    struct ks_view bytes = ks_view_of(frame, message.bytes);
    struct client_answer answer = {.frame = frame, .response = {.message = bytes}};
    if (client_batch_take(&answer, &batch, NULL) == KS_OK)
        check_batch(batch, bytes);
    kstream_batch_free(batch);
}

static void parse_saved(const char *text)
{
    struct kstream_reader reader = {.stream = (char *)(uintptr_t) "clicks", .is_whole = true};
    if (reader_saved_parse(&reader, text, NULL) == KS_OK)
        KS_ASSERT(reader.saved_count > 0);
    ks_free(reader.saved);
}

static void parse_endpoint(const char *text)
{
    struct client_endpoint endpoint;
    if (client_endpoint_parse(text, &endpoint, NULL) == KS_OK)
        KS_ASSERT((endpoint.path[0] != '\0') != (endpoint.host[0] != '\0'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static char text[MESSAGE_BYTES_MAX];
    if (bytes == 0 || bytes > sizeof text)
        return 0;
    if (data[0] == 'b') {
        take_answer(ks_view_of(data + 1, bytes - 1));
        return 0;
    }
    memcpy(text, data + 1, bytes - 1);
    text[bytes - 1] = '\0';
    if (data[0] == 's')
        parse_saved(text);
    else
        parse_endpoint(text);
    return 0;
}
