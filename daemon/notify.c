#include "daemon/notify.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_EVERY_MS 1000
#define PROGRESS_PERCENT 10
#define EXTEND_US 60000000ull /* from each sign of progress on */
#define SEND_TIMEOUT_S 2      /* a service manager that does not read must not stop the broker */

void ks_notify_init(struct ks_notify *notify, const char *path)
{
    memset(notify, 0, sizeof(*notify));
    notify->fd = -1;
    size_t bytes = path ? strlen(path) : 0;
    if (bytes < 2 || bytes >= sizeof(notify->address.sun_path) ||
        (path[0] != '/' && path[0] != '@'))
        return;
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, path, bytes);
    /* An abstract name has no end but its length. */
    notify->address_bytes =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes + (path[0] == '/'));
    if (path[0] == '@')
        notify->address.sun_path[0] = '\0';
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const struct timeval timeout = {.tv_sec = SEND_TIMEOUT_S};
    if (notify->fd >= 0)
        setsockopt(notify->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
}

void ks_notify_fini(struct ks_notify *notify)
{
    if (notify->fd >= 0)
        close(notify->fd);
    notify->fd = -1;
}

void ks_notify_send(struct ks_notify *notify, const char *format, ...)
{
    char text[KS_NOTIFY_BYTES_MAX];
    va_list args;
    if (notify->fd < 0)
        return;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    size_t bytes = n < 0 ? 0 : KS_MIN((size_t)n, sizeof(text) - 1);
    KS_IGNORE(sendto(notify->fd, text, bytes, MSG_NOSIGNAL,
                  (const struct sockaddr *)&notify->address, notify->address_bytes),
        "the broker serves whether or not it is watched");
}

void ks_notify_progress(struct ks_notify *notify, const char *what, unsigned percent)
{
    char rest[64] = "";
    uint64_t now = ks_clock_mono_ns(&ks_clock_system) / 1000000;
    bool is_new = notify->told_what != what;
    if (notify->fd < 0 || (!is_new && percent < notify->told_percent + PROGRESS_PERCENT &&
                              now - notify->told_mono_ms < PROGRESS_EVERY_MS))
        return;
    if (is_new)
        notify->begun_mono_ms = now;
    notify->told_what = what;
    notify->told_percent = percent;
    notify->told_mono_ms = now;
    if (percent > 0 && percent <= 100)
        snprintf(rest, sizeof(rest), ", %u %% (%llu s to go)", percent,
            (unsigned long long)((now - notify->begun_mono_ms) * (100 - percent) / percent / 1000));
    ks_notify_send(
        notify, "STATUS=%s%s\nEXTEND_TIMEOUT_USEC=%llu", what, rest, (unsigned long long)EXTEND_US);
}
