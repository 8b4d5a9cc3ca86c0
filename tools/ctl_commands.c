#include "tools/ctl_commands.h"

#include <stdio.h>

struct option_row {
    const char *name;
    char letter;
    const char *metavar;
};

static const struct option_row option_rows[] = {
#define CTL_OPTION(id, name, letter, metavar) [CTL_##id] = {name, letter, metavar},
#include "tools/ctl_commands.def"
};

static const char *const option_choices[CTL_OPTION_COUNT] = {
#define CTL_CHOICES(id, words) [CTL_##id] = (words),
#include "tools/ctl_commands.def"
};

static const char *const option_hints[CTL_OPTION_COUNT] = {
#define CTL_HINTS(id, words) [CTL_##id] = (words),
#include "tools/ctl_commands.def"
};

const struct ctl_alias ctl_aliases[] = {
#define CTL_ALIAS(name, id) {name, CTL_##id},
#include "tools/ctl_commands.def"
    {NULL, CTL_OPTION_COUNT},
};

const struct ctl_use ctl_common_uses[] = {
#define CTL_COMMON(id, text) {CTL_##id, false, text},
#include "tools/ctl_commands.def"
    {CTL_OPTION_COUNT, false, NULL},
};

/* Which group stands before which verb. */
enum position {
#define CTL_GROUP(id, name, summary) POSITION_GROUP_##id,
#define CTL_VERB(id, name, summary) POSITION_VERB_##id,
#include "tools/ctl_commands.def"
};

static const struct ctl_group groups[] = {
#define CTL_GROUP(id, name, summary) {name, summary, POSITION_GROUP_##id},
#include "tools/ctl_commands.def"
};

/* An array per verb of its options, of its examples, of its other names, of its bare words. */
#define CTL_VERB(id, name, summary) static const struct ctl_use uses_##id[] = {
#define CTL_TAKES(id, text) {CTL_##id, false, text},
#define CTL_NEEDS(id, text) {CTL_##id, true, text},
#define CTL_END()                                                                                  \
    {                                                                                              \
        CTL_OPTION_COUNT, false, NULL                                                              \
    }                                                                                              \
    }                                                                                              \
    ;
#include "tools/ctl_commands.def"

#define CTL_END()                                                                                  \
    NULL                                                                                           \
    }                                                                                              \
    ;
#define CTL_VERB(id, name, summary) static const char *const examples_##id[] = {
#define CTL_EXAMPLE(text) text,
#include "tools/ctl_commands.def"

#define CTL_END()                                                                                  \
    NULL                                                                                           \
    }                                                                                              \
    ;
#define CTL_VERB(id, name, summary) static const char *const also_##id[] = {
#define CTL_ALSO(name) name,
#include "tools/ctl_commands.def"

#define CTL_END()                                                                                  \
    CTL_OPTION_COUNT                                                                               \
    }                                                                                              \
    ;
#define CTL_VERB(id, name, summary) static const enum ctl_option_id args_##id[] = {
#define CTL_ARG(id) CTL_##id,
#include "tools/ctl_commands.def"

