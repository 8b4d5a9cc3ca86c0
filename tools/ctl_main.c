/* kstreamctl: reads the command line, runs one verb, prints its result or its error. */
#include "base/alloc.h"
#include "tools/ctl.h"
#include "tools/ctl_help.h"
#include "tools/ctl_time.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ADMIN_SOCKET "/run/kstream/admin.sock"
#define DEFAULT_ENDPOINT "127.0.0.1:7420"
#define CONNECT_MS 5000u
#define TIMEOUT_MS_MAX 86400000u
#define EXIT_INTERRUPTED 130

static const ctl_verb_fn verb_functions[] = {
#define CTL_VERB(id, name, summary) [CTL_VERB_##id] = ctl_run_##id,
#include "tools/ctl_commands.def"
};

/* ---- file descriptors, signals ---- */

/*
 * A standard stream that the caller has closed would become the next file or socket opened, and
 * `put` would read its own connection. /dev/null in the wrong direction takes its place: reading or
 * writing there fails as it should.
 */
static void std_fds_fill(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            KS_IGNORE(open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY),
                "it takes the lowest free number, which is fd");
}

static volatile sig_atomic_t interrupts;
static volatile sig_atomic_t is_catching;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    if (!is_catching || ++interrupts > 1)
        _exit(EXIT_INTERRUPTED);
}

void ctl_interrupt_catch(void)
{
    is_catching = 1;
}

bool ctl_is_interrupted(void)
{
    return interrupts > 0;
}

