/* What kstream_config_set has set, and the addresses it names. */
#ifndef KS_CLIENT_CONFIG_H
#define KS_CLIENT_CONFIG_H

#include "base/status.h"
#include "client/kstream.h"

#include <sys/un.h>

#define CLIENT_PORT_DEFAULT "7420"

struct client_endpoint {
    char text[280]; /* as the user wrote it, for messages */
    char host[256]; /* "" for a unix socket */
    char port[8];
    char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* unix socket, else "" */
};

/* Errors: KS_INVALID. */
enum ks_status client_endpoint_parse(
    const char *text, struct client_endpoint *out_endpoint, struct ks_error *err) KS_MUST_USE;

struct kstream_config {
    struct client_endpoint endpoint;
    uint32_t connect_timeout_ms;
    uint32_t request_timeout_ms;
    bool log_requests;
    kstream_log_fn log;
    void *log_arg;
};

#endif
