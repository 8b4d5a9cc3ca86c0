#include "tests/unit/ks_check.h"
#include "tools/ctl_usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOUR_MS 3600000u

struct sample {
    Kstream__StreamUsage usage;
    Kstream__StreamTraffic traffic;
};

static void sample_init(struct sample *sample, uint32_t shards)
{
    static char name[] = "s";
    static char mode[] = "PROVISIONED";
    kstream__stream_usage__init(&sample->usage);
    kstream__stream_traffic__init(&sample->traffic);
    sample->usage.stream_name = name;
    sample->usage.stream_mode = mode;
    sample->usage.open_shards = shards;
    sample->usage.retention_period_hours = 24;
    sample->usage.records = 1;
    sample->usage.stored_bytes = 1000000000;
    sample->usage.traffic = &sample->traffic;
    sample->traffic.outgoing_records = 1;
}

static json_t *row_of(const struct sample *sample, uint64_t window_ms, double *out_cost)
{
    struct ctl_prices prices;
    struct ctl_usage_totals totals = {.streams = 0};
    ctl_prices_default(&prices);
    json_t *row = ctl_usage_row(&sample->usage, window_ms, &prices, &totals);
    ck_assert_ptr_nonnull(row);
    *out_cost = totals.stored_cost_month + totals.records_cost_month;
    return row;
}

/* The first tip; "": none. To be freed. */
static char *tip_of(const struct sample *sample, uint64_t window_ms)
{
    double cost = 0;
    json_t *row = row_of(sample, window_ms, &cost);
    const char *tip = json_string_value(json_object_get(row, "tip"));
    char *copy = strdup(tip ? tip : "");
    json_decref(row);
    return copy;
}

static void expect_tip(const struct sample *sample, const char *part)
{
    char *tip = tip_of(sample, HOUR_MS);
    ck_assert_msg(part ? strstr(tip, part) != NULL : !tip[0], "'%s'", tip);
    free(tip);
    tip = tip_of(sample, 59000); /* seen too briefly */
    ck_assert_str_eq(tip, "");
    free(tip);
}

/* A GB for a month and a thousand records, as the prices say. */
START_TEST(costs_follow_the_prices)
{
    struct sample sample;
    double cost = 0;
    sample_init(&sample, 1);
    sample.traffic.incoming_records = 3600 * 1000; /* 1000 a second */
    json_decref(row_of(&sample, HOUR_MS, &cost));
    ck_assert_double_eq_tol(cost, 0.00025 + 2592000 * 0.0000003, 1e-9);
    sample.usage.traffic = NULL; /* not counted by itself: only what is stored is known */
    json_decref(row_of(&sample, HOUR_MS, &cost));
    ck_assert_double_eq_tol(cost, 0.00025, 1e-9);
}
END_TEST

START_TEST(tips_follow_the_figures)
{
    struct sample sample;
    sample_init(&sample, 4);
    sample.traffic.incoming_records = 3600 * 100;
    sample.traffic.incoming_bytes = 3600 * 100000;
    expect_tip(&sample, "shard count s 1");
    sample.traffic.incoming_records = 3600 * 4000;
    expect_tip(&sample, "shard count s 8");
    sample.traffic.incoming_records = 3600 * 1900;
    sample.usage.stored_bytes = 1ull << 60;
    expect_tip(&sample, NULL);
    sample.traffic.throttled_records = 7;
    expect_tip(&sample, "7 records were refused");
    sample_init(&sample, 1);
    sample.traffic.incoming_records = 3600 * 400;
    sample.traffic.incoming_bytes = 3600 * 400 * 50;
    expect_tip(&sample, "records of 50 bytes");
    sample_init(&sample, 1);
    sample.usage.retention_period_hours = 168;
    sample.traffic.outgoing_records = 0;
    expect_tip(&sample, "nobody has read it");
    sample.usage.records = 0;
    expect_tip(&sample, "delete-stream s");
    char on_demand[] = "ON_DEMAND";
    sample_init(&sample, 4);
    sample.usage.stream_mode = on_demand;
    expect_tip(&sample, NULL);
}
END_TEST

START_TEST(a_price_file_changes_what_it_names)
{
    char path[] = "/tmp/ks-prices-XXXXXX";
    struct ctl_prices prices;
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    static const char lines[] = "# prices\n thousand_records=2\ncurrency = EUR # euro\n";
    ck_assert_int_eq(write(fd, lines, sizeof lines - 1), sizeof lines - 1);
    close(fd);
    ctl_prices_default(&prices);
    ck_assert_int_eq(ctl_prices_load(path, &prices, NULL), KS_OK);
    ck_assert_double_eq(prices.thousand_records, 2);
    ck_assert_double_eq(prices.stored_gb_month, 0.00025);
    ck_assert_str_eq(prices.currency, "EUR");
    unlink(path);
}
END_TEST

KS_SUITE("tools/ctl_usage")
{
    KS_TEST(costs_follow_the_prices);
    KS_TEST(tips_follow_the_figures);
    KS_TEST(a_price_file_changes_what_it_names);
}
