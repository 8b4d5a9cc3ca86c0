/* The hand-written reader of a put and the generic one (protobuf-c and the rules table) come to the
 * same verdict. */
#include "base/alloc.h"
#include "proto/api.pb-c.h"
#include "proto/arena.h"
#include "proto/put_records.h"
#include "proto/rules.h"
#include "tests/fuzz/fuzz.h"

static enum ks_status verdict(const ProtobufCMessage *message)
{
    struct ks_buf text;
    ks_buf_init(&text, KS_RULES_TEXT_BYTES_MAX);
    enum ks_status st = ks_rules_check(message, &text);
    KS_ASSERT(st == KS_OK || st == KS_VALIDATION);
    ks_buf_fini(&text);
    return st;
}

static void compare_puts(struct ks_arena *arena, struct ks_view message)
{
    static struct ks_put_request request;
    if (ks_put_request_decode(message, &request, NULL))
        return;
    bool is_valid = ks_put_request_is_valid(&request);
    ProtobufCMessage *unpacked =
        ks_arena_unpack(arena, &kstream__put_records_request__descriptor, message);
    if (!unpacked || request.part_count > 0)
        return;
    const Kstream__PutRecordsRequest *put = (const Kstream__PutRecordsRequest *)(void *)unpacked;
    KS_ASSERT(put->n_records == request.entry_count);
    KS_ASSERT(is_valid == (verdict(unpacked) == KS_OK));
}

static void compare_single_puts(struct ks_arena *arena, struct ks_view message)
{
    struct ks_put_record record;
    if (ks_put_record_decode(message, &record, NULL))
        return;
    ProtobufCMessage *unpacked =
        ks_arena_unpack(arena, &kstream__put_record_request__descriptor, message);
    if (unpacked)
        KS_ASSERT(ks_put_record_is_valid(&record) == (verdict(unpacked) == KS_OK));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct ks_put_response response;
    if (bytes == 0)
        return 0;
    struct ks_view message = ks_view_of(data + 1, bytes - 1);
    struct ks_arena arena;
    ks_arena_init(&arena, 4u << 20);
    if (data[0] == 'r')
        KS_IGNORE(ks_put_response_decode(message, &response, NULL), "that it stays in its bytes");
    else if (data[0] == 's')
        compare_single_puts(&arena, message);
    else
        compare_puts(&arena, message);
    ks_arena_fini(&arena);
    return 0;
}
