/* doctor: the facts, from the broker or about a directory without one. */
#include "base/host.h"
#include "proto/host_facts.h"
#include "tools/ctl_doctor.h"
#include "tools/ctl_native.h"

static enum kstream_status give(
    struct ctl *ctl, const struct ctl_doctor_facts *facts, struct kstream_error *err)
{
    struct ctl_doctor_counts counts;
    ctl->result = ctl_doctor_judge(facts, &counts);
    if (!ctl->result)
        return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
    ctl->list_member = "checks";
    ctl->has_bad_news = counts.problems > 0;
    return KSTREAM_OK;
}

static enum kstream_status examine_directory(
    struct ctl *ctl, const char *directory, struct kstream_error *err)
{
    struct ks_host_facts facts;
    Kstream__HostFacts host;
    Kstream__HostSync sync;
    ks_host_look(directory, true, &facts);
    ctl->hint = "--data-dir is what kstreamd was started with";
    if (!facts.is_directory)
        return ctl_fail(err, KSTREAM_NOT_FOUND, "'%.160s' is no directory", directory);
    ks_host_facts_message(&facts, &host, &sync);
    return give(ctl, &(struct ctl_doctor_facts){.host = &host, .directory = directory}, err);
}

static enum kstream_status examine_broker(struct ctl *ctl, struct kstream_error *err)
{
    Kstream__DescribeHostRequest request = KSTREAM__DESCRIBE_HOST_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    struct ks_arena arena;
    request.has_try_sync = true;
    request.try_sync = true;
    ks_arena_init(&arena, CTL_ANSWER_BYTES_MAX);
    enum kstream_status st =
        ctl_call(ctl, KS_OP_DESCRIBE_HOST, &request.base, &arena, &message, err);
    if (!st) {
        const Kstream__DescribeHostResponse *broker = (const void *)message;
        const struct ctl_doctor_facts facts = {
            .host = broker->host, .broker = broker, .directory = broker->data_dir};
        st = give(ctl, &facts, err);
    } else if (st == KSTREAM_UNAVAILABLE) {
        ctl->hint = "kstreamctl doctor --data-dir DIR looks at the directory of a broker that does "
                    "not run; kstreamd --check-config at its settings; its log says why it stopped";
    }
    ks_arena_fini(&arena);
    return st;
}

enum kstream_status ctl_run_doctor(struct ctl *ctl, struct kstream_error *err)
{
    const char *directory = ctl_text(ctl, CTL_DATA_DIR);
    return directory ? examine_directory(ctl, directory, err) : examine_broker(ctl, err);
}
