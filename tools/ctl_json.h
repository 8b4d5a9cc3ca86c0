/* Small helpers around jansson. NULL and false always mean: no memory. */
#ifndef KS_TOOLS_CTL_JSON_H
#define KS_TOOLS_CTL_JSON_H

#include "base/bytes.h"

#include <jansson.h>
#include <stdio.h>

/* NULL becomes JSON null, what is no UTF-8 "(no UTF-8)". */
json_t *ctl_json_text(const char *text);
json_t *ctl_json_texts(const char *const *texts, size_t count);
json_t *ctl_json_time(uint64_t unix_ms); /* RFC 3339, UTC */
/* Base64, as Kinesis writes bytes. */
json_t *ctl_json_bytes(const void *data, size_t bytes);
/* Adds a member and takes value, which may be NULL, as may object. */
bool ctl_json_add(json_t *object, const char *name, json_t *value) KS_MUST_USE;

/*
 * As json_dump does with these flags, for any value, but each real number has as few digits as keep
 * it exact. False: out of memory, or to is full.
 */
bool ctl_json_append(struct ks_buf *to, json_t *value, size_t flags) KS_MUST_USE;
bool ctl_json_print(FILE *to, json_t *value, size_t flags) KS_MUST_USE;

/* UTF-8 without control characters but tabs: what a terminal can show. */
bool ctl_is_plain_text(const void *data, size_t bytes);

#endif
