/* kstream-inspect: a stopped broker's data directory, read and checked; nothing in it is changed.
 */
#include "proto/sequence.h"
#include "tools/ctl_output.h"
#include "tools/inspect.h"
#include "tools/inspect_program.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define EXIT_DAMAGE 9
#define VERSION_TEXT "kstream-inspect " KS_VERSION "\n"

/* ---- errors ---- */

struct output {
    struct ctl_output ctl;
    bool is_json_chosen;
};

static int report_error(
    const struct output *output, const struct cli_args *args, const struct ks_error *error)
{
    const struct ks_status_info *info = ks_status_info(error->status);
    fflush(stdout);
    if (error->status == KS_IO && error->errnum == EPIPE)
        return 0; /* head(1) has read enough */
    if (output->is_json_chosen) {
        json_t *whole = json_pack("{s:{s:s, s:s, s:s}}", "error", "code", info->name, "operation",
            args->verb ? args->verb->name : "usage", "message", error->text);
        if (whole && json_dumpf(whole, stderr, JSON_INDENT(4)) == 0)
            fputc('\n', stderr);
        json_decref(whole);
        return info->exit_code;
    }
    fprintf(stderr, "kstream-inspect: %s%s%s\n", args->verb ? args->verb->name : "",
        args->verb ? ": " : "", error->text);
    if (error->status == KS_USAGE)
        fprintf(stderr, "hint: kstream-inspect %s%s--help\n", args->verb ? args->verb->name : "",
            args->verb ? " " : "");
    if (error->status == KS_IN_USE)
        fputs("hint: stop the broker, or inspect a copy (a snapshot of the file system); a sealed "
              "segment can be read by its path at any time\n",
            stderr);
    return info->exit_code;
}

/* One line each, for verbs whose result is something else. */
static void print_findings(const struct inspect_report *report)
{
    for (size_t i = 0; i < report->finding_count; i++) {
        const struct inspect_finding *finding = &report->findings[i];
        if (finding->severity == INSPECT_NOTE)
            continue;
        fprintf(stderr, "kstream-inspect: damage: %s", finding->where);
        if (finding->bytes > 0)
            fprintf(stderr, " offset %llu", (unsigned long long)finding->offset);
        if (finding->shard && finding->shard->stream)
            fprintf(stderr, ", stream '%s' shard %u", finding->shard->stream->name,
                finding->shard->index);
        if (finding->first_sequence > 0)
            fprintf(stderr, ", sequences %llu to %llu", (unsigned long long)finding->first_sequence,
                (unsigned long long)finding->last_sequence);
        fprintf(stderr, ": %s\n", finding->text);
    }
}

/* ---- the verbs ---- */

static const char *path_of(const struct cli_args *args, size_t index)
{
    return index < args->operand_count ? args->operands[index] : NULL;
}

static enum ks_status run_verify(const struct cli_args *args, const struct output *output,
    struct inspect_report *report, struct ks_error *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const struct cli_range range = {
        .name = "threads", .min = 1, .max = 64, .fallback = cores > 0 ? (uint64_t)cores : 1};
    uint64_t threads = 0;
    enum ks_status st = cli_number(args->values[INSPECT_OPTION_THREADS], &range, &threads, err);
    if (st)
        return st;
    const struct inspect_verify_options verify = {.threads = (unsigned)threads,
        .has_bar = isatty(STDERR_FILENO),
        .is_quiet = args->values[INSPECT_OPTION_QUIET] != NULL};
    json_t *result = NULL;
    st = inspect_verify(path_of(args, 0), &verify, report, &result, err);
    if (result) {
        enum ks_status print_st = ctl_output_print(&output->ctl, result, NULL, stdout, err);
        st = st ? st : print_st;
    }
    json_decref(result);
    return st;
}

static enum ks_status run_list(const struct cli_args *args, const struct output *output,
    struct inspect_report *report, struct ks_error *err)
{
    json_t *result = NULL;
    enum ks_status st = inspect_list(path_of(args, 1), path_of(args, 0), report, &result, err);
    if (!st)
        st = ctl_output_print(&output->ctl, result, NULL, stdout, err);
    json_decref(result);
    print_findings(report);
    return st;
}

