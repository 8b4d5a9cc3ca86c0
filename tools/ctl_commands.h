/*
 * The table of groups, verbs and options (ctl_commands.def), to look things up in.
 * Threads: constant data.
 */
#ifndef KS_TOOLS_CTL_COMMANDS_H
#define KS_TOOLS_CTL_COMMANDS_H

#include "base/bytes.h"

enum ctl_option_id {
#define CTL_OPTION(id, name, letter, metavar) CTL_##id,
#include "tools/ctl_commands.def"
    CTL_OPTION_COUNT
};

enum ctl_verb_id {
#define CTL_VERB(id, name, summary) CTL_VERB_##id,
#include "tools/ctl_commands.def"
    CTL_VERB_COUNT
};

struct ctl_use {
    enum ctl_option_id option;
    bool is_needed;
    const char *text; /* NULL ends a list */
};

struct ctl_group {
    const char *name;    /* "stream" */
    const char *summary; /* "streams: make, look at, delete" */
    int position;        /* in the table */
};

#define CTL_VERB_ARGS_MAX 3

struct ctl_verb {
    enum ctl_verb_id id;
    const char *name;               /* "list-streams" */
    const char *summary;            /* "list the streams" */
    const struct ctl_use *uses;     /* ends with a NULL text */
    const char *const *examples;    /* ends with NULL */
    const char *const *also;        /* other names; ends with NULL */
    const enum ctl_option_id *args; /* given by bare words; ends with CTL_OPTION_COUNT */
    int position;
};

const struct ctl_verb *ctl_verb_at(size_t index); /* NULL behind the last */
/* By any of its names, two words with one blank between them. NULL when there is no such verb. */
const struct ctl_verb *ctl_verb_find(const char *name);
const struct ctl_group *ctl_verb_group(const struct ctl_verb *verb);
bool ctl_verb_is_hidden(const struct ctl_verb *verb);
/* Also for the options of every verb. */
bool ctl_verb_takes(const struct ctl_verb *verb, enum ctl_option_id option);
/* "[NAME] [FILE]", or "". */
#define CTL_USAGE_BYTES 96
void ctl_verb_usage(const struct ctl_verb *verb, char text[CTL_USAGE_BYTES]);

const struct ctl_group *ctl_group_at(size_t index); /* NULL behind the last */
const struct ctl_group *ctl_group_find(const char *name);
/* Whether a name of some verb begins with this word: "stream", of "stream create". */
bool ctl_is_noun(const char *word);

/* A line of a topic: a paragraph, or a word and what it means. */
struct ctl_topic_line {
    const char *left; /* NULL: a paragraph */
    const char *text; /* NULL ends a topic */
};

struct ctl_topic {
    const char *name;    /* "exit-codes" */
    const char *summary; /* "what the exit code says" */
    const struct ctl_topic_line *lines;
};

/* Fills out_topic; false behind the last. */
bool ctl_topic_at(size_t index, struct ctl_topic *out_topic);
bool ctl_topic_find(const char *name, struct ctl_topic *out_topic);

const char *ctl_option_name(enum ctl_option_id option);    /* "stream-name" */
char ctl_option_letter(enum ctl_option_id option);         /* 'o'; 0: none */
const char *ctl_option_metavar(enum ctl_option_id option); /* "NAME", "" for a switch */
/* The words its value is one of, "a|b"; NULL: any value. */
const char *ctl_option_choices(enum ctl_option_id option);
/* What completion offers besides; NULL: nothing. */
const char *ctl_option_hints(enum ctl_option_id option);

/* What may follow an option. */
enum ctl_option_kind { CTL_SWITCH, CTL_VALUE, CTL_OPTIONAL, CTL_LIST };
enum ctl_option_kind ctl_option_kind(enum ctl_option_id option);

/* The options of every verb; ends with a NULL text. */
extern const struct ctl_use ctl_common_uses[];

/* Another spelling of an option. NULL ends the list. */
struct ctl_alias {
    const char *name;
    enum ctl_option_id option;
};
extern const struct ctl_alias ctl_aliases[];

/* Whether option may stand in for the other. */
bool ctl_option_is_instead(enum ctl_option_id option, enum ctl_option_id other);

/* Whether word is one of "a|b|c". */
bool ctl_words_have(const char *words, const char *word);

#endif
