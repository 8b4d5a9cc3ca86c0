#include "client/errors.h"

#include <stdio.h>
#include <string.h>

/* Statuses have the same number inside and outside; a row of status.def without its public twin
 * does not compile (-Wswitch-enum and the assertion). */
#define SAME(name)                                                                                 \
    case KS_##name: {                                                                              \
        _Static_assert((int)KS_##name == (int)KSTREAM_##name, "public and inner number differ");   \
        return KSTREAM_##name;                                                                     \
    }

enum kstream_status kstream_status_of(enum ks_status status)
{
    switch (status) {
        SAME(OK)
        SAME(INVALID)
        SAME(VALIDATION)
        SAME(NOT_FOUND)
        SAME(EXISTS)
        SAME(IN_USE)
        SAME(LIMIT)
        SAME(THROTTLED)
        SAME(TOO_LARGE)
        SAME(EXPIRED_ITERATOR)
        SAME(EXPIRED_TOKEN)
        SAME(ACCESS_DENIED)
        SAME(STORAGE_FULL)
        SAME(IO)
        SAME(CORRUPT)
        SAME(POISONED)
        SAME(NO_MEMORY)
        SAME(INTERNAL)
        SAME(UNSUPPORTED)
        SAME(ROUTING_CHANGED)
        SAME(SHARD_CLOSED)
        SAME(PRODUCER_MISMATCH)
        SAME(PRODUCER_GAP)
        SAME(PRODUCER_UNKNOWN)
        SAME(WOULD_BLOCK)
        SAME(TIMEOUT)
        SAME(UNAVAILABLE)
        SAME(PROTOCOL)
        SAME(USAGE)
        SAME(STOPPING)
        SAME(PARTIAL)
        SAME(END)
    }
    return KSTREAM_INTERNAL;
}

enum kstream_status client_result(enum ks_status status, const struct ks_error *inner,
    uint64_t request_id, struct kstream_error *err)
{
    enum kstream_status result = kstream_status_of(status);
    if (!err || status == KS_OK)
        return result;
    *err = (struct kstream_error){.status = result,
        .retryable = kstream_status_is_retryable(result),
        .system_error = inner ? inner->errnum : 0,
        .request_id = request_id};
    const char *text = inner && inner->text[0] ? inner->text : kstream_strerror(result);
    snprintf(err->text, sizeof err->text, "%s", text);
    return result;
}

/* The table's row; NULL for what the library alone knows. */
static const struct ks_status_info *status_row(enum kstream_status status)
{
    if (status == KSTREAM_FULL)
        return NULL;
    return ks_status_info(
        (unsigned)status > (unsigned)KSTREAM_END ? KS_INTERNAL : (enum ks_status)status);
}

const char *kstream_strerror(enum kstream_status status)
{
    const struct ks_status_info *row = status_row(status);
    return row ? row->text : "the producer is full";
}

const char *kstream_status_name(enum kstream_status status)
{
    const struct ks_status_info *row = status_row(status);
    return row ? row->name + strlen("KS_") : "FULL";
}

const char *kstream_status_exception(enum kstream_status status)
{
    const struct ks_status_info *row = status_row(status);
    return row ? row->exception : "";
}

int kstream_status_is_retryable(enum kstream_status status)
{
    const struct ks_status_info *row = status_row(status);
    return row ? row->retryable : 1;
}

int kstream_status_exit_code(enum kstream_status status)
{
    const struct ks_status_info *row = status_row(status);
    return row ? row->exit_code : 1;
}

const char *kstream_version(void)
{
    return KSTREAM_VERSION_TEXT;
}
