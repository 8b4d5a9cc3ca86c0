/*
 * For test_ctl_text_oracle.py: each line of standard input is a JSON value, each line of standard
 * output the text of --output text for it, as a JSON string.
 */
#include "base/alloc.h"
#include "tools/ctl_text.h"

#include <stdlib.h>

/* NULL: it could not be printed. */
static json_t *text_of(json_t *value)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    enum ks_status st = to ? ctl_text_print(value, to, NULL) : KS_NO_MEMORY;
    bool is_closed = to && fclose(to) == 0;
    json_t *string = !st && is_closed ? json_stringn(text, bytes) : NULL;
    free(text);
    return string;
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0) {
        json_t *value = json_loads(line, JSON_DECODE_ANY, NULL);
        json_t *text = value ? text_of(value) : NULL;
        bool is_written =
            text && json_dumpf(text, stdout, JSON_ENCODE_ANY) == 0 && putchar('\n') != EOF;
        json_decref(text);
        json_decref(value);
        if (!is_written)
            return EXIT_FAILURE;
    }
    free(line);
    return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
