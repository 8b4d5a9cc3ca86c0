#include "client/config.h"

#include "base/alloc.h"
#include "client/errors.h"

#include <stdio.h>
#include <string.h>

#define SCHEME "kstream://"
#define UNIX_PREFIX "unix:"

static bool port_is_valid(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0')
        return false;
    unsigned port = 0;
    for (size_t i = 0; i < digits; i++)
        port = port * 10 + (unsigned)(text[i] - '0');
    return port > 0 && port <= 65535;
}

static enum ks_status endpoint_parse_unix(
    const char *path, struct client_endpoint *endpoint, struct ks_error *err)
{
    if (path[0] == '\0')
        return ks_fail(err, KS_INVALID, 0, "endpoint 'unix:' lacks the path of the socket");
    if (strlen(path) >= sizeof endpoint->path)
        return ks_fail(err, KS_INVALID, 0, "path of the unix socket is longer than %zu bytes",
            sizeof endpoint->path - 1);
    snprintf(endpoint->path, sizeof endpoint->path, "%s", path);
    return KS_OK;
}

/* Where the port starts ("" if there is none), and the host without brackets; false: malformed. */
static bool endpoint_split(const char *address, char *host, size_t host_room, const char **out_port)
{
    const char *start = address;
    const char *end = strchr(address, ':');
    if (address[0] == '[') {
        start = address + 1;
        end = strchr(address, ']');
        if (!end || (end[1] != '\0' && end[1] != ':'))
            return false;
        *out_port = end[1] == ':' ? end + 2 : NULL;
    } else {
        if (end && strchr(end + 1, ':'))
            return false; /* an IPv6 address without brackets is ambiguous */
        *out_port = end ? end + 1 : NULL;
        end = end ? end : address + strlen(address);
    }
    size_t bytes = (size_t)(end - start);
    if (bytes == 0 || bytes >= host_room)
        return false;
    memcpy(host, start, bytes);
    host[bytes] = '\0';
    return true;
}

enum ks_status client_endpoint_parse(
    const char *text, struct client_endpoint *out_endpoint, struct ks_error *err)
{
    struct client_endpoint endpoint = {.host = ""};
    if (strlen(text) >= sizeof endpoint.text)
        return ks_fail(
            err, KS_INVALID, 0, "endpoint is longer than %zu bytes", sizeof endpoint.text - 1);
    memcpy(endpoint.text, text, strlen(text) + 1);
    if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0) {
        enum ks_status st = endpoint_parse_unix(text + strlen(UNIX_PREFIX), &endpoint, err);
        if (st == KS_OK)
            *out_endpoint = endpoint;
        return st;
    }
    const char *address = text;
    if (strncmp(text, SCHEME, strlen(SCHEME)) == 0)
        address += strlen(SCHEME);
    const char *port = NULL;
    if (strchr(address, '/') ||
        !endpoint_split(address, endpoint.host, sizeof endpoint.host, &port))
        return ks_fail(err, KS_INVALID, 0,
            "endpoint '%s' is not HOST:PORT, kstream://HOST:PORT or unix:PATH", text);
    if (port && !port_is_valid(port))
        return ks_fail(err, KS_INVALID, 0, "endpoint '%s' has no valid port", text);
    snprintf(endpoint.port, sizeof endpoint.port, "%s", port ? port : CLIENT_PORT_DEFAULT);
    *out_endpoint = endpoint;
    return KS_OK;
}

struct kstream_config *kstream_config_new(void)
{
    struct kstream_config *config = ks_zalloc(sizeof *config);
    if (!config)
        return NULL;
    *config = (struct kstream_config){
        .endpoint = {.text = "127.0.0.1:" CLIENT_PORT_DEFAULT,
            .host = "127.0.0.1",
            .port = CLIENT_PORT_DEFAULT},
        .connect_timeout_ms = 5000,
        .request_timeout_ms = 30000,
    };
    return config;
}

void kstream_set_allocator(const struct kstream_allocator *allocator)
{
    ks_alloc_use(allocator->allocate, allocator->resize, allocator->release);
}

void kstream_config_set_log(struct kstream_config *config, kstream_log_fn log, void *arg)
{
    config->log = log;
    config->log_arg = arg;
}

void kstream_config_free(struct kstream_config *config)
{
    ks_free(config);
}

static enum ks_status config_set_ms(
    const char *key, const char *value, uint32_t *to, struct ks_error *err)
{
    size_t digits = strspn(value, "0123456789");
    uint64_t number = 0;
    for (size_t i = 0; i < digits && i < 10; i++)
        number = number * 10 + (uint64_t)(value[i] - '0');
    if (digits == 0 || digits > 10 || value[digits] != '\0' || number == 0 || number >= UINT32_MAX)
        return ks_fail(
            err, KS_INVALID, 0, "value '%s' of '%s' is no number of milliseconds", value, key);
    *to = (uint32_t)number;
    return KS_OK;
}

static enum ks_status config_set_bool(
    const char *key, const char *value, bool *to, struct ks_error *err)
{
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
        return ks_fail(err, KS_INVALID, 0, "value '%.40s' of '%s' is not yes or no", value, key);
    *to = strcmp(value, "yes") == 0;
    return KS_OK;
}

static enum ks_status config_set(
    struct kstream_config *config, const char *key, const char *value, struct ks_error *err)
{
    if (strcmp(key, "endpoint") == 0)
        return client_endpoint_parse(value, &config->endpoint, err);
    if (strcmp(key, "connect_timeout_ms") == 0)
        return config_set_ms(key, value, &config->connect_timeout_ms, err);
    if (strcmp(key, "request_timeout_ms") == 0)
        return config_set_ms(key, value, &config->request_timeout_ms, err);
    if (strcmp(key, "log_requests") == 0)
        return config_set_bool(key, value, &config->log_requests, err);
    return ks_fail(err, KS_INVALID, 0,
        "unknown key '%.40s'; known are endpoint, connect_timeout_ms, request_timeout_ms, "
        "log_requests",
        key);
}

enum kstream_status kstream_config_set(
    struct kstream_config *config, const char *key, const char *value, struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    if (!config || !key || !value)
        return client_result(
            ks_fail(&inner, KS_INVALID, 0, "config, key and value are needed"), &inner, 0, err);
    return client_result(config_set(config, key, value, &inner), &inner, 0, err);
}
