/*
 * One descriptor for all that a client does: an epoll set of its connections and a timer. Made when
 * kstream_fd is first called; until then all of this costs nothing.
 * Threads: those of the client.
 */
#ifndef KS_CLIENT_WATCH_H
#define KS_CLIENT_WATCH_H

#include "base/status.h"

struct client_watch {
    int epoll_fd; /* -1: nobody watches */
    int timer_fd;
    uint64_t armed_ns; /* when the timer fires; UINT64_MAX: never */
};

void client_watch_init(struct client_watch *watch);
void client_watch_fini(struct client_watch *watch);
/* Errors: KS_IO no descriptor. */
enum ks_status client_watch_start(struct client_watch *watch, struct ks_error *err) KS_MUST_USE;

/* poll(2) events for fd instead of those in *watched; 0 takes it out. */
void client_watch_fd(struct client_watch *watch, int fd, short events, short *watched);
/* The descriptor becomes readable at timer_ns at the latest. One that is armed for an earlier time
 * stays so: it costs a needless turn, setting it each time costs a system call. */
void client_watch_timer(struct client_watch *watch, uint64_t timer_ns);
/* The timer has been looked at: it is armed anew by client_watch_timer. */
void client_watch_turn(struct client_watch *watch);

#endif
