#include "base/alloc.h"
#include "client/client.h"
#include "client/kstream_admin.h"
#include "proto/api.pb-c.h"

struct broker_setting_list_result {
    struct kstream_broker_setting_list list; /* first member */
    struct ks_arena arena;
};

KS_DEFINE_CLEANUP(struct kstream_broker_setting_list, kstream_broker_setting_list_free)

static enum ks_status setting_list_fill(struct broker_setting_list_result *result,
    const Kstream__DescribeConfigResponse *answer, struct ks_error *err)
{
    size_t count = answer->n_settings;
    struct kstream_broker_setting *settings =
        ks_arena_zalloc(&result->arena, count * sizeof *settings);
    if (!settings)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for %zu settings", count);
    for (size_t i = 0; i < count; i++) {
        const Kstream__ConfigSetting *from = answer->settings[i];
        settings[i] = (struct kstream_broker_setting){.key = from->key,
            .value = from->value,
            .default_value = from->default_value,
            .origin = from->origin,
            .where = from->where,
            .needs_restart = from->needs_restart,
            .next_value = from->next_value};
    }
    result->list =
        (struct kstream_broker_setting_list){.settings = settings, .setting_count = count};
    return KS_OK;
}

static enum ks_status describe_config(struct kstream_client *client, uint64_t deadline_ns,
    struct kstream_broker_setting_list **out_list, struct ks_error *err)
{
    enum ks_status st = client_check_place(out_list, err);
    if (st)
        return st;
    struct broker_setting_list_result *result = ks_zalloc(sizeof *result);
    if (!result)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for a list of settings");
    ks_arena_init(&result->arena, CLIENT_ANSWER_BYTES_MAX);
    KS_CLEANUP(kstream_broker_setting_list_freep)
    struct kstream_broker_setting_list *owned = &result->list;
    Kstream__DescribeConfigRequest request = KSTREAM__DESCRIBE_CONFIG_REQUEST__INIT;
    struct client_exchange exchange = {.op = KS_OP_DESCRIBE_CONFIG,
        .request = &request.base,
        .deadline_ns = deadline_ns,
        .is_repeatable = true};
    ProtobufCMessage *message = NULL;
    st = client_call(client, &exchange, &result->arena, &message, err);
    if (st == KS_OK)
        st = setting_list_fill(result, (const void *)message, err);
    if (st == KS_OK)
        *out_list = KS_TAKE(owned);
    return st;
}

enum kstream_status kstream_describe_config(struct kstream_client *client, uint32_t timeout_ms,
    struct kstream_broker_setting_list **out_list, struct kstream_error *err)
{
    struct ks_error inner = client_begin(client);
    enum ks_status st =
        describe_config(client, client_call_deadline_ns(client, timeout_ms), out_list, &inner);
    return client_result(st, &inner, client->last_request_id, err);
}

void kstream_broker_setting_list_free(struct kstream_broker_setting_list *list)
{
    if (!list)
        return;
    struct broker_setting_list_result *result =
        KS_CONTAINER_OF(list, struct broker_setting_list_result, list);
    ks_arena_fini(&result->arena);
    ks_free(result);
}
