#include "proto/api.pb-c.h"
#include "proto/limits.h"
#include "proto/operations.h"
#include "proto/rules.h"
#include "tests/unit/ks_check.h"

#include <stdio.h>

#define COLUMNS 8
enum { OPERATION, PATH, TYPE, REQUIRED, MIN, MAX, PATTERN, ENUMERATION };

/* ---- the table against the facts of the service model ---- */

static const ProtobufCFieldDescriptor *field_of(
    const ProtobufCMessageDescriptor *message, const char *member, size_t bytes)
{
    for (unsigned i = 0; i < message->n_fields; i++) {
        char name[KS_MEMBER_NAME_BYTES_MAX];
        ks_member_name(message->fields[i].name, name);
        if (strlen(name) == bytes && memcmp(name, member, bytes) == 0)
            return &message->fields[i];
    }
    return NULL;
}

/* "ShardFilter.Type", "Records[].Data", "Tags{key}": the message that has the last part, and its
 * field. */
static const ProtobufCFieldDescriptor *resolve(
    const ProtobufCMessageDescriptor **message, const char *path)
{
    const ProtobufCFieldDescriptor *field = NULL;
    while (*path) {
        if (field)
            *message = field->descriptor;
        size_t bytes = strcspn(path, ".[{}");
        char part[64];
        (void)snprintf(part, sizeof part, "%.*s", (int)bytes, path);
        if (path[bytes] == '}')
            part[0] = (char)(part[0] - 'a' + 'A');
        field = field_of(*message, part, bytes);
        ck_assert_msg(field != NULL, "no field for '%s'", path);
        path += bytes;
        path += strspn(path, ".[]{}");
    }
    return field;
}

static const struct ks_rule *rule_of(
    const ProtobufCMessageDescriptor *message, const ProtobufCFieldDescriptor *field, bool of_items)
{
    for (size_t i = 0; i < ks_rules_count; i++)
        if (ks_rules[i].message == message && ks_rule_field(&ks_rules[i]) == field &&
            ks_rule_is_of_items(&ks_rules[i]) == of_items)
            return &ks_rules[i];
    return NULL;
}

static void compare_with_rule(char *column[COLUMNS])
{
    const struct ks_operation *operation = ks_operation_by_name(ks_view_of_text(column[OPERATION]));
    ck_assert_ptr_nonnull(operation);
    size_t path_bytes = strlen(column[PATH]);
    bool is_item = column[PATH][path_bytes - 1] == ']';
    if (is_item && strcmp(column[TYPE], "structure") == 0)
        return; /* such an item has no bounds, its members do */
    const ProtobufCMessageDescriptor *message = operation->request;
    const ProtobufCFieldDescriptor *field = resolve(&message, column[PATH]);
    const struct ks_rule *rule = rule_of(message, field, is_item);
    bool is_free = column[REQUIRED][0] == '0' && !*column[MIN] && !*column[MAX] &&
                   !*column[PATTERN] && !*column[ENUMERATION];
    if (!rule) {
        ck_assert_msg(is_free, "no rule for %s %s", column[OPERATION], column[PATH]);
        return;
    }
    ck_assert_int_eq(rule->is_required, column[REQUIRED][0] == '1');
    ck_assert_int_eq(rule->min, *column[MIN] ? strtoll(column[MIN], NULL, 10) : KS_NO_MIN);
    ck_assert_int_eq(rule->max, *column[MAX] ? strtoll(column[MAX], NULL, 10) : KS_NO_MAX);
    ck_assert_str_eq(ks_pattern_text(rule->pattern), column[PATTERN]);
    char values[256] = "";
    size_t at = 0;
    for (const char *c = column[ENUMERATION]; *c; c++)
        at += (size_t)snprintf(values + at, sizeof values - at, *c == '|' ? ", " : "%c", *c);
    ck_assert_str_eq(rule->values, values);
}

START_TEST(the_table_says_what_the_service_model_says)
{
    FILE *facts = fopen(KS_TEST_DIR "/kinesis_members.tsv", "r");
    ck_assert_ptr_nonnull(facts);
    char line[1024];
    int rows = 0;
    ck_assert_ptr_nonnull(fgets(line, sizeof line, facts));
    while (fgets(line, sizeof line, facts)) {
        line[strcspn(line, "\n")] = '\0';
        char *column[COLUMNS] = {NULL};
        char *rest = line;
        for (int i = 0; i < COLUMNS; i++)
            column[i] = strsep(&rest, "\t");
        ck_assert_ptr_nonnull(column[ENUMERATION]);
        compare_with_rule(column);
        rows++;
    }
    (void)fclose(facts);
    ck_assert_int_ge(rows, 120);
}
END_TEST