static void signals_install(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    /* A reader that went away is an error of write(), which ends the verb quietly. */
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

/* ---- what verbs use ---- */

enum kstream_status ctl_fail(
    struct kstream_error *err, enum kstream_status status, const char *format, ...)
{
    *err = (struct kstream_error)KSTREAM_ERROR_INIT;
    err->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return status;
}

enum kstream_status ctl_fail_from(
    struct kstream_error *err, enum ks_status status, const struct ks_error *from)
{
    if (!status)
        return KSTREAM_OK;
    KS_IGNORE(
        ctl_fail(err, (enum kstream_status)status, "%s", from->text), "filled, returned below");
    err->system_error = from->errnum;
    return (enum kstream_status)status;
}

enum kstream_status ctl_number(const struct ctl *ctl, enum ctl_option_id option,
    struct ctl_range range, uint64_t *out_number, struct kstream_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    return ctl_fail_from(
        err, ctl_args_number(&ctl->args, option, range, out_number, &inner), &inner);
}

static const char *resolve_endpoint(const struct ctl *ctl)
{
    const char *from_environment = getenv("KSTREAM_ENDPOINT");
    if (ctl_has(ctl, CTL_ENDPOINT))
        return ctl_text(ctl, CTL_ENDPOINT);
    if (from_environment && from_environment[0])
        return from_environment;
    return access(ADMIN_SOCKET, F_OK) == 0 ? "unix:" ADMIN_SOCKET : DEFAULT_ENDPOINT;
}

enum kstream_status ctl_connect(struct ctl *ctl, struct kstream_error *err)
{
    if (ctl->client)
        return KSTREAM_OK;
    struct kstream_config *config = kstream_config_new();
    if (!config)
        return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
    enum kstream_status st = kstream_config_set(config, "endpoint", ctl->endpoint, err);
    if (!st && ctl->timeout_ms) {
        char text[16];
        snprintf(text, sizeof text, "%u", ctl->timeout_ms);
        st = kstream_config_set(config, "request_timeout_ms", text, err);
    }
    if (st) {
        /* An address that cannot be one is the user's mistake, wherever it is noticed. */
        err->status = KSTREAM_USAGE;
        kstream_config_free(config);
        return KSTREAM_USAGE;
    }
    return kstream_connect(
        config, ctl->timeout_ms ? ctl->timeout_ms : CONNECT_MS, &ctl->client, err);
}

/* ---- the error ---- */

static const char *hint_of(const struct ctl *ctl, enum kstream_status status)
{
    if (ctl->hint)
        return ctl->hint;
    switch ((unsigned)status) {
    case KSTREAM_NOT_FOUND:
        return "kstreamctl list-streams shows the streams there are";
    case KSTREAM_EXISTS:
        return "choose another name, or use the stream that is there";
    case KSTREAM_UNAVAILABLE:
        return "is kstreamd running there? --endpoint or KSTREAM_ENDPOINT names another address";
    case KSTREAM_TIMEOUT:
        return "--timeout allows more time";
    case KSTREAM_PROTOCOL:
        return "is that the native port (7420 by default), and the broker as new as kstreamctl?";
    case KSTREAM_THROTTLED:
        return "try again a little later, or use more shards";
    case KSTREAM_STORAGE_FULL:
        return "free space on the broker's disk; it goes on by itself";
    case KSTREAM_EXPIRED_ITERATOR:
        return "iterators last five minutes: get a new one with kstreamctl get-shard-iterator";
    default:
        return NULL;
    }
}

/* The Kinesis exception where the broker would name one, else the name of the status. */
static const char *code_of(enum kstream_status status)
{
    const char *exception = kstream_status_exception(status);
    bool is_ours = status == KSTREAM_USAGE || status >= KSTREAM_FULL ||
                   strcmp(exception, "InternalFailure") == 0;
    return is_ours && status != KSTREAM_INTERNAL ? kstream_status_name(status) : exception;
}

/* NULL: out of memory. */
static json_t *error_to_json(
    const char *operation, const struct kstream_error *err, const char *hint)
{
    char request[24];
    snprintf(request, sizeof request, "%llu", (unsigned long long)err->request_id);
    return json_pack("{s:{s:s, s:s, s:s, s:s?, s:s?}}", "error", "code", code_of(err->status),
        "operation", operation, "message", err->text[0] ? err->text : kstream_strerror(err->status),
        "hint", hint, "request_id", err->request_id ? request : NULL);
}

/*
 * An error is printed whole as long as the query does not ask for a part of it: "error.code".
 * False: this format has no form for errors, or there is no memory.
 */
static bool print_error(
    const struct ctl *ctl, const char *operation, const struct kstream_error *err, const char *hint)
{
    struct ctl_output output = ctl->output;
    bool is_json = output.format == CTL_OUTPUT_JSON || output.format == CTL_OUTPUT_NDJSON;
    bool is_asked = output.query && jmes_is_about(output.query, "error");
    if (!output.is_chosen || (!is_json && !is_asked))
        return false;
    if (!is_asked)
        output.query = NULL;
    json_t *error = error_to_json(operation, err, hint);
    bool is_printed = error && ctl_output_print(&output, error, NULL, stderr, NULL) == KS_OK;
    json_decref(error);
    return is_printed;
}

/* Prints and returns the exit code. */
static int report(const struct ctl *ctl, const struct kstream_error *err)
{
    const char *operation = ctl->args.verb ? ctl->args.verb->name : "usage";
    char usage_hint[80];
    const char *hint = hint_of(ctl, err->status);
    if (!hint && err->status == KSTREAM_USAGE) {
        snprintf(usage_hint, sizeof usage_hint, "kstreamctl %s%s--help",
            ctl->args.verb ? operation : "", ctl->args.verb ? " " : "");
        hint = usage_hint;
    }
    fflush(stdout);
    if (print_error(ctl, operation, err, hint))
        return kstream_status_exit_code(err->status);
    fprintf(stderr, "kstreamctl: %s%s%s", ctl->args.verb ? operation : "",
        ctl->args.verb ? ": " : "", err->text[0] ? err->text : kstream_strerror(err->status));
    if (err->status != KSTREAM_USAGE) {
        fprintf(stderr, " (code=%s", code_of(err->status));
        if (err->request_id)
            fprintf(stderr, " request=%llu", (unsigned long long)err->request_id);
        fputc(')', stderr);
    }
    fputc('\n', stderr);
    if (hint)
        fprintf(stderr, "hint: %s\n", hint);
    return kstream_status_exit_code(err->status);
}

/* ---- running ---- */

static size_t terminal_width(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        return 0;
    return size.ws_col;
}

static enum ks_status parse_query(struct ctl *ctl, struct ks_error *err)
{
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status st =
        jmes_parse(ks_view_of_text(ctl->args.values[CTL_QUERY]), &ctl->query, &inner);
    ctl->output.query = ctl->query;
    return st ? ks_fail(err, st, 0, "'--query': %s", inner.text) : KS_OK;
}

/* What the common options say. */
static enum ks_status prepare(struct ctl *ctl, struct ks_error *err)
{
    const struct ctl_args *args = &ctl->args;
    ctl->output.format = isatty(STDOUT_FILENO) ? CTL_OUTPUT_TABLE : CTL_OUTPUT_JSON;
    ctl->output.no_header = ctl_args_has(args, CTL_NO_HEADER);
    ctl->output.columns = args->values[CTL_COLUMNS];
    ctl->output.sort_by = args->values[CTL_SORT_BY];
    ctl->output.width = terminal_width();
    enum ks_status st = KS_OK;
    if (ctl_args_has(args, CTL_OUTPUT)) {
        st = ctl_output_format_from_text(args->values[CTL_OUTPUT], &ctl->output.format, err);
        ctl->output.is_chosen = !st;
    }
    if (!st && ctl_args_has(args, CTL_QUERY))
        st = parse_query(ctl, err);
    if (!st)
        st = ctl_output_check(&ctl->output, err);
    uint64_t timeout_ms = 0;
    if (!st && ctl_args_has(args, CTL_TIMEOUT)) {
        st = ctl_duration_from_text(args->values[CTL_TIMEOUT], &timeout_ms, err);
        if (!st && (timeout_ms == 0 || timeout_ms > TIMEOUT_MS_MAX))
            st = ks_fail(err, KS_USAGE, 0, "'--timeout %.40s': 1ms to 24h is needed",
                args->values[CTL_TIMEOUT]);
    }
    ctl->timeout_ms = (uint32_t)timeout_ms;
    ctl->endpoint = resolve_endpoint(ctl);
    return st;
}

/* Where only the list is shown, what stands around it is not. */
static void note_next_page(const struct ctl *ctl)
{
    const char *token = json_string_value(json_object_get(ctl->result, "NextToken"));
    if (token && ctl->list_member && ctl_output_shows_list(&ctl->output))
        fprintf(stderr, "There is more: --starting-token %s\n", token);
}

static int run_verb(struct ctl *ctl)
{
    struct kstream_error err = KSTREAM_ERROR_INIT;
    enum kstream_status st = verb_functions[ctl->args.verb->id](ctl, &err);
    if (st)
        err.status = st;
    int exit_code = 0;
    if (ctl->result) {
        struct ks_error print_err = KS_ERROR_INIT;
        enum ks_status print_st =
            ctl_output_print(&ctl->output, ctl->result, ctl->list_member, stdout, &print_err);
        if (print_st && !st)
            st = ctl_fail_from(&err, print_st, &print_err);
        if (print_st == KS_INVALID)
            ctl->hint = "only the query failed: what the command does is done";
        if (!print_st)
            note_next_page(ctl);
    }
    /* head(1) has read enough: that is no failure. */
    if (st == KSTREAM_IO && err.system_error == EPIPE)
        return 0;
    if (st)
        exit_code = report(ctl, &err);
    return ctl_is_interrupted() ? EXIT_INTERRUPTED : exit_code;
}

/* What --help asks about. */
static void print_help(const struct ctl_args *args)
{
    if (args->verb)
        ctl_help_verb(stdout, args->verb);
    else if (!args->noun || !ctl_help_topic(stdout, args->noun))
        ctl_help_overview(stdout);
}

int main(int argc, char **argv)
{
    std_fds_fill();
    signals_install();
    struct ctl ctl = {.client = NULL};
    struct ks_error usage = KS_ERROR_INIT;
    enum ks_status st = ctl_args_parse(argc, argv, &ctl.args, &usage);
    enum ks_status prepared = prepare(&ctl, st ? NULL : &usage);
    if (st || prepared) {
        struct kstream_error err = KSTREAM_ERROR_INIT;
        KS_IGNORE(ctl_fail_from(&err, st ? st : prepared, &usage), "reported below");
        return report(&ctl, &err);
    }
    if (ctl_args_has(&ctl.args, CTL_VERSION)) {
        printf("kstreamctl %s\n", kstream_version());
        return 0;
    }
    if (ctl_args_has(&ctl.args, CTL_HELP)) {
        print_help(&ctl.args);
        return 0;
    }
    int exit_code = run_verb(&ctl);
    json_decref(ctl.result);
    jmes_free(ctl.query);
    kstream_close(ctl.client);
    return exit_code;
}
