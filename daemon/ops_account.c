/* The account, which is the broker as a whole: DescribeLimits, DescribeAccountSettings,
 * UpdateAccountSettings. */
#include "daemon/ops.h"
#include "storage/account.h"

#include <string.h>

/* Developer guide: who commits stays committed for a day at least. */
#define COMMITMENT_MS_MIN (24ull * 3600 * 1000)

void ks_op_describe_limits(struct ks_call *call, const ProtobufCMessage *message)
{
    (void)message;
    Kstream__DescribeLimitsResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (!response) {
        ks_call_fail_memory(call);
        return;
    }
    const struct ks_server *server = call->server;
    kstream__describe_limits_response__init(response);
    response->shard_limit = (int32_t)server->live.limits_shards;
    response->open_shard_count = (int32_t)ks_registry_open_shards(server->engine);
    response->on_demand_stream_count = (int32_t)ks_registry_on_demand_streams(server->engine);
    response->on_demand_stream_count_limit = (int32_t)server->live.limits_on_demand_streams;
    ks_call_finish(call, &response->base);
}

/* Looked at beside what other loops do: of two streams that come at the same moment both may get
 * the last place. */
bool ks_call_mode_fits(struct ks_call *call, enum ks_stream_mode mode)
{
    const struct ks_server *server = call->server;
    uint32_t count = ks_registry_on_demand_streams(server->engine);
    if (mode != KS_STREAM_ON_DEMAND || count < server->live.limits_on_demand_streams)
        return true;
    ks_call_fail_text(call, KS_LIMIT,
        "This request would exceed the on-demand stream limit for the account %s in %s. Current "
        "on-demand stream count for the account: %u. Limit: %llu.",
        server->config->aws_account_id, server->config->aws_region, count,
        (unsigned long long)server->live.limits_on_demand_streams);
    return false;
}

/* ---- the commitment ---- */

static Kstream__MinimumThroughputBillingCommitmentOutput *commitment_message(
    struct ks_call *call, const struct ks_account *account)
{
    static char enabled[] = "ENABLED";
    static char disabled[] = "DISABLED";
    static char ends_later[] = "ENABLED_UNTIL_EARLIEST_ALLOWED_END";
    uint64_t now = ks_server_unix_ms(call->server);
    Kstream__MinimumThroughputBillingCommitmentOutput *output =
        ks_arena_alloc(&call->arena, sizeof(*output));
    if (!output)
        return NULL;
    kstream__minimum_throughput_billing_commitment_output__init(output);
    bool was_ever = account->commitment_started_unix_ms > 0;
    bool has_end = account->commitment_ended_unix_ms > 0;
    bool is_over = !was_ever || (has_end && account->commitment_ended_unix_ms <= now);
    output->status = is_over ? disabled : has_end ? ends_later : enabled;
    output->has_started_at_unix_ms = was_ever;
    output->started_at_unix_ms = account->commitment_started_unix_ms;
    output->has_ended_at_unix_ms = was_ever && is_over;
    output->ended_at_unix_ms = account->commitment_ended_unix_ms;
    output->has_earliest_allowed_end_at_unix_ms = was_ever && !is_over;
    output->earliest_allowed_end_at_unix_ms = account->commitment_earliest_end_unix_ms;
    return output;
}

void ks_op_describe_account_settings(struct ks_call *call, const ProtobufCMessage *message)
{
    (void)message;
    struct ks_account account;
    ks_account_get(call->server->engine, &account);
    Kstream__DescribeAccountSettingsResponse *response =
        ks_arena_alloc(&call->arena, sizeof(*response));
    if (response) {
        kstream__describe_account_settings_response__init(response);
        response->minimum_throughput_billing_commitment = commitment_message(call, &account);
    }
    if (!response || !response->minimum_throughput_billing_commitment)
        ks_call_fail_memory(call);
    else
        ks_call_finish(call, &response->base);
}

static void account_delivered(struct ks_mail *mail)
{
    struct ks_call *call = KS_CONTAINER_OF(mail, struct ks_call, admin.mail);
    if (call->admin.status)
        ks_call_fail(call, call->admin.status, &call->admin.error);
    else
        ks_call_finish(call, call->response);
}

/* What a commitment becomes; an end that was asked for is taken back by a new beginning. */
static struct ks_account commitment_after(
    const struct ks_account *before, bool is_enabled, uint64_t now)
{
    struct ks_account after = *before;
    bool was_ever = before->commitment_started_unix_ms > 0;
    bool is_over = !was_ever || (before->commitment_ended_unix_ms > 0 &&
                                    before->commitment_ended_unix_ms <= now);
    if (is_enabled && is_over) {
        after.commitment_started_unix_ms = now;
        after.commitment_earliest_end_unix_ms = now + COMMITMENT_MS_MIN;
    }
    if (is_enabled)
        after.commitment_ended_unix_ms = 0;
    else if (!is_over && before->commitment_ended_unix_ms == 0)
        after.commitment_ended_unix_ms = ks_max_u64(now, before->commitment_earliest_end_unix_ms);
    return after;
}

void ks_op_update_account_settings(struct ks_call *call, const ProtobufCMessage *message)
{
    const Kstream__UpdateAccountSettingsRequest *request = (const void *)message;
    const char *status = request->minimum_throughput_billing_commitment->status;
    struct ks_account before;
    ks_account_get(call->server->engine, &before);
    struct ks_account after =
        commitment_after(&before, strcmp(status, "ENABLED") == 0, ks_server_unix_ms(call->server));
    Kstream__UpdateAccountSettingsResponse *response =
        ks_arena_alloc(&call->arena, sizeof(*response));
    if (response) {
        kstream__update_account_settings_response__init(response);
        response->minimum_throughput_billing_commitment = commitment_message(call, &after);
    }
    if (!response || !response->minimum_throughput_billing_commitment) {
        ks_call_fail_memory(call);
        return;
    }
    struct ks_error error = KS_ERROR_INIT;
    call->response = &response->base;
    if (request->dry_run) {
        ks_call_finish(call, call->response);
        return;
    }
    call->admin.mail.deliver = account_delivered;
    call->admin.home = &call->loop->mailbox;
    enum ks_status st = ks_account_set(call->server->engine, &after, &call->admin, &error);
    if (st)
        ks_call_fail(call, st, &error);
}
