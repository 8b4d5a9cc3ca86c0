/* A sequence number or shard id that is accepted prints as a number that means the same. */
#include "base/u128.h"
#include "proto/sequence.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct ks_view text = ks_view_of(data, bytes);
    struct ks_sequence_number number;
    if (ks_sequence_from_text(text, &number) == KS_OK) {
        char again[KS_SEQUENCE_TEXT_BYTES];
        ks_sequence_to_text(&number, again);
        KS_ASSERT(ks_view_equal(text, ks_view_of_text(again)));
    }
    uint32_t shard_index = 0;
    if (ks_shard_id_from_text(text, &shard_index) == KS_OK) {
        char id[KS_SHARD_ID_TEXT_BYTES];
        uint32_t back = 0;
        ks_shard_id_to_text(shard_index, id);
        KS_ASSERT(ks_shard_id_from_text(ks_view_of_text(id), &back) == KS_OK);
        KS_ASSERT(back == shard_index);
    }
    ks_u128 hash = 0;
    if (ks_u128_from_text((const char *)data, bytes, &hash)) {
        char again[KS_U128_TEXT_BYTES];
        KS_ASSERT(ks_u128_to_text(hash, again) == bytes);
        KS_ASSERT(memcmp(again, data, bytes) == 0);
    }
    return 0;
}
