#include "base/crc32c.h"

#include <isa-l/crc.h>

/* crc32_iscsi takes an int length. */
#define CRC_BYTES_MAX ((size_t)1 << 30)

uint32_t ks_crc32c(const void *data, size_t bytes)
{
    return ks_crc32c_extend(0, data, bytes);
}

uint32_t ks_crc32c_extend(uint32_t crc, const void *data, size_t bytes)
{
    /* isa-l's function does neither inversion: undo the caller's final one, do ours at the end. */
    uint32_t state = ~crc;
    const uint8_t *from = data;
    while (bytes > 0) {
        size_t part = KS_MIN(bytes, CRC_BYTES_MAX);
        state = crc32_iscsi((unsigned char *)from, (int)part, state);
        from += part;
        bytes -= part;
    }
    return ~state;
}
