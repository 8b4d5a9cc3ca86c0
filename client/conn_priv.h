/* Between conn.c (life, calls) and conn_frames.c (bytes in and out). */
#ifndef KS_CLIENT_CONN_PRIV_H
#define KS_CLIENT_CONN_PRIV_H

#include "client/conn.h"

#define CLIENT_CONN_IN_BYTES                                                                       \
    (64u << 10) /* small frames are cut out of it, large ones go past it                           \
                 */

/* conn.c */
struct client_call *client_conn_take_call(struct client_conn *conn, uint64_t request_id);
void client_conn_lost(struct client_conn *conn, int errnum);

/* conn_frames.c */
bool client_conn_reserve_output(
    struct client_conn *conn, size_t copied_bytes, size_t pieces) KS_MUST_USE;
/* bytes at the end of conn->out belong to the output. */
void client_conn_note_copied(struct client_conn *conn, size_t bytes);
void client_conn_drop_output(struct client_conn *conn);
void client_conn_write(struct client_conn *conn);
void client_conn_read(struct client_conn *conn);

#endif
