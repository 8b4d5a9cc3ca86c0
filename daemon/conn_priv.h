/* A connection's inside, for conn.c (life and input) and conn_output.c. */
#ifndef KS_DAEMON_CONN_PRIV_H
#define KS_DAEMON_CONN_PRIV_H

#include "base/clock.h"
#include "daemon/config.h"
#include "daemon/conn.h"
#include "daemon/loop.h"

static inline struct timeval ks_timeval_of_ms(uint64_t ms)
{
    return (struct timeval){
        .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

static inline uint64_t ks_conn_now_ms(const struct ks_conn *conn)
{
    return ks_clock_mono_ns(conn->loop->shared->clock) / 1000000;
}

/* ---- conn.c ---- */

/* Keeps the connection's memory while its calls may end. Not a call: the limit of calls is for the
 * peer's, and what waits for it is resumed by their ends. */
static inline void ks_conn_hold(struct ks_conn *conn)
{
    conn->holds++;
}
/* False: it is closed, and perhaps gone. */
bool ks_conn_let_go(struct ks_conn *conn) KS_MUST_USE;

/* After the last frame: closes once nothing is owed any more. True when it closed. */
bool ks_conn_close_if_done(struct ks_conn *conn);
/* Calls ended or output left: what was held back goes on, then reading does. */
void ks_conn_resume(struct ks_conn *conn);
/* On the loop's list of those to be looked at again in a moment: a budget had no room. */
void ks_conn_look_again(struct ks_conn *conn);

/* ---- conn_output.c ---- */

void ks_conn_output_init(struct ks_conn *conn);
void ks_conn_output_drop(struct ks_conn *conn);
/* Grants what waits for room, as far as there is some. */
void ks_conn_feed_rooms(struct ks_conn *conn);

#endif
