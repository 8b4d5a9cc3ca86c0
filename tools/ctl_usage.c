#include "tools/ctl_usage.h"

#include "base/defs.h"
#include "tools/ctl_json.h"
#include "tools/ctl_time.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MONTH_S (30.0 * 86400)
#define GB 1e9
#define LINE_BYTES_MAX 256
/* What Kinesis allows a shard; a stream is meant to need no more than half of that. */
#define SHARD_RECORDS_PER_S 1000.0
#define SHARD_BYTES_PER_S 1048576.0
#define SHARD_SHARE 0.5
/* Less has been seen too briefly for advice. */
#define TIP_WINDOW_MS 60000u
#define SMALL_RECORD_BYTES 200.0
#define HOURS_MIN 24

/* ---- prices ---- */

void ctl_prices_default(struct ctl_prices *out)
{
    *out = (struct ctl_prices){
        .stored_gb_month = 0.00025, .thousand_records = 0.0000003, .currency = "USD"};
}

static char *trimmed(char *text)
{
    text += strspn(text, " \t");
    size_t bytes = strlen(text);
    while (bytes > 0 && strchr(" \t\r\n", text[bytes - 1]))
        text[--bytes] = '\0';
    return text;
}

static bool price_from_text(const char *text, double *out)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < 0)
        return false;
    *out = value;
    return true;
}

static bool price_set(struct ctl_prices *prices, const char *name, const char *value)
{
    if (strcmp(name, "stored_gb_month") == 0)
        return price_from_text(value, &prices->stored_gb_month);
    if (strcmp(name, "thousand_records") == 0)
        return price_from_text(value, &prices->thousand_records);
    if (strcmp(name, "currency") != 0 || !value[0] || strlen(value) >= sizeof prices->currency ||
        !ctl_is_plain_text(value, strlen(value)))
        return false;
    snprintf(prices->currency, sizeof prices->currency, "%s", value);
    return true;
}

enum ks_status ctl_prices_load(const char *path, struct ctl_prices *prices, struct ks_error *err)
{
    char line[LINE_BYTES_MAX];
    unsigned number = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return ks_fail(err, KS_USAGE, errno, "cannot open '%.160s': %s", path, strerror(errno));
    enum ks_status st = KS_OK;
    while (!st && fgets(line, sizeof line, file)) {
        number++;
        line[strcspn(line, "#\n")] = '\0';
        char *equals = strchr(line, '=');
        if (equals)
            *equals = '\0';
        char *name = trimmed(line);
        if (!name[0] && !equals)
            continue;
        if (!equals || !price_set(prices, name, trimmed(equals + 1)))
            st = ks_fail(err, KS_USAGE, 0,
                "'%.120s', line %u: stored_gb_month, thousand_records (numbers) or currency is "
                "needed, with a '=' and a value",
                path, number);
    }
    fclose(file);
    return st;
}

/* ---- a stream ---- */

struct figures {
    const Kstream__StreamUsage *usage;
    const Kstream__StreamTraffic *traffic; /* NULL: not known */
    uint64_t window_ms;
    double in_records_per_s;
    double in_bytes_per_s;
    double out_records_per_s;
    double out_bytes_per_s;
    double stored_cost;
    double records_cost;
};

static void rates_of(struct figures *figures)
{
    const Kstream__StreamTraffic *traffic = figures->traffic;
    double seconds = (double)KS_MAX(figures->window_ms, 1000u) / 1000;
    if (!traffic)
        return;
    figures->in_records_per_s = (double)traffic->incoming_records / seconds;
    figures->in_bytes_per_s = (double)traffic->incoming_bytes / seconds;
    figures->out_records_per_s = (double)traffic->outgoing_records / seconds;
    figures->out_bytes_per_s = (double)traffic->outgoing_bytes / seconds;
}

static struct figures figures_of(
    const Kstream__StreamUsage *usage, uint64_t window_ms, const struct ctl_prices *prices)
{
    struct figures figures = {.usage = usage, .traffic = usage->traffic, .window_ms = window_ms};
    rates_of(&figures);
    figures.stored_cost = (double)usage->stored_bytes / GB * prices->stored_gb_month;
    figures.records_cost = figures.in_records_per_s * MONTH_S / 1000 * prices->thousand_records;
    return figures;
}

/* How many shards are enough for what comes in. */
static uint32_t shards_enough(const struct figures *figures)
{
    double by_records = figures->in_records_per_s / (SHARD_RECORDS_PER_S * SHARD_SHARE);
    double by_bytes = figures->in_bytes_per_s / (SHARD_BYTES_PER_S * SHARD_SHARE);
    double enough = ceil(fmax(by_records, by_bytes));
    return enough < 1 ? 1 : enough > 1e6 ? 1000000 : (uint32_t)enough;
}

static bool tip_of_shards(const struct figures *figures, char *text, size_t bytes)
{
    const Kstream__StreamUsage *usage = figures->usage;
    uint32_t enough = shards_enough(figures);
    if (strcmp(usage->stream_mode, "PROVISIONED") != 0)
        return false;
    if (usage->open_shards < enough)
        snprintf(text, bytes,
            "%.0f records and %.0f KiB a second for %u shards: kstreamctl shard count %s %u",
            figures->in_records_per_s, figures->in_bytes_per_s / 1024, usage->open_shards,
            usage->stream_name, enough);
    else if (usage->open_shards >= 2 * enough)
        snprintf(text, bytes,
            "%u shards for %.1f records and %.1f KiB a second, %u would do: kstreamctl shard "
            "count %s %u",
            usage->open_shards, figures->in_records_per_s, figures->in_bytes_per_s / 1024, enough,
            usage->stream_name, enough);
    else
        return false;
    return true;
}

