/*
 * A JMESPath expression, a newline, a JSON document: whatever they are, the result is a value that
 * can be printed, the same each time, within the steps allowed.
 */
#include "tests/fuzz/fuzz.h"
#include "tools/jmes.h"

#include <stdlib.h>

#define STEPS_MAX 20000

static const char default_document[] =
    "{\"a\": [{\"b\": 1}, {\"b\": \"x\", \"c\": [1, [2, null]]}], \"d\": {\"e\": true}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const uint8_t *newline = bytes > 0 ? memchr(data, '\n', bytes) : NULL;
    size_t text_bytes = newline ? (size_t)(newline - data) : bytes;
    struct ks_error err = KS_ERROR_INIT;
    KS_CLEANUP(jmes_freep) struct jmes *expression = NULL;
    enum ks_status st = jmes_parse(ks_view_of(data, text_bytes), &expression, &err);
    KS_ASSERT(st == KS_OK || (st == KS_USAGE && err.text[0]));
    if (st)
        return 0;
    json_t *document = newline ? json_loadb((const char *)newline + 1, bytes - text_bytes - 1,
                                     JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL)
                               : NULL;
    if (!document)
        document = json_loads(default_document, 0, NULL);
    json_t *first = NULL;
    json_t *second = NULL;
    st = jmes_search(expression, document, STEPS_MAX, &first, &err);
    KS_ASSERT(st == KS_OK || (st == KS_INVALID && err.text[0]));
    KS_ASSERT(jmes_search(expression, document, STEPS_MAX, &second, NULL) == st);
    if (st == KS_OK) {
        char *text = json_dumps(first, JSON_ENCODE_ANY | JSON_COMPACT);
        char *again = json_dumps(second, JSON_ENCODE_ANY | JSON_COMPACT);
        KS_ASSERT(text && again && strcmp(text, again) == 0);
        free(text);
        free(again);
        KS_ASSERT(strlen(jmes_title(expression)) < bytes + 1);
    }
    json_decref(first);
    json_decref(second);
    json_decref(document);
    return 0;
}
