#include "client/client.h"
#include "client/kstream_admin.h"
#include "proto/api.pb-c.h"

#include <stdio.h>
#include <string.h>

static enum ks_status client_confirm_clock(struct kstream_client *client, uint64_t deadline_ns,
    struct kstream_clock_info *info, struct ks_error *err)
{
    Kstream__ConfirmClockRequest request = KSTREAM__CONFIRM_CLOCK_REQUEST__INIT;
    struct client_exchange exchange = {.op = KS_OP_CONFIRM_CLOCK,
        .request = &request.base,
        .deadline_ns = deadline_ns,
        .is_repeatable = true};
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    ProtobufCMessage *message = NULL;
    enum ks_status st = client_call(client, &exchange, &arena, &message, err);
    if (st == KS_OK && info) {
        const Kstream__ConfirmClockResponse *answer = (const void *)message;
        struct kstream_clock_info filled = {.size = sizeof filled,
            .clock_unix_ms = answer->clock_unix_ms,
            .step_ms = answer->step_ms,
            .was_retention_held = answer->was_retention_held,
            .retention_behind_ms = answer->retention_behind_ms};
        snprintf(filled.why, sizeof filled.why, "%s", answer->why);
        size_t size = info->size;
        memcpy(info, &filled, KS_MIN(size, sizeof filled));
        info->size = size;
    }
    ks_arena_fini(&arena);
    return st;
}

enum kstream_status kstream_confirm_clock(struct kstream_client *client, uint32_t timeout_ms,
    struct kstream_clock_info *info, struct kstream_error *err)
{
    struct ks_error inner = client_begin(client);
    enum ks_status st =
        client_confirm_clock(client, client_call_deadline_ns(client, timeout_ms), info, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

static enum ks_status client_backup_catalog(struct kstream_client *client, uint64_t deadline_ns,
    struct kstream_catalog_copy *copy, struct ks_error *err)
{
    Kstream__BackupCatalogRequest request = KSTREAM__BACKUP_CATALOG_REQUEST__INIT;
    struct client_exchange exchange = {.op = KS_OP_BACKUP_CATALOG,
        .request = &request.base,
        .deadline_ns = deadline_ns,
        .is_repeatable = true};
    struct ks_arena arena;
    ks_arena_init(&arena, CLIENT_ANSWER_BYTES_MAX);
    ProtobufCMessage *message = NULL;
    enum ks_status st = client_call(client, &exchange, &arena, &message, err);
    if (st == KS_OK && copy) {
        const Kstream__BackupCatalogResponse *answer = (const void *)message;
        struct kstream_catalog_copy filled = {.size = sizeof filled,
            .bytes = answer->bytes,
            .created_unix_ms = answer->created_unix_ms,
            .kept = answer->kept};
        snprintf(filled.path, sizeof filled.path, "%s", answer->path);
        size_t size = copy->size;
        memcpy(copy, &filled, KS_MIN(size, sizeof filled));
        copy->size = size;
    }
    ks_arena_fini(&arena);
    return st;
}

enum kstream_status kstream_backup_catalog(struct kstream_client *client,
    const struct kstream_call_options *options, struct kstream_catalog_copy *copy,
    struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    uint64_t deadline_ns = client_call_deadline_ns(client, CLIENT_OPTION(options, timeout_ms, 0));
    enum ks_status st = client_backup_catalog(client, deadline_ns, copy, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}