START_TEST(every_rule_names_a_field_of_the_schema)
{
    for (size_t i = 0; i < ks_rules_count; i++)
        ck_assert_ptr_nonnull(ks_rule_field(&ks_rules[i]));
}
END_TEST

START_TEST(fields_have_the_names_of_kinesis)
{
    static const char *const pairs[][2] = {{"stream_arn", "StreamARN"}, {"shard_id", "ShardId"},
        {"max_record_size_in_kib", "MaxRecordSizeInKiB"},
        {"warm_throughput_mibps", "WarmThroughputMiBps"},
        {"stream_creation_timestamp_unix_ms", "StreamCreationTimestamp"},
        {"timestamp_unix_ms", "Timestamp"}, {"data", "Data"}};
    for (size_t i = 0; i < KS_COUNT_OF(pairs); i++) {
        char name[KS_MEMBER_NAME_BYTES_MAX];
        ks_member_name(pairs[i][0], name);
        ck_assert_str_eq(name, pairs[i][1]);
    }
}
END_TEST

/* ---- complaints ---- */

static char *text_of(const char *text)
{
    return (char *)text;
}

static void expect(const ProtobufCMessage *message, const char *complaint)
{
    struct ks_buf text;
    ks_buf_init(&text, KS_RULES_TEXT_BYTES_MAX);
    enum ks_status st = ks_rules_check(message, &text);
    if (complaint) {
        ck_assert_int_eq(st, KS_VALIDATION);
        ck_assert_str_eq((const char *)text.data, complaint);
    } else {
        ck_assert_int_eq(st, KS_OK);
        ck_assert_uint_eq(text.bytes, 0);
    }
    ks_buf_fini(&text);
}

START_TEST(a_bad_name_is_quoted_with_its_pattern)
{
    Kstream__DeleteStreamRequest request = KSTREAM__DELETE_STREAM_REQUEST__INIT;
    expect(&request.base, NULL);
    request.stream_name = text_of("orders");
    expect(&request.base, NULL);
    request.stream_name = text_of("a/b");
    expect(&request.base,
        "1 validation error detected: Value 'a/b' at 'streamName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+");
    request.stream_name = text_of("");
    expect(&request.base,
        "2 validation errors detected: Value '' at 'streamName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value '' at 'streamName' "
        "failed to satisfy constraint: Member must have length greater than or equal to 1");
}
END_TEST

START_TEST(missing_members_are_null)
{
    Kstream__GetShardIteratorRequest request = KSTREAM__GET_SHARD_ITERATOR_REQUEST__INIT;
    expect(&request.base,
        "2 validation errors detected: Value null at 'shardId' failed to satisfy constraint: "
        "Member must not be null; Value null at 'shardIteratorType' failed to satisfy constraint: "
        "Member must not be null");
    request.shard_id = text_of("shardId-0");
    request.shard_iterator_type = text_of("NEWEST");
    expect(&request.base,
        "1 validation error detected: Value 'NEWEST' at 'shardIteratorType' failed to satisfy "
        "constraint: Member must satisfy enum value set: [AT_SEQUENCE_NUMBER, "
        "AFTER_SEQUENCE_NUMBER, TRIM_HORIZON, LATEST, AT_TIMESTAMP]");
    request.shard_iterator_type = text_of("LATEST");
    expect(&request.base, NULL);
}
END_TEST

START_TEST(numbers_have_bounds_and_nested_members_a_path)
{
    Kstream__CreateStreamRequest request = KSTREAM__CREATE_STREAM_REQUEST__INIT;
    Kstream__StreamModeDetails mode = KSTREAM__STREAM_MODE_DETAILS__INIT;
    request.stream_name = text_of("orders");
    request.has_shard_count = 1;
    request.shard_count = 0;
    request.has_max_record_size_in_kib = 1;
    request.max_record_size_in_kib = 10241;
    request.stream_mode_details = &mode;
    expect(&request.base,
        "3 validation errors detected: Value '0' at 'shardCount' failed to satisfy constraint: "
        "Member must have value greater than or equal to 1; Value null at "
        "'streamModeDetails.streamMode' failed to satisfy constraint: Member must not be null; "
        "Value '10241' at 'maxRecordSizeInKiB' failed to satisfy constraint: Member must have "
        "value "
        "less than or equal to 10240");
}
END_TEST

