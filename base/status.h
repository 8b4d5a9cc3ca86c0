/*
 * The result of everything that can fail, and the text for the human.
 * A status maps to a Kinesis exception, an HTTP status and an exit code in one table,
 * base/status.def.
 */
#ifndef KS_BASE_STATUS_H
#define KS_BASE_STATUS_H

#include "base/defs.h"

enum ks_status {
#define KS_STATUS(name, value, exception, http, exit_code, retryable, text) name = (value),
#include "base/status.def"
#undef KS_STATUS
};

struct ks_status_info {
    const char *name;      /* "KS_NOT_FOUND" */
    const char *exception; /* "ResourceNotFoundException"; "" for KS_OK */
    const char *text;      /* default text, lower case */
    int http;
    int exit_code;
    bool retryable;
};

/* Never NULL; a value outside the enum gets the row of KS_INTERNAL. */
const struct ks_status_info *ks_status_info(enum ks_status status);
const char *ks_status_name(enum ks_status status);
/* The status of that number on the wire, KS_INTERNAL when there is none (a newer peer). */
enum ks_status ks_status_from_wire(uint32_t value);

#define KS_ERROR_TEXT_BYTES 240

/* The caller's own storage; never allocated. Where a function takes one, NULL is allowed. */
struct ks_error {
    enum ks_status status;
    int errnum; /* errno of the failed call, 0 if there was none */
    char text[KS_ERROR_TEXT_BYTES];
};

#define KS_ERROR_INIT                                                                              \
    {                                                                                              \
        KS_OK, 0, ""                                                                               \
    }

/*
 * Fills err (when not NULL) and returns status. Texts start in lower case, say first what failed,
 * quote names in single quotes, end without a full stop. A non-zero errnum appends ": strerror".
 * Cut at 239 bytes, on a character boundary.
 */
enum ks_status ks_fail(struct ks_error *err, enum ks_status status, int errnum, const char *format,
    ...) KS_PRINTF(4, 5);

#endif
