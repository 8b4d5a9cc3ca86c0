#include "base/roff.h"

#include "base/defs.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#define LINE_BYTES 79u

/* What stands for a character that roff or a terminal would change; NULL: it stands for itself. */
static const char *escape_of(char character)
{
    static const struct {
        char character;
        const char *escape;
    } escapes[] = {{'\\', "\\e"}, {'-', "\\-"}, {'^', "\\(ha"}, {'~', "\\(ti"}, {'`', "\\(ga"},
        {'\'', "\\(aq"}};
    for (size_t i = 0; i < KS_COUNT_OF(escapes); i++)
        if (escapes[i].character == character)
            return escapes[i].escape;
    return NULL;
}

size_t ks_roff_text(FILE *to, const char *text)
{
    size_t bytes = 0;
    for (const char *at = text; *at; at++) {
        bool is_command = *at == '.' && (at == text || at[-1] == '\n');
        const char one[] = {*at, '\0'};
        const char *escape = is_command ? "\\&." : escape_of(*at);
        fputs(escape ? escape : one, to);
        bytes += strlen(escape ? escape : one);
    }
    return bytes;
}

void ks_roff_argument(FILE *to, const char *text)
{
    fputc('"', to);
    for (; *text; text++) {
        char one[] = {*text, '\0'};
        if (*text == '"')
            fputs("\"\"", to);
        else
            ks_roff_text(to, one);
    }
    fputc('"', to);
}

void ks_roff_running(FILE *to, const char *text)
{
    size_t column = 0;
    for (const char *at = text; *at;) {
        size_t bytes = strcspn(at, " \n");
        char word[128];
        snprintf(word, sizeof word, "%.*s", (int)KS_MIN(bytes, sizeof word - 1), at);
        column += ks_roff_text(to, word) + 1;
        at += bytes;
        bool is_sentence =
            bytes > 1 && at[-1] == '.' && *at == ' ' && isupper((unsigned char)at[1]);
        at += strspn(at, " \n");
        bool has_room = column + 2 * strcspn(at, " \n") < LINE_BYTES;
        if (*at)
            fputc(is_sentence || !has_room ? '\n' : ' ', to);
        column = is_sentence || !has_room ? 0 : column;
    }
    fputc('\n', to);
}

void ks_roff_section(FILE *to, const char *name)
{
    fprintf(to, ".SH ");
    for (const char *at = name; *at; at++)
        fputc(*at == '-' ? ' ' : toupper((unsigned char)*at), to);
    fputc('\n', to);
}

void ks_roff_head(FILE *to, const struct ks_roff_page *page)
{
    fprintf(to, ".\\\" Made from %s.\n.TH ", page->source);
    for (const char *at = page->name; *at; at++)
        fputc(toupper((unsigned char)*at), to);
    fprintf(to, " %d %s \"kstream %s\" \"kstream manual\"\n.nh\n.ad l\n.SH NAME\n", page->section,
        page->date, page->version);
    ks_roff_text(to, page->name);
    fputs(" \\-\n", to);
    ks_roff_running(to, page->summary);
}

void ks_roff_code(FILE *to, const char *before, const char *text)
{
    fputs(".EX\n", to);
    ks_roff_text(to, before);
    ks_roff_text(to, text);
    fputs("\n.EE\n", to);
}

void ks_roff_option(FILE *to, char letter, const char *name, const char *metavar)
{
    fputs(".TP\n", to);
    if (letter)
        fprintf(to, "\\fB\\-%c\\fR, ", letter);
    fputs("\\fB\\-\\-", to);
    ks_roff_text(to, name);
    fputs("\\fR", to);
    bool is_optional = metavar && metavar[0] == '[';
    if (metavar && metavar[0]) {
        char text[64];
        snprintf(text, sizeof text, "%s", metavar + is_optional);
        if (is_optional)
            text[strlen(text) - 1] = '\0';
        fputs(is_optional ? "[=\\fI" : " \\fI", to);
        ks_roff_text(to, text);
        fputs(is_optional ? "\\fR]" : "\\fR", to);
    }
    fputc('\n', to);
}
