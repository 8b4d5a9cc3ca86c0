/*
 * kstreamctl, inside: what a verb is given and how it gives back its result. A verb's function
 * checks its options before it connects, and leaves printing of result and error to ctl_main.
 * Threads: none; the process runs one verb.
 */
#ifndef KS_TOOLS_CTL_H
#define KS_TOOLS_CTL_H

#include "client/kstream.h"
#include "proto/limits.h"
#include "tools/ctl_args.h"
#include "tools/ctl_json.h"
#include "tools/ctl_output.h"
#include "tools/ctl_progress.h"
#include "tools/ctl_settings.h"

#include <signal.h>

struct ctl {
    struct ctl_args args;
    struct ctl_output output;
    struct jmes *query;           /* what output.query is; NULL: none */
    struct ctl_settings settings; /* what args has from files */
    json_t *input; /* --cli-input-json, and texts made of it: args points into both */
    json_t *input_texts;
    bool has_stderr_color;
    bool is_quiet;                   /* nothing on standard error but errors */
    enum ctl_progress_mode progress; /* none when quiet */
    const char *endpoint;            /* resolved, for messages */
    const char *stream;      /* as libkstream takes it: --stream-arn or --stream-name; NULL: none */
    const char *stream_name; /* its name; of --stream-id alone: the id until ctl_connect */
    char stream_texts[2][KS_STREAM_NAME_BYTES_MAX + 1]; /* of --stream-id: "id:...", the name */
    uint32_t timeout_ms;                                /* 0: the library's default */
    struct kstream_client *client;                      /* NULL until ctl_connect */
    json_t *result;          /* the verb's, printed by ctl_main; NULL: nothing to print */
    const char *list_member; /* see ctl_output_print */
    bool is_refused;         /* the error is what --dry-run found: see ctl_dry_run.h */
    bool has_bad_news;       /* the result itself says what is wrong: exit code 3 */
    const char *hint;        /* for the error, when the verb knows better than its status */
};

typedef enum kstream_status (*ctl_verb_fn)(struct ctl *ctl, struct kstream_error *err);

/* One per verb: ctl_run_create_stream(ctl, err)... */
#define CTL_VERB(id, name, summary)                                                                \
    enum kstream_status ctl_run_##id(struct ctl *ctl, struct kstream_error *err);
#include "tools/ctl_commands.def"

/*
 * Fills ctl from its args, whose gaps are filled from the environment and from files first. Errors:
 * KS_USAGE, KS_NO_MEMORY; ctl->output says all the same how to print the error.
 */
enum ks_status ctl_setup(struct ctl *ctl, struct ks_error *err) KS_MUST_USE;
/* Where settings come from. *owned_path is to be freed behind the last use of out. */
void ctl_setup_sources(const struct ctl *ctl, char **owned_path, struct ctl_settings_sources *out);
/* Prints the error and returns the exit code. */
int ctl_report(const struct ctl *ctl, const struct kstream_error *err);

/* Makes ctl->client, once. Errors: those of kstream_connect. */
enum kstream_status ctl_connect(struct ctl *ctl, struct kstream_error *err) KS_MUST_USE;
/* In limit_ms at most. After a failure it may be called again. */
enum kstream_status ctl_connect_within(
    struct ctl *ctl, uint32_t limit_ms, struct kstream_error *err) KS_MUST_USE;

/* Fills err and returns status. */
enum kstream_status ctl_fail(
    struct kstream_error *err, enum kstream_status status, const char *format, ...) KS_PRINTF(3, 4);
/* From a function of the layers below; KS_OK stays KSTREAM_OK. */
enum kstream_status ctl_fail_from(
    struct kstream_error *err, enum ks_status status, const struct ks_error *from);

/* ctl_args_number with the errors of this layer. */
enum kstream_status ctl_number(const struct ctl *ctl, enum ctl_option_id option,
    struct ctl_range range, uint64_t *out_number, struct kstream_error *err) KS_MUST_USE;

/* Whether an answer that is no data, such as a help, may stay text: no form is asked for. */
static inline bool ctl_wants_prose(const struct ctl *ctl)
{
    return !ctl->output.query && !ctl_args_is_given(&ctl->args, CTL_OUTPUT);
}

/* The text of an option, NULL when it is not given. */
static inline const char *ctl_text(const struct ctl *ctl, enum ctl_option_id option)
{
    return ctl->args.values[option];
}

static inline bool ctl_has(const struct ctl *ctl, enum ctl_option_id option)
{
    return ctl_args_has(&ctl->args, option);
}

/*
 * Calls each for every shard of the stream, open and closed, in the order of their ids; pages are
 * fetched as needed. each returns false when it has no memory. Errors: those of
 * kstream_list_shards.
 */
typedef bool (*ctl_shard_fn)(const struct kstream_shard *shard, void *arg);
enum kstream_status ctl_each_shard(
    struct ctl *ctl, ctl_shard_fn each, void *arg, struct kstream_error *err) KS_MUST_USE;

/*
 * SIGINT ends the process with code 130 at once, unless a verb has called ctl_interrupt_catch: then
 * the first one only makes ctl_is_interrupted true.
 */
void ctl_interrupt_catch(void);
bool ctl_is_interrupted(void);

#endif
