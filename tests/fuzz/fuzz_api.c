/* Any request and response message: unpacked into an arena, validated, packed again. The first byte
 * names it. */
#include "proto/arena.h"
#include "proto/operations.h"
#include "proto/rules.h"
#include "tests/fuzz/fuzz.h"

static void unpack_and_check(const ProtobufCMessageDescriptor *descriptor, struct ks_view packed)
{
    struct ks_arena arena;
    ks_arena_init(&arena, 4u << 20);
    ProtobufCMessage *message = ks_arena_unpack(&arena, descriptor, packed);
    if (message) {
        struct ks_buf text;
        ks_buf_init(&text, KS_RULES_TEXT_BYTES_MAX);
        enum ks_status st = ks_rules_check(message, &text);
        KS_ASSERT(st == KS_OK || st == KS_VALIDATION);
        KS_ASSERT((st == KS_OK) == (text.bytes == 0));
        KS_ASSERT(ks_view_is_utf8(ks_view_of(text.data, text.bytes)));
        ks_buf_fini(&text);
        size_t bytes = protobuf_c_message_get_packed_size(message);
        uint8_t *again = ks_arena_alloc(&arena, bytes);
        if (again) {
            KS_ASSERT(protobuf_c_message_pack(message, again) == bytes);
            KS_ASSERT(ks_arena_unpack(&arena, descriptor, ks_view_of(again, bytes)) ||
                      arena.bytes_held + 2 * bytes > arena.bytes_max / 2);
        }
    }
    ks_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    const struct ks_operation *operation = &ks_operations[data[0] / 2 % ks_operations_count];
    unpack_and_check(data[0] % 2 == 0 ? operation->request : operation->response,
        ks_view_of(data + 1, bytes - 1));
    return 0;
}
