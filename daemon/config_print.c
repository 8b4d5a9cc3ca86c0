/* What kstreamd prints of its settings. */
#include "daemon/config_priv.h"

#include <string.h>

static void row_print_range(FILE *to, const struct ks_config_row *row)
{
    if (row->type == KS_CONFIG_IS_CHOICE)
        fprintf(to, " (%s)", row->choices);
    else if (row->type == KS_CONFIG_IS_BOOL)
        fprintf(to, " (yes|no)");
}

static void row_print_apply(FILE *to, const struct ks_config_row *row)
{
    if (row->live_offset == KS_CONFIG_NOT_LIVE)
        fprintf(to, " [restart]");
}

void ks_config_print_defaults(FILE *to)
{
    fprintf(to,
        "# kstreamd.conf: every setting with its default, commented out. Behind this file those "
        "of\n"
        "# conf.d/*.conf beside it are read in the order of their names: the last word wins. A "
        "value\n"
        "# may also come from the environment (KSTREAM_SECTION__KEY) or a flag (kstreamd --help):\n"
        "# flag > environment > files > default. Lines have at most 199 bytes; a '#' or ';' begins "
        "a\n"
        "# comment line, a ';' behind a blank a comment.\n"
        "#\n"
        "# systemctl reload kstreamd (SIGHUP) reads all of it again: nothing changes when anything "
        "is\n"
        "# wrong, and the log says what changed. Settings marked [restart] wait for a restart.\n"
        "# kstreamd --check-config says whether the files are right.\n");
    const char *section = "";
    for (size_t i = 0; i < KS_CONFIG_ROWS; i++) {
        if (strcmp(section, ks_config_rows[i].section) != 0)
            fprintf(to, "\n[%s]\n", ks_config_rows[i].section);
        section = ks_config_rows[i].section;
        fprintf(to, "# %s", ks_config_rows[i].text);
        row_print_range(to, &ks_config_rows[i]);
        row_print_apply(to, &ks_config_rows[i]);
        fprintf(to, "\n#%s = %s\n", ks_config_rows[i].key, ks_config_rows[i].fallback);
    }
}

void ks_config_print_help(FILE *to)
{
    fprintf(to, "usage: kstreamd [--config FILE] [--FLAG VALUE]...\n\nThe kstream broker.\n\n"
                "  --config FILE             settings; conf.d/*.conf beside it are read as well;\n"
                "                            'none': no file (default: " KS_CONFIG_PATH ")\n");
    for (size_t i = 0; i < KS_CONFIG_ACTION_FLAGS; i++)
        fprintf(
            to, "  --%-23s %s\n", ks_config_action_flags[i].flag, ks_config_action_flags[i].text);
    fprintf(to, "\nsettings (flag, default):\n");
    for (size_t i = 0; i < KS_CONFIG_ROWS; i++) {
        char name[160];
        snprintf(name, sizeof(name), "%s %s", ks_config_rows[i].flag,
            ks_config_rows[i].type == KS_CONFIG_IS_BOOL ? "" : ks_config_rows[i].fallback);
        fprintf(to, "  --%-32s %s", name, ks_config_rows[i].text);
        row_print_range(to, &ks_config_rows[i]);
        fprintf(to, "\n");
    }
    fprintf(to,
        "\nEach is also [SECTION] KEY in the file and KSTREAM_SECTION__KEY in the environment;\n"
        "kstreamd --print-default-config shows the sections.\n");
}
