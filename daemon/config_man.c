#include "daemon/config_man.h"

#include "base/roff.h"
#include "daemon/config_priv.h"
#include "daemon/units.h"

#include <ctype.h>
#include <string.h>

/* A macro with one argument that stands in bold: .SS, .TP. */
static void put_label(FILE *to, const char *text)
{
    fputs(".TP\n\\fB", to);
    ks_roff_text(to, text);
    fputs("\\fR\n", to);
}

static void put_paragraph(FILE *to, const char *text)
{
    fputs(".PP\n", to);
    ks_roff_running(to, text);
}

struct entry {
    const char *label;
    const char *text;
};

static void put_entries(FILE *to, const char *section, const struct entry *entries, size_t count)
{
    ks_roff_section(to, section);
    for (size_t i = 0; i < count; i++) {
        put_label(to, entries[i].label);
        ks_roff_running(to, entries[i].text);
    }
}

/* "1 to 100000", "16MiB to 1TiB", "off, sample or all". Returns false when anything goes. */
static bool range_text(const struct ks_config_row *row, char text[256])
{
    char least[64];
    char most[64];
    switch (row->type) {
    case KS_CONFIG_IS_TEXT:
        return false;
    case KS_CONFIG_IS_BOOL:
        snprintf(text, 256, "yes or no");
        return true;
    case KS_CONFIG_IS_CHOICE:
        snprintf(text, 256, "one of %s", row->choices);
        return true;
    case KS_CONFIG_IS_COUNT:
        snprintf(text, 256, "from %llu to %llu", (unsigned long long)row->min,
            (unsigned long long)row->max);
        return true;
    case KS_CONFIG_IS_BYTES:
        ks_units_bytes_to_text(row->min, least, sizeof least);
        ks_units_bytes_to_text(row->max, most, sizeof most);
        snprintf(text, 256, "a size from %s to %s", least, most);
        return true;
    case KS_CONFIG_IS_DURATION:
        ks_units_duration_to_text(row->min, least, sizeof least);
        ks_units_duration_to_text(row->max, most, sizeof most);
        snprintf(text, 256, "a duration from %s to %s", least, most);
        return true;
    }
    return false;
}

/* The text of the table as a sentence. */
static void put_meaning(FILE *to, const struct ks_config_row *row)
{
    char text[512];
    snprintf(text, sizeof text, "%c%s.", toupper((unsigned char)row->text[0]), row->text + 1);
    ks_roff_running(to, text);
}

/* ---- kstreamd(8) ---- */

static const struct entry exit_codes[] = {
    {"0", "stopped in order, or what was asked for is printed"},
    {"1", "it could not start, or had to stop; the log says why"},
    {"2", "a setting is wrong; nothing was touched"},
    {"5", "another broker uses the data directory"},
    {"11", "the disk has no room for what a start needs"},
    {"74", "a write or sync failed: nothing more was acknowledged. Look at the disk, then start it "
           "again. The unit does not start it by itself."}};

static const struct entry signals[] = {
    {"SIGTERM, SIGINT", "finishes requests, flushes, and exits, each within storage.stop_timeout"},
    {"SIGHUP", "reads the configuration again. When anything in it is wrong, nothing changes; else "
               "the log says which settings changed and which wait for a restart."}};

static const struct entry files[] = {
    {KS_CONFIG_PATH, "the configuration, with conf.d/*.conf beside it: kstreamd.conf(5)"},
    {"DIR/addresses", "where the broker listens, while it is ready: native=, http=, unix="},
    {"DIR/quarantine/", "files that the broker does not know; it never deletes one"}};

static void put_flags(FILE *to)
{
    ks_roff_section(to, "options");
    ks_roff_option(to, 0, "config", "FILE");
    ks_roff_running(to, "Settings, instead of " KS_CONFIG_PATH ". The word none: no file.");
    for (size_t i = 0; i < KS_CONFIG_ACTION_FLAGS; i++) {
        ks_roff_option(to, 0, ks_config_action_flags[i].flag, NULL);
        ks_roff_running(to, ks_config_action_flags[i].text);
    }
    fputs(".SS \"Settings\"\n"
          "Each is a key of the file as well, where\n.BR kstreamd.conf (5)\nsays more of it.\n",
        to);
    for (size_t i = 0; i < KS_CONFIG_ROWS; i++) {
        const struct ks_config_row *row = &ks_config_rows[i];
        ks_roff_option(to, 0, row->flag, row->type == KS_CONFIG_IS_BOOL ? "[yes|no]" : "VALUE");
        put_meaning(to, row);
        char text[KS_CONFIG_TEXT_BYTES + 64];
        snprintf(text, sizeof text, "Default: %s", row->fallback);
        ks_roff_running(to, text);
    }
}

static void put_see_also(FILE *to, const char *pages)
{
    fputs(".SH \"SEE ALSO\"\n", to);
    fputs(pages, to);
}

