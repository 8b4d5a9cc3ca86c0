/* A walk and the validation of a put agree about the same bytes. */
#include "proto/batch.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct ks_record_limits limits = {
        .record_bytes_max = KS_RECORD_BYTES_MAX, .count_max = KS_PUT_ROUTED_RECORDS_MAX};
    struct ks_view records = ks_view_of(data, bytes);
    struct ks_record_walk walk;
    struct ks_record_view view;
    ks_record_walk_init(&walk, records);
    uint32_t count = 0;
    uint32_t body_crc = 0;
    size_t walked_bytes = 0;
    bool are_crcs_right = true;
    enum ks_status st;
    while ((st = ks_record_walk_next(&walk, &view)) == KS_OK) {
        KS_ASSERT(view.stored.data == data + walked_bytes);
        walked_bytes += view.stored.bytes;
        KS_ASSERT(walked_bytes <= bytes);
        KS_ASSERT(ks_key_is_valid(view.key));
        are_crcs_right = are_crcs_right && ks_record_crc_is_right(&view);
        body_crc = ks_body_crc_extend(body_crc, view.crc);
        count++;
    }
    KS_ASSERT(st == KS_CORRUPT || walked_bytes == bytes);
    uint32_t validated_crc = 0;
    enum ks_status validated = ks_records_validate(records, count, &limits, &validated_crc, NULL);
    bool is_good = st == KS_END && are_crcs_right && count > 0;
    KS_ASSERT((validated == KS_OK) == is_good);
    KS_ASSERT(validated != KS_OK || validated_crc == body_crc);
    return 0;
}
