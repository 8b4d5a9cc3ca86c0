/* CRC32C (Castagnoli), the checksum of every byte at rest. Hardware through isa-l; about 40 ns per
 * KiB. */
#ifndef KS_BASE_CRC32C_H
#define KS_BASE_CRC32C_H

#include "base/defs.h"

/* The usual form (initial and final inversion): ks_crc32c("123456789", 9) == 0xe3069283. */
uint32_t ks_crc32c(const void *data, size_t bytes);
/* Continues: ks_crc32c_extend(ks_crc32c(a), b) == ks_crc32c(a followed by b); the CRC of nothing is
 * 0. */
uint32_t ks_crc32c_extend(uint32_t crc, const void *data, size_t bytes);

#endif
