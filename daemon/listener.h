/*
 * Sockets to listen on: TCP by HOST:PORT, unix by path. They listen at once, so that the address is
 * ours through a long recovery and a taken one is known before it; clients wait in the socket's
 * queue until somebody accepts. Non-blocking, close-on-exec.
 */
#ifndef KS_DAEMON_LISTENER_H
#define KS_DAEMON_LISTENER_H

#include "base/status.h"
#include "daemon/addresses.h"

struct ks_listen_options {
    const char *address; /* "127.0.0.1:7420", "[::1]:0", "localhost:7420" */
    const char *flag;    /* "--listen": for the error's text */
    bool is_insecure;    /* beyond loopback is fine */
};

/* HOST:PORT by its form; whether the host exists is not asked. */
bool ks_listener_is_address(const char *address);
/*
 * out_address has room for KS_ADDRESS_BYTES and gets HOST:PORT with the port that was picked.
 * Errors: KS_USAGE not HOST:PORT, or beyond loopback; KS_IN_USE the port is taken; KS_IO.
 */
enum ks_status ks_listener_bind_tcp(const struct ks_listen_options *options, int *out_fd,
    char *out_address, struct ks_error *err) KS_MUST_USE;
/*
 * Mode 0660. A socket that nobody listens on is replaced. Errors: KS_IN_USE somebody listens there,
 * or it is no socket; KS_USAGE the path is too long; KS_IO.
 */
enum ks_status ks_listener_bind_unix(
    const char *path, int *out_fd, struct ks_error *err) KS_MUST_USE;
/*
 * A socket that somebody else has bound: out_address gets where, as above or a path. Errors:
 * KS_USAGE beyond loopback.
 */
enum ks_status ks_listener_adopt(int fd, const struct ks_listen_options *options, char *out_address,
    struct ks_error *err) KS_MUST_USE;

#endif
