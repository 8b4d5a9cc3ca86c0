#include "tools/ctl_record_print.h"

#include "tools/ctl_base64.h"
#include "tools/ctl_format.h"

#define TEXT_BYTES_MAX (2 * (size_t)CTL_DECODE_BYTES_MAX)

static enum kstream_status fail_memory(struct kstream_error *err)
{
    return ctl_fail(err, KSTREAM_NO_MEMORY, "out of memory");
}

/* ---- options ---- */

static enum kstream_status read_format(
    struct ctl_record_printer *printer, struct kstream_error *err)
{
    const struct ctl_output *output = &printer->ctl->output;
    printer->format = ctl_text(printer->ctl, CTL_FORMAT);
    if (printer->format) {
        struct ks_error inner = KS_ERROR_INIT;
        if (output->query)
            return ctl_fail(err, KSTREAM_USAGE, "'--format' and '--query' exclude each other");
        return ctl_fail_from(err, ctl_format_check(printer->format, &inner), &inner);
    }
    if (output->sort_by)
        return ctl_fail(err, KSTREAM_USAGE, "'--sort-by': records are printed as they come");
    if (output->format == CTL_OUTPUT_TEXT && !output->query && !output->columns)
        printer->format = "%d\\n";
    return KSTREAM_OK;
}

enum kstream_status ctl_record_printer_init(
    struct ctl_record_printer *printer, const struct ctl *ctl, struct kstream_error *err)
{
    *printer = (struct ctl_record_printer){.ctl = ctl};
    ctl_items_init(&printer->items, &ctl->output, stdout);
    enum kstream_status st = read_format(printer, err);
    const char *decode = ctl_text(ctl, CTL_DECODE);
    /* Bytes that go on into a file or a program are what they are. */
    printer->decode = printer->format ? CTL_DECODE_RAW : CTL_DECODE_AUTO;
    if (st || !decode)
        return st;
    struct ks_error inner = KS_ERROR_INIT;
    return ctl_fail_from(err, ctl_decode_from_text(decode, &printer->decode, &inner), &inner);
}

void ctl_record_printer_fini(struct ctl_record_printer *printer)
{
    ctl_items_fini(&printer->items);
}

/* ---- as an object ---- */

