/* kstream-bench: how fast a broker takes records, hands them out, and answers. */
#include "base/alloc.h"
#include "tools/bench.h"
#include "tools/bench_program.h"
#include "tools/ctl_json.h"
#include "tools/ctl_output.h"
#include "tools/ctl_time.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_ENDPOINT "127.0.0.1:7420"
#define DEFAULT_STREAM "bench"
#define IN_FLIGHT_BYTES (16u << 20) /* fills the pipe: four blocks of the journal */
#define IN_FLIGHT_LEAST 1000u
#define KEYS_LEAST 1000u
#define KEYS_PER_SHARD 16u
#define LINGER_MS 5u

/* ---- options ---- */

/* A number of seconds or records, fractions allowed. */
static enum ks_status take_real(const struct cli_args *args, enum bench_option option, double max,
    double *number, struct ks_error *err)
{
    const char *text = args->values[option];
    if (!text)
        return KS_OK;
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value) || value < 0 || value > max)
        return ks_fail(err, KS_USAGE, 0, "'--%s %.40s': a number from 0 to %.0f is needed",
            bench_program.options[option].name, text, max);
    *number = value;
    return KS_OK;
}

static enum ks_status take_count(const struct cli_args *args, enum bench_option option,
    uint64_t max, uint64_t *number, struct ks_error *err)
{
    const struct cli_range range = {
        .name = bench_program.options[option].name, .min = 1, .max = max, .fallback = *number};
    return cli_number(args->values[option], &range, number, err);
}

static enum ks_status take_record_bytes(
    const struct cli_args *args, uint64_t *bytes, struct ks_error *err)
{
    const char *text = args->values[BENCH_OPTION_RECORD_BYTES];
    enum ks_status st = text ? ctl_size_from_text(text, bytes, err) : KS_OK;
    if (!st && *bytes > 10u << 20)
        st = ks_fail(err, KS_USAGE, 0, "'--record-bytes %.40s': at most 10MiB", text);
    return st;
}

/* What fits a run that nobody said more about. */
static void fill_defaults(
    const struct cli_args *args, enum bench_verb verb, struct bench_options *bench, uint64_t keys)
{
    uint64_t record = bench->record_bytes + 64u;
    if (bench->in_flight == 0 && verb == BENCH_VERB_LATENCY)
        bench->in_flight = 1;
    if (bench->in_flight == 0)
        bench->in_flight =
            ks_max_u64(IN_FLIGHT_BYTES / record / bench->connections, IN_FLIGHT_LEAST);
    bench->linger_ms = bench->in_flight == 1 ? 0 : LINGER_MS;
    bench->keys = keys ? keys : ks_max_u64(KEYS_LEAST, (uint64_t)bench->shards * KEYS_PER_SHARD);
    bench->endpoint = args->values[BENCH_OPTION_ENDPOINT];
    if (!bench->endpoint)
        bench->endpoint = getenv("KSTREAM_ENDPOINT");
    if (!bench->endpoint || !bench->endpoint[0])
        bench->endpoint = DEFAULT_ENDPOINT;
    bench->stream =
        args->values[BENCH_OPTION_STREAM] ? args->values[BENCH_OPTION_STREAM] : DEFAULT_STREAM;
}

static enum ks_status take_options(const struct cli_args *args, enum bench_verb verb,
    struct bench_options *bench, struct ks_error *err)
{
    uint64_t shards = 0;
    uint64_t connections = 1;
    uint64_t keys = 0;
    uint64_t pid = 0;
    uint64_t record_bytes = 1024;
    *bench = (struct bench_options){.seconds = 10, .warmup_seconds = 1};
    enum ks_status st = take_count(args, BENCH_OPTION_SHARDS, 100000, &shards, err);
    if (!st)
        st = take_count(args, BENCH_OPTION_CONNECTIONS, 100000, &connections, err);
    if (!st)
        st = take_count(args, BENCH_OPTION_IN_FLIGHT, 100000000, &bench->in_flight, err);
    if (!st)
        st = take_count(args, BENCH_OPTION_KEYS, 100000000, &keys, err);
    if (!st)
        st = take_count(args, BENCH_OPTION_SERVER_PID, INT32_MAX, &pid, err);
    if (!st)
        st = take_record_bytes(args, &record_bytes, err);
    if (!st)
        st = take_real(args, BENCH_OPTION_SECONDS, 86400, &bench->seconds, err);
    if (!st)
        st = take_real(args, BENCH_OPTION_WARMUP, 86400, &bench->warmup_seconds, err);
    if (!st)
        st = take_real(args, BENCH_OPTION_RATE, 1e9, &bench->rate, err);
    double timeout = 30;
    if (!st)
        st = take_real(args, BENCH_OPTION_TIMEOUT, 3600, &timeout, err);
    bench->timeout_ms = (uint32_t)ks_max_u64((uint64_t)(timeout * 1000), 1);
    if (!st && bench->seconds <= 0)
        st = ks_fail(err, KS_USAGE, 0, "'--seconds 0' measures nothing");
    bench->shards = (uint32_t)shards;
    bench->connections = (uint32_t)connections;
    bench->server_pid = (pid_t)pid;
    bench->record_bytes = (uint32_t)record_bytes;
    fill_defaults(args, verb, bench, keys);
    return st;
}

/* ---- the result ---- */

static json_t *rounded(double value, double scale)
{
    return json_real(round(value * scale) / scale);
}

static json_t *latency_us(const struct bench_result *result, unsigned permille)
{
    return rounded((double)bench_histogram_permille(&result->latency, permille) / 1000, 10);
}

static json_t *per_record(uint64_t ns, const struct bench_result *result)
{
    return rounded((double)ns / (double)result->records, 10);
}

