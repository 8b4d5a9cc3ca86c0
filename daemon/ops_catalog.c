/* BackupCatalog: a copy of the catalog, now. */
#include "daemon/catalog_copy.h"
#include "daemon/ops.h"

struct backup_work {
    struct ks_catalog_copy copy;
    enum ks_status status;
    struct ks_error error;
};

static void backup_run(struct ks_job *job)
{
    struct ks_call *call = KS_CONTAINER_OF(job, struct ks_call, job);
    struct backup_work *work = call->work;
    work->status = ks_catalog_copy_make(call->server->copies, &work->copy, &work->error);
}

static void backup_delivered(struct ks_mail *mail)
{
    struct ks_call *call = KS_CONTAINER_OF(mail, struct ks_call, job.mail);
    const struct backup_work *work = call->work;
    Kstream__BackupCatalogResponse *response = ks_arena_alloc(&call->arena, sizeof(*response));
    if (work->status) {
        ks_call_fail(call, work->status, &work->error);
        return;
    }
    if (response) {
        kstream__backup_catalog_response__init(response);
        response->path = (char *)(uintptr_t)work->copy.path;
        response->bytes = work->copy.bytes;
        response->created_unix_ms = work->copy.created_unix_ms;
        response->kept = work->copy.kept;
        ks_call_finish(call, &response->base);
    } else {
        ks_call_fail_memory(call);
    }
}

void ks_op_backup_catalog(struct ks_call *call, const ProtobufCMessage *message)
{
    (void)message;
    struct ks_error error = KS_ERROR_INIT;
    struct backup_work *work = ks_arena_alloc(&call->arena, sizeof(*work));
    if (!work) {
        ks_call_fail_memory(call);
        return;
    }
    *work = (struct backup_work){.error = KS_ERROR_INIT};
    call->work = work;
    call->job.mail.deliver = backup_delivered;
    call->job.home = &call->loop->mailbox;
    call->job.run = backup_run;
    enum ks_status st = ks_readers_submit(call->server->readers, &call->job, &error);
    if (st)
        ks_call_fail(call, st, &error);
}
