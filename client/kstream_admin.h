/*
 * libkstream, for administrators: calls about a broker as a whole. Everything that programs which
 * put and read records need stands in kstream.h.
 */
#ifndef KSTREAM_ADMIN_H
#define KSTREAM_ADMIN_H

#include "kstream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct kstream_clock_info {
    size_t size;
    uint64_t clock_unix_ms; /* the broker's clock, from now on */
    int64_t step_ms;        /* what it stepped; 0: it did not */
    int was_retention_held; /* 1: nothing expired until now, because the time was not trusted */
    uint64_t retention_behind_ms; /* by how much */
    char why[96];                 /* it was held; "" if it was not */
};
#define KSTREAM_CLOCK_INFO_INIT                                                                    \
    {                                                                                              \
        sizeof(struct kstream_clock_info), 0, 0, 0, 0, ""                                          \
    }

/*
 * Says that the wall clock of the broker's machine is right: the broker follows it at once, and
 * records expire again if a jump of the clock had held them. timeout_ms 0: the config's. info may
 * be NULL.
 *
 * Example:
 *     struct kstream_clock_info info = KSTREAM_CLOCK_INFO_INIT;
 *     if (!kstream_confirm_clock(client, 1000, &info, &err))
 *         printf("%s\n", info.why);
 */
KSTREAM_API enum kstream_status kstream_confirm_clock(struct kstream_client *client,
    uint32_t timeout_ms, struct kstream_clock_info *info,
    struct kstream_error *err) KSTREAM_MUST_USE;

#ifdef __cplusplus
}
#endif

#endif