static bool add_number(json_t *object, const char *name, uint64_t number)
{
    return ctl_json_add(object, name, json_integer((json_int_t)number));
}

static json_t *result_to_json(
    const struct bench_options *bench, enum bench_verb verb, const struct bench_result *result)
{
    json_t *object = json_object();
    bool is_fine = ctl_json_add(object, "verb", json_string(bench_program.verbs[verb].name)) &&
                   ctl_json_add(object, "stream", ctl_json_text(bench->stream)) &&
                   add_number(object, "shards", result->shards) &&
                   add_number(object, "connections", bench->connections);
    if (verb != BENCH_VERB_CONSUME)
        is_fine =
            is_fine && add_number(object, "record_bytes", bench->record_bytes) &&
            add_number(object, "in_flight", bench->in_flight) &&
            add_number(object, "keys", bench->keys) &&
            ctl_json_add(object, "rate", bench->rate > 0 ? json_real(bench->rate) : json_null());
    else
        is_fine = is_fine && add_number(object, "laps", result->laps);
    is_fine =
        is_fine && ctl_json_add(object, "seconds", rounded(result->seconds, 1000)) &&
        add_number(object, "records", result->records) &&
        ctl_json_add(
            object, "records_per_second", rounded((double)result->records / result->seconds, 1)) &&
        ctl_json_add(
            object, "bytes_per_second", rounded((double)result->bytes / result->seconds, 1)) &&
        ctl_json_add(object, "p50_us", latency_us(result, 500)) &&
        ctl_json_add(object, "p99_us", latency_us(result, 990)) &&
        ctl_json_add(object, "p999_us", latency_us(result, 999)) &&
        ctl_json_add(object, "max_us", rounded((double)result->latency.max / 1000, 10)) &&
        ctl_json_add(object, "server_cpu_ns_per_record",
            result->has_server_cpu ? per_record(result->server_cpu_ns, result) : json_null()) &&
        ctl_json_add(object, "client_cpu_ns_per_record", per_record(result->client_cpu_ns, result));
    if (is_fine)
        return object;
    json_decref(object);
    return NULL;
}

/* ---- errors ---- */

static int report_error(bool is_json, const struct cli_args *args, const struct ks_error *error)
{
    const struct ks_status_info *info = ks_status_info(error->status);
    const char *verb = args->verb ? args->verb->name : "usage";
    if (is_json) {
        json_t *whole = json_pack("{s:{s:s, s:s, s:s}}", "error", "code", info->name, "operation",
            verb, "message", error->text);
        if (whole && json_dumpf(whole, stderr, JSON_INDENT(4)) == 0)
            fputc('\n', stderr);
        json_decref(whole);
        return info->exit_code;
    }
    fprintf(stderr, "kstream-bench: %s: %s\n", verb, error->text);
    if (error->status == KS_USAGE)
        fprintf(stderr, "hint: kstream-bench %s%s--help\n", args->verb ? verb : "",
            args->verb ? " " : "");
    else if (error->status == KS_NOT_FOUND && args->verb && !args->values[BENCH_OPTION_SHARDS])
        fputs("hint: --shards N makes the stream\n", stderr);
    else if (error->status == KS_UNAVAILABLE)
        fputs("hint: --endpoint or KSTREAM_ENDPOINT names the broker\n", stderr);
    return info->exit_code;
}

/* ---- main ---- */

static enum ks_status prepare(
    const struct cli_args *args, struct ctl_output *output, bool *out_is_json, struct ks_error *err)
{
    output->format = isatty(STDOUT_FILENO) ? CTL_OUTPUT_TABLE : CTL_OUTPUT_JSON;
    if (!args->values[BENCH_OPTION_OUTPUT])
        return KS_OK;
    enum ks_status st =
        ctl_output_format_from_text(args->values[BENCH_OPTION_OUTPUT], &output->format, err);
    *out_is_json = !st && output->format == CTL_OUTPUT_JSON;
    return st;
}

static enum ks_status run(
    const struct cli_args *args, const struct ctl_output *output, struct ks_error *err)
{
    enum bench_verb verb = (enum bench_verb)(args->verb - bench_program.verbs);
    struct bench_options bench;
    if (args->operand_count > 0)
        return ks_fail(err, KS_USAGE, 0, "'%.60s' is one word too many", args->operands[0]);
    enum ks_status st = take_options(args, verb, &bench, err);
    if (st)
        return st;
    KS_AUTO_FREE struct bench_result *result = ks_zalloc(sizeof *result);
    if (!result)
        return ks_fail(err, KS_NO_MEMORY, 0, "no memory for the result");
    st = verb == BENCH_VERB_CONSUME ? bench_consume(&bench, result, err)
                                    : bench_produce(&bench, result, err);
    if (st)
        return st;
    json_t *object = result_to_json(&bench, verb, result);
    st = object ? ctl_output_print(output, object, NULL, stdout, err)
                : ks_fail(err, KS_NO_MEMORY, 0, "no memory for the result");
    json_decref(object);
    return st;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    struct cli_args args;
    struct ctl_output output = {.width = 0};
    struct ks_error error = KS_ERROR_INIT;
    bool is_json = false;
    enum ks_status st = cli_parse(&bench_program, argc, argv, &args, &error);
    if (!st)
        st = prepare(&args, &output, &is_json, &error);
    if (!st && args.wants_version) {
        printf("kstream-bench %s\n", kstream_version());
        return 0;
    }
    if (!st && args.wants_help) {
        cli_help_print(&bench_program, args.verb, stdout);
        return 0;
    }
    if (!st)
        st = run(&args, &output, &error);
    if (!st)
        return 0;
    error.status = st;
    return report_error(is_json, &args, &error);
}
