#include "daemon/sockets.h"

#include "daemon/listener.h"

#include <string.h>
#include <unistd.h>

struct door {
    const char *name; /* as systemd passes it */
    int *fds;
    unsigned *count;
    char *address; /* KS_ADDRESS_BYTES */
};

/* True in *out_is_passed when at least one socket was passed for the door. */
static enum ks_status door_adopt(const struct door *door, const struct ks_config *config,
    const struct ks_activation *activation, const struct ks_events *events, bool *out_is_passed,
    struct ks_error *err)
{
    *out_is_passed = false;
    for (unsigned i = 0; i < activation->count; i++) {
        char address[KS_ADDRESS_BYTES];
        if (strcmp(activation->names[i], door->name) != 0)
            continue;
        const struct ks_listen_options options = {
            .address = door->name, .flag = "the socket", .is_insecure = config->listen_insecure};
        door->fds[(*door->count)++] = activation->fds[i];
        enum ks_status st = ks_listener_adopt(activation->fds[i], &options, address, err);
        if (st)
            return st;
        if (!*out_is_passed)
            memcpy(door->address, address, KS_ADDRESS_BYTES);
        *out_is_passed = true;
        ks_emit(
            events, KS_LEVEL_INFO, "listener.passed", "name=%s address=%s", door->name, address);
    }
    return KS_OK;
}

static enum ks_status bind_tcp(const struct door *door, const char *address, const char *flag,
    const struct ks_config *config, struct ks_error *err)
{
    if (strcmp(address, "none") == 0)
        return KS_OK;
    const struct ks_listen_options options = {
        .address = address, .flag = flag, .is_insecure = config->listen_insecure};
    enum ks_status st =
        ks_listener_bind_tcp(&options, &door->fds[*door->count], door->address, err);
    if (!st)
        (*door->count)++;
    return st;
}

static enum ks_status bind_unix(
    struct ks_sockets *sockets, const struct ks_config *config, struct ks_error *err)
{
    if (strcmp(config->listen_unix, "none") == 0)
        return KS_OK;
    enum ks_status st =
        ks_listener_bind_unix(config->listen_unix, &sockets->native[sockets->native_count], err);
    if (st)
        return st;
    sockets->native_count++;
    memcpy(sockets->addresses.unix_path, config->listen_unix, sizeof(config->listen_unix));
    sockets->is_unix_ours = true;
    return KS_OK;
}

enum ks_status ks_sockets_open(const struct ks_config *config,
    const struct ks_activation *activation, const struct ks_events *events, struct ks_sockets *out,
    struct ks_error *err)
{
    bool is_passed = false;
    memset(out, 0, sizeof(*out));
    struct ks_addresses *addresses = &out->addresses;
    const struct door native = {"native", out->native, &out->native_count, addresses->native};
    const struct door local = {"unix", out->native, &out->native_count, addresses->unix_path};
    const struct door http = {"http", out->http, &out->http_count, addresses->http};
    enum ks_status st = door_adopt(&native, config, activation, events, &is_passed, err);
    if (!st && !is_passed)
        st = bind_tcp(&native, config->listen_native, "--listen", config, err);
    if (!st)
        st = door_adopt(&local, config, activation, events, &is_passed, err);
    if (!st && !is_passed)
        st = bind_unix(out, config, err);
    if (!st)
        st = door_adopt(&http, config, activation, events, &is_passed, err);
    if (!st && !is_passed)
        st = bind_tcp(&http, config->listen_http, "--http", config, err);
    return st;
}

void ks_sockets_close(struct ks_sockets *sockets)
{
    for (unsigned i = 0; i < sockets->native_count; i++)
        close(sockets->native[i]);
    for (unsigned i = 0; i < sockets->http_count; i++)
        close(sockets->http[i]);
    sockets->native_count = 0;
    sockets->http_count = 0;
    if (sockets->is_unix_ours)
        unlink(sockets->addresses.unix_path);
    sockets->is_unix_ours = false;
}
