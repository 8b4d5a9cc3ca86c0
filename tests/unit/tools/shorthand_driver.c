/*
 * For test_ctl_shorthand_oracle.py: each line of standard input is a text in the short form as a
 * JSON string, each line of standard output what it says, or null.
 */
#include "tools/ctl_shorthand.h"

#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0) {
        json_t *text = json_loads(line, JSON_DECODE_ANY, NULL);
        json_t *value = NULL;
        if (!text || ctl_shorthand_parse(json_string_value(text), &value, NULL))
            value = json_null();
        bool is_written =
            json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT) == 0 && putchar('\n') != EOF;
        json_decref(value);
        json_decref(text);
        if (!is_written)
            return EXIT_FAILURE;
    }
    free(line);
    return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