START_TEST(items_of_a_list_are_counted_from_one)
{
    Kstream__PutRecordsRequest request = KSTREAM__PUT_RECORDS_REQUEST__INIT;
    expect(&request.base,
        "1 validation error detected: Value null at 'records' failed to satisfy constraint: Member "
        "must not be null");
    Kstream__PutRecordsRequestEntry good = KSTREAM__PUT_RECORDS_REQUEST_ENTRY__INIT;
    good.has_data = 1;
    good.partition_key = text_of("k");
    Kstream__PutRecordsRequestEntry bad = good;
    bad.partition_key = NULL;
    bad.explicit_hash_key = text_of("007");
    Kstream__PutRecordsRequestEntry *entries[501];
    for (size_t i = 0; i < 501; i++)
        entries[i] = &good;
    entries[1] = &bad;
    request.records = entries;
    request.n_records = 2;
    expect(&request.base,
        "2 validation errors detected: Value '007' at 'records.2.member.explicitHashKey' failed to "
        "satisfy constraint: Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38}); "
        "Value null at 'records.2.member.partitionKey' failed to satisfy constraint: Member must "
        "not be null");
    entries[1] = &good;
    expect(&request.base, NULL);
    request.n_records = 501;
    struct ks_buf text;
    ks_buf_init(&text, KS_RULES_TEXT_BYTES_MAX);
    ck_assert_int_eq(ks_rules_check(&request.base, &text), KS_VALIDATION);
    ck_assert_ptr_nonnull(
        strstr((const char *)text.data, "Member must have length less than or equal to 500"));
    ks_buf_fini(&text);
}
END_TEST

