/*
 * For test_jmes_oracle.py: each line of standard input is {"expression": TEXT, "document": VALUE},
 * each line of standard output {"result": VALUE} or {"error": KIND, "text": TEXT}.
 */
#include "base/alloc.h"
#include "tools/ctl_json.h"
#include "tools/jmes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *error_line(const struct ks_error *err)
{
    return json_pack("{s:s%, s:s}", "error", err->text, strcspn(err->text, ":"), "text", err->text);
}

static json_t *answer(json_t *question)
{
    json_t *text = json_object_get(question, "expression");
    struct ks_error err = KS_ERROR_INIT;
    KS_CLEANUP(jmes_freep) struct jmes *expression = NULL;
    if (jmes_parse(
            ks_view_of(json_string_value(text), json_string_length(text)), &expression, &err))
        return error_line(&err);
    json_t *result = NULL;
    if (jmes_search(expression, json_object_get(question, "document"), 0, &result, &err))
        return error_line(&err);
    return json_pack("{s:o, s:s}", "result", result, "title", jmes_title(expression));
}

int main(void)
{
    KS_AUTO_FREE char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0) {
        json_error_t error;
        json_t *question = json_loads(line, JSON_ALLOW_NUL, &error);
        if (!question) {
            (void)fprintf(stderr, "jmes_driver: %s\n", error.text);
            return EXIT_FAILURE;
        }
        json_t *line_out = answer(question);
        bool is_written = ctl_json_print(stdout, line_out, JSON_COMPACT) && putchar('\n') != EOF;
        json_decref(line_out);
        json_decref(question);
        if (!is_written)
            return EXIT_FAILURE;
    }
    return ferror(stdin) || fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
