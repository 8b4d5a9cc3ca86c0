/*
 * The socket addresses of an endpoint. The only place that looks names up: a resolver may take
 * long and cannot be told when to stop, so it is asked once, by kstream_connect, and never again.
 */
#ifndef KS_CLIENT_ADDRESS_H
#define KS_CLIENT_ADDRESS_H

#include "client/config.h"

#include <sys/socket.h>

#define CLIENT_ADDRESSES_MAX 8u /* tried one after the other */

struct client_address {
    union {
        struct sockaddr any;
        struct sockaddr_storage storage;
        struct sockaddr_un local;
    } socket;
    socklen_t bytes;
};

struct client_addresses {
    struct client_address list[CLIENT_ADDRESSES_MAX];
    uint32_t count;
};

/* Errors: KS_UNAVAILABLE the name is not known. */
enum ks_status client_addresses_find(const struct client_endpoint *endpoint,
    struct client_addresses *out_addresses, struct ks_error *err) KS_MUST_USE;

#endif
