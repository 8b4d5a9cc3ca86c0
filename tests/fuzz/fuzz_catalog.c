/* Rows of the catalog: the first byte chooses the table, the rest is the value. */
#include "base/crc32c.h"
#include "storage/catalog.h"
#include "tests/fuzz/fuzz.h"

#include <protobuf-c/protobuf-c.h>

static void check(enum ks_catalog_table table, struct ks_view key, struct ks_view stored)
{
    struct ProtobufCMessage *message = NULL;
    struct ks_error error = KS_ERROR_INIT;
    if (ks_catalog_unpack(table, key, stored, &message, &error) == KS_OK)
        protobuf_c_message_free_unpacked(message, NULL);
    else
        KS_ASSERT(error.text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static uint8_t sealed[(1u << 16) + 4];
    if (bytes < 1 || bytes > sizeof sealed - 4)
        return 0;
    enum ks_catalog_table table = (enum ks_catalog_table)(data[0] % KS_TABLE_COUNT);
    struct ks_catalog_key number;
    struct ks_view key = table == KS_TABLE_META     ? ks_view_of_text("journal")
                         : table == KS_TABLE_SHARDS ? ks_catalog_key_shard(&number, 1, 2)
                                                    : ks_catalog_key_u64(&number, 7);
    check(table, key, ks_view_of(data + 1, bytes - 1));
    /* The same as a message under a right checksum. */
    memcpy(sealed, data + 1, bytes - 1);
    uint32_t crc = ks_crc32c_extend(ks_crc32c(key.data, key.bytes), sealed, bytes - 1);
    ks_store_u32le(sealed + bytes - 1, crc);
    check(table, key, ks_view_of(sealed, bytes + 3));
    return 0;
}
