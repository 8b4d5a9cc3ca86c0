#include "storage/account.h"

#include "base/alloc.h"
#include "proto/catalog.pb-c.h"
#include "storage/engine_priv.h"
#include "storage/registry_priv.h"

struct account_work {
    struct ks_change change;
    struct ks_engine *engine;
    struct ks_admin *admin;
    struct ks_account account;
};

void ks_account_get(struct ks_engine *engine, struct ks_account *out)
{
    KS_LOCK_SCOPE(&engine->registry->mu);
    *out = engine->registry->account;
}

static enum ks_status account_apply(
    struct ks_change *change, struct ks_kv_txn *txn, struct ks_error *err)
{
    const struct account_work *work = KS_CONTAINER_OF(change, struct account_work, change);
    Kstream__Catalog__AccountRow row = KSTREAM__CATALOG__ACCOUNT_ROW__INIT;
    row.commitment_started_unix_ms = work->account.commitment_started_unix_ms;
    row.commitment_earliest_end_unix_ms = work->account.commitment_earliest_end_unix_ms;
    row.commitment_ended_unix_ms = work->account.commitment_ended_unix_ms;
    return ks_catalog_put(
        txn, KS_TABLE_META, ks_view_of_text(KS_CATALOG_ACCOUNT_KEY), &row.base, err);
}

static void account_done(
    struct ks_change *change, enum ks_status status, const struct ks_error *error)
{
    struct account_work *work = KS_CONTAINER_OF(change, struct account_work, change);
    struct ks_admin *admin = work->admin;
    if (!status) {
        KS_LOCK_SCOPE(&work->engine->registry->mu);
        work->engine->registry->account = work->account;
    }
    admin->status = status;
    admin->error = *error;
    admin->stream = NULL;
    ks_free(work);
    ks_mailbox_send(admin->home, &admin->mail);
}

enum ks_status ks_account_set(struct ks_engine *engine, const struct ks_account *account,
    struct ks_admin *admin, struct ks_error *err)
{
    enum ks_status st = ks_registry_require_running(engine, err);
    if (st)
        return st;
    struct account_work *work = ks_zalloc(sizeof *work);
    if (!work)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot change the account");
    *work = (struct account_work){.change = {.apply = account_apply, .done = account_done},
        .engine = engine,
        .admin = admin,
        .account = *account};
    ks_catalog_submit(engine->catalog, &work->change);
    return KS_OK;
}

enum ks_status ks_account_load(
    struct ks_registry *registry, struct ks_kv_txn *txn, struct ks_error *err)
{
    ProtobufCMessage *message = NULL;
    enum ks_status st = ks_catalog_get(txn, KS_TABLE_META, ks_view_of_text(KS_CATALOG_ACCOUNT_KEY),
        &kstream__catalog__account_row__descriptor, &message, err);
    if (st)
        return st == KS_NOT_FOUND ? KS_OK : st;
    const Kstream__Catalog__AccountRow *row = (const Kstream__Catalog__AccountRow *)message;
    registry->account =
        (struct ks_account){.commitment_started_unix_ms = row->commitment_started_unix_ms,
            .commitment_earliest_end_unix_ms = row->commitment_earliest_end_unix_ms,
            .commitment_ended_unix_ms = row->commitment_ended_unix_ms};
    protobuf_c_message_free_unpacked(message, NULL);
    return KS_OK;
}