/* Text as text, so that jq(1) has something to work with; other bytes as base64. */
static json_t *data_value(
    const struct ctl_record_printer *printer, struct ks_view data, bool *out_is_base64)
{
    const struct ctl_output *output = &printer->ctl->output;
    *out_is_base64 = false;
    if (printer->decode == CTL_DECODE_JSON) {
        json_t *value =
            json_loadb((const char *)data.data, data.bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        if (value)
            return value;
    }
    /* Bytes that would upset a terminal are no text for a table. */
    bool is_text = output->format == CTL_OUTPUT_TABLE && !output->query
                       ? ctl_is_plain_text(data.data, data.bytes)
                       : ks_view_is_utf8(data);
    if (is_text && printer->decode != CTL_DECODE_BASE64)
        return json_stringn(data.bytes ? (const char *)data.data : "", data.bytes);
    *out_is_base64 = true;
    return ctl_json_bytes(data.data, data.bytes);
}

/* In a column where others are text it says what it is. Takes value; NULL: out of memory. */
static json_t *marked_base64(json_t *value)
{
    json_t *marked = value ? json_sprintf("base64:%s", json_string_value(value)) : NULL;
    json_decref(value);
    return marked;
}

static bool add_data(const struct ctl_record_printer *printer, json_t *object, struct ks_view data)
{
    const struct ctl_output *output = &printer->ctl->output;
    bool is_base64 = false;
    json_t *value = data_value(printer, data, &is_base64);
    /* A column each, the same for all records. */
    bool is_fine = true;
    if (output->format == CTL_OUTPUT_CSV)
        is_fine = ctl_json_add(object, "data", json_null()) &&
                  ctl_json_add(object, "data_base64", json_null());
    bool is_table = output->format == CTL_OUTPUT_TABLE && !output->query;
    if (!is_fine) {
        json_decref(value);
        return false;
    }
    if (is_base64 && is_table && printer->decode != CTL_DECODE_BASE64)
        value = marked_base64(value);
    return ctl_json_add(object, is_base64 && !is_table ? "data_base64" : "data", value);
}

static json_t *record_to_json(const struct ctl_record_printer *printer,
    const struct kstream_batch *batch, size_t index, struct ks_view data)
{
    const struct kstream_record *record = kstream_batch_record(batch, index);
    const struct ctl_output *output = &printer->ctl->output;
    char sequence[KSTREAM_SEQUENCE_BYTES];
    bool is_wide = output->format != CTL_OUTPUT_TABLE || output->query || output->columns;
    json_t *object = json_pack("{s:o, s:s}", "arrival_time", ctl_json_time(record->arrival_unix_ms),
        "shard_id", kstream_batch_shard_id(batch));
    bool is_fine = object != NULL;
    if (is_fine && is_wide) {
        kstream_batch_sequence_number(batch, index, sequence);
        is_fine = ctl_json_add(object, "sequence_number", json_string(sequence));
    }
    is_fine = is_fine &&
              ctl_json_add(object, "partition_key", json_stringn(record->key, record->key_bytes)) &&
              add_data(printer, object, data);
    /* What was stored is not what is shown. */
    if (is_fine && is_wide && data.data != record->data && data.bytes > 0)
        is_fine = ctl_json_add(object, "decoded", json_string("gzip"));
    if (is_fine)
        return object;
    json_decref(object);
    return NULL;
}

static enum kstream_status print_object(struct ctl_record_printer *printer,
    const struct kstream_batch *batch, size_t index, struct ks_view data, struct kstream_error *err)
{
    json_t *object = record_to_json(printer, batch, index, data);
    if (!object)
        return fail_memory(err);
    struct ks_error inner = KS_ERROR_INIT;
    enum ks_status st = ctl_items_print(&printer->items, object, &inner);
    json_decref(object);
    return ctl_fail_from(err, st, &inner);
}

/* ---- by --format ---- */

static enum kstream_status print_format(struct ctl_record_printer *printer,
    const struct kstream_batch *batch, size_t index, struct ks_view data, struct kstream_error *err)
{
    const struct kstream_record *record = kstream_batch_record(batch, index);
    char sequence[KSTREAM_SEQUENCE_BYTES] = "";
    if (ctl_format_has(printer->format, 's'))
        kstream_batch_sequence_number(batch, index, sequence);
    KS_CLEANUP(ks_buf_fini) struct ks_buf base64;
    ks_buf_init(&base64, TEXT_BYTES_MAX);
    if (printer->decode == CTL_DECODE_BASE64) {
        if (!ctl_base64_encode(data, &base64))
            return fail_memory(err);
        data = ks_view_of(base64.data, base64.bytes);
    }
    struct ctl_format_fields fields = {
        .data = data,
        .key = ks_view_of(record->key, record->key_bytes),
        .arrival_unix_ms = record->arrival_unix_ms,
        .sequence_number = sequence,
        .shard_id = kstream_batch_shard_id(batch),
    };
    ctl_format_print(printer->format, &fields, stdout);
    return KSTREAM_OK;
}

enum kstream_status ctl_record_print(struct ctl_record_printer *printer,
    const struct kstream_batch *batch, size_t index, struct kstream_error *err)
{
    const struct kstream_record *record = kstream_batch_record(batch, index);
    KS_CLEANUP(ks_buf_fini) struct ks_buf unpacked;
    ks_buf_init(&unpacked, CTL_DECODE_BYTES_MAX);
    struct ks_view data;
    enum ks_status st = ctl_decode_bytes(
        printer->decode, ks_view_of(record->data, record->data_bytes), &unpacked, &data, NULL);
    printer->not_decoded += st != KS_OK;
    return printer->format ? print_format(printer, batch, index, data, err)
                           : print_object(printer, batch, index, data, err);
}
