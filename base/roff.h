/*
 * Text as a page of the manual: the few man(7) macros that our generators write, and text of which
 * no character is a command. Used during the build. Threads: plain functions.
 */
#ifndef KS_BASE_ROFF_H
#define KS_BASE_ROFF_H

#include <stddef.h>
#include <stdio.h>

struct ks_roff_page {
    const char *name;    /* "kstreamd" */
    int section;         /* 8 */
    const char *summary; /* behind the name, in whatis(1) too */
    const char *source;  /* "daemon/config.def": what the page is made from */
    const char *version; /* "0.1.0" */
    const char *date;    /* "2026-11-24" */
};

/* .TH and the section NAME. */
void ks_roff_head(FILE *to, const struct ks_roff_page *page);
/* "exit-status" becomes .SH EXIT STATUS. */
void ks_roff_section(FILE *to, const char *name);
/* A text as it is, its lines kept. Returns the bytes written. */
size_t ks_roff_text(FILE *to, const char *text);
/* The same in quotes, as the argument of a macro. */
void ks_roff_argument(FILE *to, const char *text);
/* Text that runs on: blanks and ends of lines are the same, a sentence ends its line, and no line
 * gets long. */
void ks_roff_running(FILE *to, const char *text);
/* Lines shown as they stand; before goes in front of the first. */
void ks_roff_code(FILE *to, const char *before, const char *text);
/* .TP and its label: "-o, --output FORMAT" in bold, what is to be replaced in italics. letter 0 and
 * metavar NULL or "": there is none; a metavar in [] stands behind '='. */
void ks_roff_option(FILE *to, char letter, const char *name, const char *metavar);

#endif