static bool tip_of_readers(const struct figures *figures, char *text, size_t bytes)
{
    const Kstream__StreamUsage *usage = figures->usage;
    char size[32];
    if (figures->traffic->outgoing_records > 0 || usage->retention_period_hours <= HOURS_MIN ||
        usage->records == 0)
        return false;
    ctl_size_to_text(usage->stored_bytes, size, sizeof size);
    snprintf(text, bytes,
        "nobody has read it, and it holds %s for up to %d h: a retention of 24 h would hold about "
        "a %dth of what comes in",
        size, usage->retention_period_hours, usage->retention_period_hours / HOURS_MIN);
    return true;
}

static bool tip_of_throttling(const struct figures *figures, char *text, size_t bytes)
{
    const Kstream__StreamTraffic *traffic = figures->traffic;
    if (traffic->throttled_records == 0)
        return false;
    snprintf(text, bytes,
        "%llu records were refused for a while: kstreamctl doctor tells whether disk or memory is "
        "too small",
        (unsigned long long)traffic->throttled_records);
    return true;
}

/* Records cost by their number, so small ones are better put together. */
static bool tip_of_small_records(const struct figures *figures, char *text, size_t bytes)
{
    const Kstream__StreamTraffic *traffic = figures->traffic;
    if (traffic->incoming_records == 0 || figures->records_cost <= figures->stored_cost)
        return false;
    double average = (double)traffic->incoming_bytes / (double)traffic->incoming_records;
    if (average >= SMALL_RECORD_BYTES)
        return false;
    snprintf(text, bytes,
        "records of %.0f bytes on average cost more by their number than by their size: ten lines "
        "in a record would save nine tenths of that",
        average);
    return true;
}

static bool tip_of_emptiness(const struct figures *figures, char *text, size_t bytes)
{
    const Kstream__StreamUsage *usage = figures->usage;
    if (usage->records > 0 || figures->traffic->incoming_records > 0)
        return false;
    snprintf(text, bytes, "it is empty and nothing comes in: kstreamctl delete-stream %s",
        usage->stream_name);
    return true;
}

/* NULL: out of memory. */
static json_t *tips_of(const struct figures *figures)
{
    static bool (*const tips[])(const struct figures *figures, char *text, size_t bytes) = {
        tip_of_throttling, tip_of_emptiness, tip_of_shards, tip_of_readers, tip_of_small_records};
    json_t *list = json_array();
    if (!list || !figures->traffic || figures->window_ms < TIP_WINDOW_MS)
        return list;
    for (size_t i = 0; i < KS_COUNT_OF(tips); i++) {
        char text[400];
        if (tips[i](figures, text, sizeof text) && json_array_append_new(list, json_string(text))) {
            json_decref(list);
            return NULL;
        }
        if (tips[i] == tip_of_emptiness && json_array_size(list) > 0 &&
            figures->usage->records == 0 && figures->traffic->incoming_records == 0)
            break; /* nothing else is worth a word then */
    }
    return list;
}

/* Three places are enough for a rate. */
static json_t *rate_to_json(const struct figures *figures, double rate)
{
    return figures->traffic ? json_real(round(rate * 1000) / 1000) : json_null();
}

static json_t *money_to_json(double amount)
{
    return json_real(round(amount * 1e10) / 1e10);
}

json_t *ctl_usage_row(const Kstream__StreamUsage *usage, uint64_t window_ms,
    const struct ctl_prices *prices, struct ctl_usage_totals *totals)
{
    struct figures figures = figures_of(usage, window_ms, prices);
    totals->streams++;
    totals->records += usage->records;
    totals->stored_bytes += usage->stored_bytes;
    totals->stored_cost_month += figures.stored_cost;
    totals->records_cost_month += figures.records_cost;
    json_t *tips = tips_of(&figures);
    json_t *first = json_array_get(tips, 0);
    json_t *oldest = usage->has_oldest_unix_ms ? ctl_json_time(usage->oldest_unix_ms) : json_null();
    return json_pack("{s:s, s:i, s:i, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:O?, s:o}",
        "stream_name", usage->stream_name, "shards", (int)usage->open_shards, "retention_hours",
        (int)usage->retention_period_hours, "records", (json_int_t)usage->records, "stored_bytes",
        (json_int_t)usage->stored_bytes, "oldest_time", oldest, "in_records_per_s",
        rate_to_json(&figures, figures.in_records_per_s), "in_bytes_per_s",
        rate_to_json(&figures, figures.in_bytes_per_s), "out_records_per_s",
        rate_to_json(&figures, figures.out_records_per_s), "out_bytes_per_s",
        rate_to_json(&figures, figures.out_bytes_per_s), "cost_month",
        money_to_json(figures.stored_cost + figures.records_cost), "tip", first, "tips", tips);
}

json_t *ctl_usage_totals_to_json(
    const struct ctl_usage_totals *totals, const struct ctl_prices *prices)
{
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:s}", "streams", (json_int_t)totals->streams,
        "records", (json_int_t)totals->records, "stored_bytes", (json_int_t)totals->stored_bytes,
        "cost_month_stored", money_to_json(totals->stored_cost_month), "cost_month_records",
        money_to_json(totals->records_cost_month), "cost_month",
        money_to_json(totals->stored_cost_month + totals->records_cost_month), "currency",
        prices->currency);
}
