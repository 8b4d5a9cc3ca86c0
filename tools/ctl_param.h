/*
 * Values as the aws CLI takes them: structures as JSON or in the short form, from the line or from
 * a file (file://PATH); bytes as plain text, as base64, or from a file (fileb://PATH).
 * Threads: plain functions.
 */
#ifndef KS_TOOLS_CTL_PARAM_H
#define KS_TOOLS_CTL_PARAM_H

#include "base/bytes.h"
#include "base/status.h"

#include <jansson.h>

/* 500 records of 10 MiB in all, as JSON. */
#define CTL_PARAM_BYTES_MAX (64u << 20)

/*
 * A structure or a list. option: for messages. The caller owns *out. Errors: KS_USAGE no valid
 * JSON, no such file; KS_NO_MEMORY.
 */
enum ks_status ctl_param_structure(
    const char *option, const char *text, json_t **out, struct ks_error *err) KS_MUST_USE;
/* JSON only. */
enum ks_status ctl_param_json(
    const char *option, const char *text, json_t **out, struct ks_error *err) KS_MUST_USE;

/*
 * Bytes. is_base64: what is no fileb:// is base64 and not plain text (--cli-binary-format base64).
 * Appends to out. Errors: KS_USAGE; KS_NO_MEMORY.
 */
enum ks_status ctl_param_bytes(const char *option, const char *text, bool is_base64,
    struct ks_buf *out, struct ks_error *err) KS_MUST_USE;
/* The whole file; "-" is standard input. */
enum ks_status ctl_param_file(
    const char *option, const char *path, struct ks_buf *out, struct ks_error *err) KS_MUST_USE;

#endif
