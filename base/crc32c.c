#include "base/crc32c.h"

#include "base/bytes.h"

#include <isa-l/crc.h>

/* crc32_iscsi takes an int length. */
#define CRC_BYTES_MAX ((size_t)1 << 30)

#if defined(__x86_64__)
/*
 * One instruction for eight bytes. isa-l's loop folds many at once and has to set that up: up to
 * some 240 bytes this is twice as fast, for four bytes (the checksum over checksums) seven times.
 */
#define SHORT_BYTES_MAX 240u

__attribute__((target("sse4.2"))) static uint32_t short_extend(
    uint32_t state, const uint8_t *from, size_t bytes)
{
    uint64_t wide = state;
    for (; bytes >= 8; from += 8, bytes -= 8)
        wide = __builtin_ia32_crc32di(wide, ks_load_u64le(from));
    uint32_t narrow = (uint32_t)wide;
    if (bytes & 4) {
        narrow = __builtin_ia32_crc32si(narrow, ks_load_u32le(from));
        from += 4;
    }
    for (bytes &= 3; bytes > 0; from++, bytes--)
        narrow = __builtin_ia32_crc32qi(narrow, *from);
    return narrow;
}

static bool is_short(size_t bytes)
{
    return bytes <= SHORT_BYTES_MAX && __builtin_cpu_supports("sse4.2");
}
#else
static bool is_short(size_t bytes)
{
    (void)bytes;
    return false;
}

static uint32_t short_extend(uint32_t state, const uint8_t *from, size_t bytes)
{
    (void)from;
    (void)bytes;
    return state;
}
#endif

uint32_t ks_crc32c(const void *data, size_t bytes)
{
    return ks_crc32c_extend(0, data, bytes);
}

uint32_t ks_crc32c_extend(uint32_t crc, const void *data, size_t bytes)
{
    /* isa-l's function does neither inversion: undo the caller's final one, do ours at the end. */
    uint32_t state = ~crc;
    const uint8_t *from = data;
    if (is_short(bytes))
        return ~short_extend(state, from, bytes);
    while (bytes > 0) {
        size_t part = KS_MIN(bytes, CRC_BYTES_MAX);
        state = crc32_iscsi((unsigned char *)from, (int)part, state);
        from += part;
        bytes -= part;
    }
    return ~state;
}
