/* What --decode makes of the bytes of a record. Threads: one owner. */
#ifndef KS_TOOLS_CTL_DECODE_H
#define KS_TOOLS_CTL_DECODE_H

#include "base/bytes.h"
#include "base/status.h"

#include <jansson.h>

/* More than this is not unpacked: a few bytes of gzip can become very many. */
#define CTL_DECODE_BYTES_MAX (64u << 20)

enum ctl_decode {
    CTL_DECODE_AUTO, /* gzip is unpacked; else as raw */
    CTL_DECODE_RAW,  /* the bytes: as a text if they are one, else base64 */
    CTL_DECODE_BASE64,
    CTL_DECODE_GZIP, /* as auto, but what is no gzip is an error of the record */
    CTL_DECODE_JSON  /* as auto, and JSON becomes the value it is */
};

/* "auto"... Errors: KS_USAGE. */
enum ks_status ctl_decode_from_text(
    const char *text, enum ctl_decode *out_decode, struct ks_error *err) KS_MUST_USE;

/*
 * The bytes to show: data, or what was unpacked into unpacked, an empty buffer of the caller's.
 * Errors: KS_CORRUPT for CTL_DECODE_GZIP what is no gzip, or too large; then out_shown is data.
 * KS_NO_MEMORY.
 */
enum ks_status ctl_decode_bytes(enum ctl_decode decode, struct ks_view data,
    struct ks_buf *unpacked, struct ks_view *out_shown, struct ks_error *err) KS_MUST_USE;

/* Whole gzip, also of several members one behind the other; false: it is not, or gets too large. */
bool ctl_decode_gunzip(struct ks_view data, struct ks_buf *out) KS_MUST_USE;

#endif