START_TEST(at_most_ten_complaints_and_long_values_are_cut)
{
    char name[5000];
    memset(name, '/', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    Kstream__PutRecordsRequest request = KSTREAM__PUT_RECORDS_REQUEST__INIT;
    Kstream__PutRecordsRequestEntry bad = KSTREAM__PUT_RECORDS_REQUEST_ENTRY__INIT;
    bad.partition_key = name;
    Kstream__PutRecordsRequestEntry *entries[500];
    for (size_t i = 0; i < 500; i++)
        entries[i] = &bad;
    request.records = entries;
    request.n_records = 500;
    struct ks_buf text;
    ks_buf_init(&text, KS_RULES_TEXT_BYTES_MAX);
    ck_assert_int_eq(ks_rules_check(&request.base, &text), KS_VALIDATION);
    ck_assert_int_eq(strncmp((const char *)text.data, "10 validation errors", 20), 0);
    ck_assert_uint_lt(text.bytes, 12000);
    ks_buf_fini(&text);
}
END_TEST

START_TEST(tags_are_checked_as_a_map)
{
    Kstream__CreateStreamRequest request = KSTREAM__CREATE_STREAM_REQUEST__INIT;
    Kstream__Tag tag = KSTREAM__TAG__INIT;
    Kstream__Tag *tags[1] = {&tag};
    request.stream_name = text_of("orders");
    request.tags = tags;
    request.n_tags = 1;
    tag.key = text_of("team");
    tag.value = text_of("data");
    expect(&request.base, NULL);
    tag.key = text_of("");
    expect(&request.base,
        "1 validation error detected: Value '{=data}' at 'tags' failed to satisfy constraint: Map "
        "keys must satisfy constraint: [Member must have length less than or equal to 128, Member "
        "must have length greater than or equal to 1]");
}
END_TEST

START_TEST(texts_of_a_list_have_one_complaint)
{
    Kstream__RemoveTagsFromStreamRequest request = KSTREAM__REMOVE_TAGS_FROM_STREAM_REQUEST__INIT;
    char *keys[] = {text_of("team"), text_of("stage")};
    expect(&request.base,
        "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member "
        "must not be null");
    request.tag_keys = keys;
    request.n_tag_keys = 2;
    expect(&request.base, NULL);
    keys[1] = text_of("");
    expect(&request.base,
        "1 validation error detected: Value '[team, ]' at 'tagKeys' failed to satisfy constraint: "
        "Member must satisfy constraint: [Member must have length less than or equal to 128, "
        "Member must have length greater than or equal to 1]");
    Kstream__EnableEnhancedMonitoringRequest enable =
        KSTREAM__ENABLE_ENHANCED_MONITORING_REQUEST__INIT;
    char *metrics[] = {text_of("IncomingBytes"), text_of("Speed")};
    enable.shard_level_metrics = metrics;
    enable.n_shard_level_metrics = 1;
    expect(&enable.base, NULL);
    enable.n_shard_level_metrics = 2;
    expect(&enable.base,
        "1 validation error detected: Value '[IncomingBytes, Speed]' at 'shardLevelMetrics' failed "
        "to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value "
        "set: [IncomingBytes, IncomingRecords, OutgoingBytes, OutgoingRecords, "
        "WriteProvisionedThroughputExceeded, ReadProvisionedThroughputExceeded, "
        "IteratorAgeMilliseconds, ALL]]");
}
END_TEST

static const struct {
    const char *text;
    enum ks_pattern pattern;
    bool matches;
} patterns[] = {
    {"aZ0_.-", KS_PATTERN_NAME, true},
    {"", KS_PATTERN_NAME, false},
    {"a b", KS_PATTERN_NAME, false},
    {"0", KS_PATTERN_HASH_KEY, true},
    {"00", KS_PATTERN_HASH_KEY, false},
    {"999999999999999999999999999999999999999", KS_PATTERN_HASH_KEY, true},
    {"1000000000000000000000000000000000000000", KS_PATTERN_HASH_KEY, false},
    {"-1", KS_PATTERN_HASH_KEY, false},
    {"abcdefghij0123456789-abc", KS_PATTERN_STREAM_ID, true},
    {"abcdefghij01234567890abc", KS_PATTERN_STREAM_ID, false},
    {"Abcdefghij0123456789-abc", KS_PATTERN_STREAM_ID, false},
    {"arn:aws:kinesis:us-east-1:000000000000:stream/orders", KS_PATTERN_STREAM_ARN, true},
    {"arn:aws-cn:kinesis:x:123456789012:stream/a/b", KS_PATTERN_STREAM_ARN, true},
    {"arn:aws:kinesis:kinesis:kinesis:123456789012:stream/a", KS_PATTERN_STREAM_ARN, true},
    {"arn:aws:kinesis::123456789012:stream/a", KS_PATTERN_STREAM_ARN, true},
    {"arn:aws:kinesis:123456789012:stream/a", KS_PATTERN_STREAM_ARN, false},
    {"arn:aws:kinesis:us-east-1:00000000000:stream/orders", KS_PATTERN_STREAM_ARN, false},
    {"arn:aws:kinesis:us-east-1:000000000000:stream/", KS_PATTERN_STREAM_ARN, false},
    {"arn:aws:kinesis:us-east-1:000000000000:stream/a b", KS_PATTERN_STREAM_ARN, false},
    {"arn:aws:sqs:us-east-1:000000000000:stream/a", KS_PATTERN_STREAM_ARN, false},
    {"arn:aws:kinesis:us-east-1:000000000000:stream/orders", KS_PATTERN_RESOURCE_ARN, true},
    {"arn:aws:kinesis:r:000000000000:stream/a/consumer/b:1", KS_PATTERN_RESOURCE_ARN, true},
    {"arn:aws:kinesis:r:000000000000:any stream/a", KS_PATTERN_RESOURCE_ARN, true},
    {"arn:aws:kinesis:r:000000000000:stream/stream/", KS_PATTERN_RESOURCE_ARN, true},
    {"arn:aws:kinesis:r:000000000000:stream/", KS_PATTERN_RESOURCE_ARN, false},
    {"arn:aws:kinesis:r:000000000000:stream/a b", KS_PATTERN_RESOURCE_ARN, false},
    {"arn:aws:kinesis:r:00000000000:stream/a", KS_PATTERN_RESOURCE_ARN, false},
    {"arn:aws:kinesis:stream/a:000000000000:b", KS_PATTERN_RESOURCE_ARN, false},
};

START_TEST(patterns_match_as_the_expressions_say)
{
    ck_assert_int_eq(ks_pattern_matches(patterns[_i].pattern, ks_view_of_text(patterns[_i].text)),
        patterns[_i].matches);
}
END_TEST

KS_SUITE("proto/rules")
{
    KS_TEST(the_table_says_what_the_service_model_says);
    KS_TEST(every_rule_names_a_field_of_the_schema);
    KS_TEST(fields_have_the_names_of_kinesis);
    KS_TEST(a_bad_name_is_quoted_with_its_pattern);
    KS_TEST(missing_members_are_null);
    KS_TEST(numbers_have_bounds_and_nested_members_a_path);
    KS_TEST(items_of_a_list_are_counted_from_one);
    KS_TEST(at_most_ten_complaints_and_long_values_are_cut);
    KS_TEST(tags_are_checked_as_a_map);
    KS_TEST(texts_of_a_list_have_one_complaint);
    KS_TEST_LOOP(patterns_match_as_the_expressions_say, KS_COUNT_OF(patterns));
}