static const struct ctl_verb verbs[] = {
#define CTL_VERB(id, name, summary)                                                                \
    {CTL_VERB_##id, name, summary, uses_##id, examples_##id, also_##id, args_##id,                 \
        POSITION_VERB_##id},
#include "tools/ctl_commands.def"
};

/* ---- verbs ---- */

const struct ctl_verb *ctl_verb_at(size_t index)
{
    return index < KS_COUNT_OF(verbs) ? &verbs[index] : NULL;
}

const struct ctl_verb *ctl_verb_find(const char *name)
{
    for (size_t i = 0; i < KS_COUNT_OF(verbs); i++) {
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
        for (const char *const *also = verbs[i].also; *also; also++)
            if (strcmp(*also, name) == 0)
                return &verbs[i];
    }
    return NULL;
}

const struct ctl_group *ctl_verb_group(const struct ctl_verb *verb)
{
    const struct ctl_group *group = NULL;
    for (size_t i = 0; i < KS_COUNT_OF(groups); i++)
        if (groups[i].position < verb->position)
            group = &groups[i];
    KS_ASSERT(group); /* the first row of the table's verbs is a group */
    return group;
}

bool ctl_verb_is_hidden(const struct ctl_verb *verb)
{
    return verb->name[0] == '_';
}

static bool uses_have(const struct ctl_use *uses, enum ctl_option_id option)
{
    for (; uses->text; uses++)
        if (uses->option == option)
            return true;
    return false;
}

bool ctl_verb_takes(const struct ctl_verb *verb, enum ctl_option_id option)
{
    return uses_have(ctl_common_uses, option) || uses_have(verb->uses, option);
}

void ctl_verb_usage(const struct ctl_verb *verb, char text[CTL_USAGE_BYTES])
{
    size_t bytes = 0;
    text[0] = '\0';
    for (const enum ctl_option_id *arg = verb->args; *arg != CTL_OPTION_COUNT; arg++) {
        int more = snprintf(text + bytes, CTL_USAGE_BYTES - bytes, "%s[%s]", bytes ? " " : "",
            ctl_option_metavar(*arg));
        KS_ASSERT(more > 0 && bytes + (size_t)more < CTL_USAGE_BYTES);
        bytes += (size_t)more;
    }
}

/* ---- groups ---- */

const struct ctl_group *ctl_group_at(size_t index)
{
    return index < KS_COUNT_OF(groups) ? &groups[index] : NULL;
}

const struct ctl_group *ctl_group_find(const char *name)
{
    for (size_t i = 0; i < KS_COUNT_OF(groups); i++)
        if (strcmp(groups[i].name, name) == 0)
            return &groups[i];
    return NULL;
}

static bool begins_with_word(const char *name, const char *word)
{
    size_t bytes = strlen(word);
    return strncmp(name, word, bytes) == 0 && name[bytes] == ' ';
}

bool ctl_is_noun(const char *word)
{
    for (size_t i = 0; i < KS_COUNT_OF(verbs); i++) {
        if (begins_with_word(verbs[i].name, word))
            return true;
        for (const char *const *also = verbs[i].also; *also; also++)
            if (begins_with_word(*also, word))
                return true;
    }
    return false;
}

/* ---- topics ---- */

/* All lines one behind the other: the first of each topic has its name and its summary. */
static const struct ctl_topic_line topic_lines[] = {
#define CTL_TOPIC(name, summary) {name, summary},
#define CTL_PARAGRAPH(text) {NULL, text},
#define CTL_ROW(left, text) {left, text},
#define CTL_TOPIC_END() {NULL, NULL},
#include "tools/ctl_commands.def"
};

bool ctl_topic_at(size_t index, struct ctl_topic *out_topic)
{
    size_t at = 0;
    while (at < KS_COUNT_OF(topic_lines) && index > 0)
        index -= topic_lines[at++].text == NULL;
    if (at == KS_COUNT_OF(topic_lines))
        return false;
    *out_topic =
        (struct ctl_topic){topic_lines[at].left, topic_lines[at].text, &topic_lines[at + 1]};
    return true;
}

bool ctl_topic_find(const char *name, struct ctl_topic *out_topic)
{
    for (size_t i = 0; ctl_topic_at(i, out_topic); i++)
        if (strcmp(out_topic->name, name) == 0)
            return true;
    return false;
}

/* ---- options ---- */

const char *ctl_option_name(enum ctl_option_id option)
{
    return option_rows[option].name;
}

char ctl_option_letter(enum ctl_option_id option)
{
    return option_rows[option].letter;
}

const char *ctl_option_metavar(enum ctl_option_id option)
{
    return option_rows[option].metavar;
}

const char *ctl_option_choices(enum ctl_option_id option)
{
    return option_choices[option];
}

const char *ctl_option_hints(enum ctl_option_id option)
{
    return option_hints[option];
}

enum ctl_option_kind ctl_option_kind(enum ctl_option_id option)
{
    const char *metavar = option_rows[option].metavar;
    size_t bytes = strlen(metavar);
    if (bytes == 0)
        return CTL_SWITCH;
    if (metavar[0] == '[')
        return CTL_OPTIONAL;
    return bytes > 3 && strcmp(metavar + bytes - 3, "...") == 0 ? CTL_LIST : CTL_VALUE;
}

bool ctl_option_is_instead(enum ctl_option_id option, enum ctl_option_id other)
{
    static const struct {
        enum ctl_option_id option;
        enum ctl_option_id other;
    } rows[] = {
#define CTL_INSTEAD(id, other) {CTL_##id, CTL_##other},
#include "tools/ctl_commands.def"
    };
    for (size_t i = 0; i < KS_COUNT_OF(rows); i++)
        if (rows[i].option == option && rows[i].other == other)
            return true;
    return false;
}

bool ctl_words_have(const char *words, const char *word)
{
    size_t bytes = strlen(word);
    for (const char *at = words; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (strncmp(at, word, bytes) == 0 && (at[bytes] == '|' || at[bytes] == '\0'))
            return true;
    return false;
}