void ks_config_man_daemon(FILE *to, const char *version, const char *date)
{
    const struct ks_roff_page page = {.name = "kstreamd",
        .section = 8,
        .summary = "the kstream broker",
        .source = "daemon/config.def",
        .version = version,
        .date = date};
    ks_roff_head(to, &page);
    fputs(".SH SYNOPSIS\n\\fBkstreamd\\fR [\\fB\\-\\-config\\fR \\fIFILE\\fR] "
          "[\\fB\\-\\-\\fIFLAG VALUE\\fR]...\n"
          ".SH DESCRIPTION\n",
        to);
    ks_roff_running(to,
        "kstreamd is a complete Kinesis Data Streams on one machine: streams made of shards, each "
        "a "
        "strictly ordered log. A record is acknowledged once it is on disk, and then survives a "
        "kill, and a power cut. It runs in the foreground; the unit kstreamd.service runs it as a "
        "service.");
    put_paragraph(to,
        "It listens on loopback only unless --insecure allows more. GET /livez, /readyz and "
        "/metrics of the HTTP address tell how it is.");
    put_paragraph(to,
        "A setting may stand in the file, in the environment and on the command line: "
        "a flag wins over the environment, the environment over the files, the files over the "
        "default. kstreamctl config show --effective --origin asks a running broker for all of "
        "them.");
    put_flags(to);
    put_entries(to, "signals", signals, KS_COUNT_OF(signals));
    put_entries(to, "exit-status", exit_codes, KS_COUNT_OF(exit_codes));
    ks_roff_section(to, "environment");
    put_label(to, "KSTREAM_SECTION__KEY");
    ks_roff_running(to, "a setting, as KSTREAM_LISTEN__NATIVE=127.0.0.1:7421");
    put_label(to, "KSTREAM_CONFIG");
    ks_roff_running(to, "as --config");
    put_label(to, "NOTIFY_SOCKET, WATCHDOG_USEC, LISTEN_FDS, JOURNAL_STREAM");
    ks_roff_running(to, "as systemd sets them");
    put_entries(to, "files", files, KS_COUNT_OF(files));
    put_see_also(to, ".BR kstreamd.conf (5),\n.BR kstreamctl (1),\n.BR kstream\\-inspect (1),\n"
                     ".BR kstream\\-bench (1)\n");
}

/* ---- kstreamd.conf(5) ---- */

static void put_key(FILE *to, const struct ks_config_row *row)
{
    char text[KS_CONFIG_TEXT_BYTES + 256];
    char range[256];
    char variable[KS_CONFIG_VARIABLE_BYTES];
    snprintf(text, sizeof text, "%s = %s", row->key, row->fallback);
    put_label(to, text);
    put_meaning(to, row);
    if (range_text(row, range)) {
        snprintf(text, sizeof text, "Value: %s.", range);
        fputs(".br\n", to);
        ks_roff_running(to, text);
    }
    ks_config_variable(row, variable);
    snprintf(text, sizeof text, "Also: --%s, %s; %s.", row->flag, variable,
        row->live_offset == KS_CONFIG_NOT_LIVE ? "a change waits for a restart"
                                               : "a reload changes it");
    fputs(".br\n", to);
    ks_roff_running(to, text);
}

void ks_config_man_file(FILE *to, const char *version, const char *date)
{
    const struct ks_roff_page page = {.name = "kstreamd.conf",
        .section = 5,
        .summary = "settings of the kstream broker",
        .source = "daemon/config.def",
        .version = version,
        .date = date};
    ks_roff_head(to, &page);
    fputs(".SH SYNOPSIS\n", to);
    ks_roff_running(to, KS_CONFIG_PATH);
    fputs(".br\n", to);
    ks_roff_running(to, "conf.d/*.conf beside it");
    ks_roff_section(to, "description");
    ks_roff_running(to,
        "Settings of the start and of the machine; streams are made by requests. Behind the file "
        "those of conf.d are read in the order of their names: the last word wins. A value from "
        "the environment wins over both, a flag over all.");
    put_paragraph(to,
        "Lines are [section], key = value, or a comment, which begins with # or ;. Behind a value, "
        "a ; after a blank begins a comment too. A line has at most 199 bytes. Sizes are written "
        "as 4096, 64KiB or 10MiB, durations as 500ms, 90s, 24h or 7d, truths as yes or no.");
    put_paragraph(to,
        "An unknown key is an error, which names the line and the nearest key. kstreamd "
        "--check-config says whether all is right; systemctl reload kstreamd makes a running "
        "broker read it again, all or nothing. No setting is a secret.");
    const char *section = "";
    for (size_t i = 0; i < KS_CONFIG_ROWS; i++) {
        const struct ks_config_row *row = &ks_config_rows[i];
        if (strcmp(section, row->section) != 0) {
            char heading[72];
            snprintf(heading, sizeof heading, "[%s]", row->section);
            if (i == 0)
                ks_roff_section(to, "settings");
            fputs(".SS ", to);
            ks_roff_argument(to, heading);
            fputc('\n', to);
        }
        section = row->section;
        put_key(to, row);
    }
    ks_roff_section(to, "examples");
    ks_roff_running(to, "More memory for records, and a unix socket:");
    ks_roff_code(to, "", "[limits]\nmemory = 2GiB\n\n[listen]\nunix = /run/kstream/native.sock");
    put_see_also(to, ".BR kstreamd (8),\n.BR kstreamctl\\-broker (1)\n");
}
