/* Small helpers around jansson. NULL and false always mean: no memory. */
#ifndef KS_TOOLS_CTL_JSON_H
#define KS_TOOLS_CTL_JSON_H

#include "base/defs.h"

#include <jansson.h>

/* NULL becomes JSON null, what is no UTF-8 "(no UTF-8)". */
json_t *ctl_json_text(const char *text);
json_t *ctl_json_texts(const char *const *texts, size_t count);
json_t *ctl_json_time(uint64_t unix_ms); /* RFC 3339, UTC */
/* Base64, as Kinesis writes bytes. */
json_t *ctl_json_bytes(const void *data, size_t bytes);
/* Adds a member and takes value, which may be NULL, as may object. */
bool ctl_json_add(json_t *object, const char *name, json_t *value) KS_MUST_USE;

/*
 * Flags for json_dump: as few digits as keep every real number of the value exact, at least 15.
 */
size_t ctl_json_real_flags(json_t *value);

/* UTF-8 without control characters but tabs: what a terminal can show. */
bool ctl_is_plain_text(const void *data, size_t bytes);

#endif
