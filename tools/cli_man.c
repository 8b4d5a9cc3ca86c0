#include "tools/cli_man.h"

#include "base/roff.h"

#include <ctype.h>
#include <string.h>

/* Paragraphs, each of which runs on. */
static void put_paragraphs(FILE *to, const char *text)
{
    for (bool is_first = true; *text; is_first = false) {
        const char *end = strstr(text, "\n\n");
        size_t bytes = end ? (size_t)(end - text) : strlen(text);
        char paragraph[1024];
        KS_ASSERT(bytes < sizeof paragraph);
        snprintf(paragraph, sizeof paragraph, "%.*s", (int)bytes, text);
        fputs(is_first ? "" : ".PP\n", to);
        ks_roff_running(to, paragraph);
        text += bytes + strspn(text + bytes, "\n");
    }
}

static void put_entries(FILE *to, const char *section, const struct cli_man_entry *entry)
{
    if (!entry->label)
        return;
    ks_roff_section(to, section);
    for (; entry->label; entry++) {
        fputs(".TP\n\\fB", to);
        ks_roff_text(to, entry->label);
        fputs("\\fR\n", to);
        ks_roff_running(to, entry->text);
    }
}

static void put_usage(FILE *to, const struct cli_program *program, const struct cli_verb *verb)
{
    fputs("\\fB", to);
    ks_roff_text(to, program->name);
    fputc(' ', to);
    ks_roff_text(to, verb->name);
    fputs("\\fR ", to);
    ks_roff_text(to, verb->arguments);
    fprintf(to, "%s[OPTIONS]\n", verb->arguments[0] ? " " : "");
}

/* Those that one verb takes and not all, or (NULL) those that all take. */
static void put_options(FILE *to, const struct cli_program *program, const struct cli_verb *verb)
{
    for (size_t i = 0; i < program->option_count; i++) {
        const struct cli_option *option = &program->options[i];
        bool is_wanted = verb ? option->verbs >> (verb - program->verbs) & 1 : option->verbs == 0;
        if (!is_wanted)
            continue;
        ks_roff_option(to, option->letter, option->name, option->metavar);
        ks_roff_running(to, option->text);
    }
}

/* Lines of the help, each behind two blanks. */
static void put_examples(FILE *to, const char *text)
{
    while (*text) {
        size_t bytes = strcspn(text, "\n");
        char line[200];
        size_t blanks = strspn(text, " ");
        KS_ASSERT(bytes < sizeof line && blanks <= bytes);
        snprintf(line, sizeof line, "%.*s", (int)(bytes - blanks), text + blanks);
        ks_roff_code(to, "$ ", line);
        text += bytes + (text[bytes] == '\n');
    }
}

static void put_verb(FILE *to, const struct cli_program *program, const struct cli_verb *verb)
{
    fputs(".SS ", to);
    ks_roff_argument(to, verb->name);
    fputc('\n', to);
    put_usage(to, program, verb);
    fputs(".PP\n", to);
    fputc(toupper((unsigned char)verb->summary[0]), to);
    ks_roff_text(to, verb->summary + 1);
    fputs(".\n", to);
    if (verb->details[0])
        ks_roff_running(to, verb->details);
    put_options(to, program, verb);
    if (verb->examples[0])
        fputs(".PP\n", to);
    put_examples(to, verb->examples);
}

void cli_man_print(const struct cli_man *man, const char *version, const char *date, FILE *to)
{
    const struct cli_program *program = man->program;
    const struct ks_roff_page page = {.name = program->name,
        .section = 1,
        .summary = program->summary,
        .source = man->source,
        .version = version,
        .date = date};
    ks_roff_head(to, &page);
    ks_roff_section(to, "synopsis");
    for (size_t i = 0; i < program->verb_count; i++) {
        fputs(i > 0 ? ".br\n" : "", to);
        put_usage(to, program, &program->verbs[i]);
    }
    ks_roff_section(to, "description");
    put_paragraphs(to, man->description);
    ks_roff_section(to, "commands");
    for (size_t i = 0; i < program->verb_count; i++)
        put_verb(to, program, &program->verbs[i]);
    ks_roff_section(to, "options");
    fputs("Every command takes these.\n", to);
    put_options(to, program, NULL);
    ks_roff_option(to, 'h', "help", NULL);
    fputs("what is here, on a screen\n", to);
    ks_roff_option(to, 0, "version", NULL);
    fputs("the version\n", to);
    put_entries(to, "exit-status", man->exit_codes);
    put_entries(to, "environment", man->environment);
    fputs(".SH \"SEE ALSO\"\n.BR ", to);
    fputs(man->see_also, to);
    fputc('\n', to);
}
