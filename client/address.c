#include "client/address.h"

#include <netdb.h>
#include <string.h>

enum ks_status client_addresses_find(const struct client_endpoint *endpoint,
    struct client_addresses *out_addresses, struct ks_error *err)
{
    struct client_addresses *found = out_addresses;
    found->count = 0;
    if (endpoint->path[0] != '\0') {
        struct client_address *one = &found->list[found->count++];
        one->socket.local = (struct sockaddr_un){.sun_family = AF_UNIX};
        one->bytes = sizeof one->socket.local;
        _Static_assert(sizeof endpoint->path == sizeof one->socket.local.sun_path, "parsed to fit");
        memcpy(one->socket.local.sun_path, endpoint->path, sizeof endpoint->path);
        return KS_OK;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *answer = NULL;
    int rc = getaddrinfo(endpoint->host, endpoint->port, &hints, &answer);
    if (rc != 0)
        return ks_fail(err, KS_UNAVAILABLE, 0, "cannot find the address of '%s': %s",
            endpoint->host, gai_strerror(rc));
    for (struct addrinfo *at = answer; at && found->count < CLIENT_ADDRESSES_MAX;
         at = at->ai_next) {
        if (at->ai_addrlen > sizeof found->list[0].socket)
            continue;
        struct client_address *one = &found->list[found->count++];
        memcpy(&one->socket, at->ai_addr, at->ai_addrlen);
        one->bytes = at->ai_addrlen;
    }
    freeaddrinfo(answer);
    return found->count > 0
               ? KS_OK
               : ks_fail(err, KS_UNAVAILABLE, 0, "cannot find the address of '%s'", endpoint->host);
}
