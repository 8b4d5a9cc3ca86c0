#include "client/watch.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

void client_watch_init(struct client_watch *watch)
{
    *watch = (struct client_watch){.epoll_fd = -1, .timer_fd = -1, .armed_ns = UINT64_MAX};
}

void client_watch_fini(struct client_watch *watch)
{
    if (watch->epoll_fd >= 0)
        close(watch->epoll_fd);
    if (watch->timer_fd >= 0)
        close(watch->timer_fd);
    client_watch_init(watch);
}

enum ks_status client_watch_start(struct client_watch *watch, struct ks_error *err)
{
    if (watch->epoll_fd >= 0)
        return KS_OK;
    watch->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    watch->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN};
    if (watch->epoll_fd >= 0 && watch->timer_fd >= 0 &&
        epoll_ctl(watch->epoll_fd, EPOLL_CTL_ADD, watch->timer_fd, &event) == 0)
        return KS_OK;
    int errnum = errno;
    client_watch_fini(watch);
    return ks_fail(err, KS_IO, errnum, "cannot make a descriptor to wait for");
}

void client_watch_fd(struct client_watch *watch, int fd, short events, short *watched)
{
    if (watch->epoll_fd < 0 || *watched == events)
        return;
    struct epoll_event event = {
        .events = (events & POLLIN ? EPOLLIN : 0u) | (events & POLLOUT ? EPOLLOUT : 0u)};
    int op = events == 0 ? EPOLL_CTL_DEL : *watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    /* A set that has no room for one more is asked again with the next turn. */
    if (epoll_ctl(watch->epoll_fd, op, fd, &event) == 0 || op == EPOLL_CTL_DEL)
        *watched = events;
}

static void timer_set(const struct client_watch *watch, uint64_t timer_ns)
{
    /* 0 would disarm it. */
    uint64_t at_ns = timer_ns > 0 ? timer_ns : 1;
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at_ns / 1000000000u),
                                  .tv_nsec = (long)(at_ns % 1000000000u)}};
    KS_IGNORE(timerfd_settime(watch->timer_fd, TFD_TIMER_ABSTIME, &when, NULL),
        "its arguments are right");
}

void client_watch_timer(struct client_watch *watch, uint64_t timer_ns)
{
    if (watch->epoll_fd < 0 || timer_ns >= watch->armed_ns)
        return;
    watch->armed_ns = timer_ns;
    timer_set(watch, timer_ns);
}

void client_watch_turn(struct client_watch *watch)
{
    uint64_t expirations = 0;
    if (watch->epoll_fd >= 0 &&
        read(watch->timer_fd, &expirations, sizeof expirations) == sizeof expirations)
        watch->armed_ns = UINT64_MAX;
}
