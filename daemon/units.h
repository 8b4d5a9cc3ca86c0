/* Sizes and durations as people write them: "64KiB", "1m", "90s". Whole numbers, a unit, nothing
 * else. */
#ifndef KS_DAEMON_UNITS_H
#define KS_DAEMON_UNITS_H

#include "base/defs.h"

/* "4096", "64k", "64KiB", "10MiB", "2g", "1TiB": powers of 1024. False: not such a text, or too
 * large for 64 bits. */
bool ks_units_bytes(const char *text, uint64_t *out_bytes) KS_MUST_USE;
/* "64KiB": the largest unit that divides it. */
void ks_units_bytes_to_text(uint64_t number, char *text, size_t text_bytes);
void ks_units_duration_to_text(uint64_t ms, char *text, size_t text_bytes);
/* "500ms", "90s", "15m", "24h", "7d"; a unit is required, but for 0. */
bool ks_units_duration_ms(const char *text, uint64_t *out_ms) KS_MUST_USE;

#endif
