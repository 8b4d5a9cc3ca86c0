#include "daemon/descriptors.h"

#include <sys/resource.h>

/* Listening sockets, eventfds and epolls of the loops, LMDB, readers, the log. */
#define OWN_FILES 96u
#define FLUSH_SHARE 4u /* of a small limit: a quarter */
#define CONNECTIONS_MIN 8u
#define HTTP_SHARE 8u /* of a small limit: an eighth */
#define HTTP_MIN 4u
#define HTTP_MAX 64u /* who watches, and the balancers before us */

uint32_t ks_descriptors_http(uint64_t limit)
{
    return (uint32_t)ks_min_u64(HTTP_MAX, ks_max_u64(HTTP_MIN, limit / HTTP_SHARE));
}

uint64_t ks_descriptors_raise(void)
{
    struct rlimit limit = {.rlim_cur = RLIM_INFINITY};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    return limit.rlim_cur;
}

void ks_descriptors_divide(
    const struct ks_descriptors_wish *wish, uint64_t limit, struct ks_descriptors *out)
{
    uint64_t flush = ks_min_u64(wish->flush_files, ks_max_u64(1, limit / FLUSH_SHARE));
    uint64_t taken = OWN_FILES + ks_descriptors_http(limit) + flush + wish->journal_files;
    uint64_t left = limit > taken ? limit - taken : 0;
    *out = (struct ks_descriptors){.limit = limit,
        .flush_files_max = (uint32_t)flush,
        .connections_max =
            (uint32_t)ks_min_u64(ks_max_u64(left, CONNECTIONS_MIN), (uint64_t)UINT32_MAX)};
}

void ks_descriptors_share(const struct ks_descriptors_wish *wish, const struct ks_events *events,
    struct ks_descriptors *out)
{
    ks_descriptors_divide(wish, ks_descriptors_raise(), out);
    if (out->connections_max < wish->connections)
        ks_emit(events, KS_LEVEL_WARNING, "daemon.few_descriptors",
            "limit=%llu connections=%u wanted=%llu text=\"open files are limited: raise "
            "LimitNOFILE "
            "(systemd) or ulimit -Hn\"",
            (unsigned long long)out->limit, out->connections_max,
            (unsigned long long)wish->connections);
}
