/*
 * What people type for times, durations and sizes, and how times are printed.
 * Pure functions; the current time comes in as a number.
 */
#ifndef KS_TOOLS_CTL_TIME_H
#define KS_TOOLS_CTL_TIME_H

#include "base/status.h"

/* "2026-11-22T23:46:30.123+01:00", the zero and room to spare. */
#define CTL_TIME_TEXT_BYTES 40

/*
 * A moment as milliseconds since 1970: RFC 3339 ("2026-11-22T10:00:00Z", also a blank for the T,
 * also without a zone: local time, also a date alone: its local midnight), seconds since 1970 with
 * or without a fraction (from 10^11 on: milliseconds), "-2h" (that long ago), "now".
 * Errors: KS_USAGE.
 */
enum ks_status ctl_time_from_text(const char *text, uint64_t now_unix_ms, uint64_t *out_unix_ms,
    struct ks_error *err) KS_MUST_USE;

/* "500ms", "90s", "15m", "24h", "7d"; a bare number is seconds. Errors: KS_USAGE. */
enum ks_status ctl_duration_from_text(
    const char *text, uint64_t *out_ms, struct ks_error *err) KS_MUST_USE;

/* "64k", "10MiB", "512"; k, m, g with or without B or iB are powers of 1024. Errors: KS_USAGE. */
enum ks_status ctl_size_from_text(
    const char *text, uint64_t *out_bytes, struct ks_error *err) KS_MUST_USE;

/* RFC 3339 with milliseconds, in UTC ("...Z") or local time ("...+09:00"). */
void ctl_time_to_utc(uint64_t unix_ms, char text[CTL_TIME_TEXT_BYTES]);
void ctl_time_to_local(uint64_t unix_ms, char text[CTL_TIME_TEXT_BYTES]);

/* "1.5 MiB", "312 B". */
void ctl_size_to_text(uint64_t bytes, char *text, size_t text_bytes);

#endif