static enum ks_status take_segment(
    const char *text, struct inspect_dump_options *dump, struct ks_error *err)
{
    char *end = NULL;
    dump->has_segment = text != NULL;
    if (!text)
        return KS_OK;
    dump->segment = strtoull(text, &end, 16);
    return *end == '\0' && end != text && strlen(text) <= 16
               ? KS_OK
               : ks_fail(err, KS_USAGE, 0, "'--segment %.40s' is no id of a segment", text);
}

static enum ks_status run_dump(const struct cli_args *args, const struct output *output,
    struct inspect_report *report, struct ks_error *err)
{
    struct inspect_dump_options dump = {.stream = args->values[INSPECT_OPTION_STREAM],
        .is_json = output->ctl.format == CTL_OUTPUT_JSON,
        .has_header = output->ctl.format == CTL_OUTPUT_TABLE && !output->ctl.no_header};
    const struct cli_range from = {.name = "from-sequence", .max = UINT64_MAX};
    const struct cli_range limit = {
        .name = "limit", .min = 1, .max = UINT64_MAX, .fallback = UINT64_MAX};
    const char *shard = args->values[INSPECT_OPTION_SHARD];
    dump.has_shard = shard != NULL;
    if (shard && ks_shard_id_from_text(ks_view_of_text(shard), &dump.shard))
        return ks_fail(err, KS_USAGE, 0, "'--shard %.60s' is not a shard", shard);
    enum ks_status st =
        cli_number(args->values[INSPECT_OPTION_FROM], &from, &dump.from_sequence, err);
    if (!st)
        st = cli_number(args->values[INSPECT_OPTION_LIMIT], &limit, &dump.limit, err);
    if (!st)
        st = take_segment(args->values[INSPECT_OPTION_SEGMENT], &dump, err);
    if (!st)
        st = inspect_dump(path_of(args, 0), &dump, report, err);
    print_findings(report);
    return st;
}

/* ---- main ---- */

static enum ks_status prepare(
    const struct cli_args *args, struct output *output, struct ks_error *err)
{
    struct winsize size;
    output->ctl.format = isatty(STDOUT_FILENO) ? CTL_OUTPUT_TABLE : CTL_OUTPUT_JSON;
    if (args->verb == &inspect_program.verbs[INSPECT_VERB_DUMP])
        output->ctl.format = CTL_OUTPUT_TEXT;
    output->ctl.no_header = args->values[INSPECT_OPTION_NO_HEADER] != NULL;
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
        output->ctl.width = size.ws_col;
    if (!args->values[INSPECT_OPTION_OUTPUT])
        return KS_OK;
    enum ks_status st =
        ctl_output_format_from_text(args->values[INSPECT_OPTION_OUTPUT], &output->ctl.format, err);
    output->is_json_chosen = !st && output->ctl.format == CTL_OUTPUT_JSON;
    return st;
}

static enum ks_status run(const struct cli_args *args, const struct output *output,
    struct inspect_report *report, struct ks_error *err)
{
    size_t wanted = args->verb == &inspect_program.verbs[INSPECT_VERB_LIST] ? 2 : 1;
    if (args->operand_count != wanted)
        return ks_fail(err, KS_USAGE, 0, "%s needs %s", args->verb->name, args->verb->arguments);
    switch ((enum inspect_verb)(args->verb - inspect_program.verbs)) {
    case INSPECT_VERB_VERIFY:
        return run_verify(args, output, report, err);
    case INSPECT_VERB_LIST:
        return run_list(args, output, report, err);
    case INSPECT_VERB_DUMP:
        return run_dump(args, output, report, err);
    }
    return KS_OK;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is an error of write() */
    struct cli_args args;
    struct output output = {.is_json_chosen = false};
    struct ks_error error = KS_ERROR_INIT;
    enum ks_status st = cli_parse(&inspect_program, argc, argv, &args, &error);
    if (!st)
        st = prepare(&args, &output, &error);
    if (!st && args.wants_version) {
        fputs(VERSION_TEXT, stdout);
        return 0;
    }
    if (!st && args.wants_help) {
        cli_help_print(&inspect_program, args.verb, stdout);
        return 0;
    }
    struct inspect_report report;
    inspect_report_init(&report);
    if (!st)
        st = run(&args, &output, &report, &error);
    int exit_code = report.damages > 0 ? EXIT_DAMAGE : 0;
    if (st) {
        error.status = st;
        exit_code = report_error(&output, &args, &error);
    }
    inspect_report_fini(&report);
    return exit_code;
}
