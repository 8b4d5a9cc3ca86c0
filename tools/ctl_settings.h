/*
 * What options are when the command line does not say: from the environment (KSTREAM_OUTPUT), from
 * a profile in the user's file, from the system's file. Which options those are says the command
 * table (CTL_SETTING). Threads: one owner.
 *
 * A file has sections, one per profile, with lines `output = table`; what stands before the first
 * section belongs to [default]. Lines that begin with # or ; are comments.
 */
#ifndef KS_TOOLS_CTL_SETTINGS_H
#define KS_TOOLS_CTL_SETTINGS_H

#include "tools/ctl_args.h"

#define CTL_PROFILE_DEFAULT "default"

struct ctl_setting {
    char *value; /* owned; NULL: not set */
    char *from;  /* owned: "/etc/kstream/client.conf:3: timeout" */
    unsigned reading;
};

struct ctl_settings {
    struct ctl_setting settings[CTL_OPTION_COUNT];
};

struct ctl_settings_sources {
    const char *user_path; /* NULL: there is none */
    bool must_have_user;   /* --config named it: it is an error if it is not there */
    const char *system_path;
    const char *profile; /* NULL: "default", which need not exist */
};

/* ~/.config/kstream/config, to be freed. NULL: the environment names no home, or no memory. */
char *ctl_settings_user_path(void);
#define CTL_SETTINGS_SYSTEM_PATH "/etc/kstream/client.conf"

/*
 * Reads both files; the user's profile wins over the system's profile of that name, and that over
 * the system's default. out is to be freed by ctl_settings_fini in every case.
 * Errors: KS_USAGE a bad line, an unknown key, no such profile; KS_NO_MEMORY; KS_IO.
 */
enum ks_status ctl_settings_load(const struct ctl_settings_sources *sources,
    struct ctl_settings *out, struct ks_error *err) KS_MUST_USE;
void ctl_settings_fini(struct ctl_settings *settings);

/*
 * Fills what the command line has left open, from the environment first; args->origins says where
 * each came from. Values that an option cannot have are errors. Errors: KS_USAGE.
 */
enum ks_status ctl_settings_apply(
    const struct ctl_settings *settings, struct ctl_args *args, struct ks_error *err) KS_MUST_USE;

/* "KSTREAM_OUTPUT"; NULL: the option is none that can be set so. */
const char *ctl_setting_variable(enum ctl_option_id option);

/* The names of the profiles of both files, for completion and messages: calls each. */
enum ks_status ctl_settings_profiles(const struct ctl_settings_sources *sources,
    void (*each)(const char *name, void *arg), void *arg) KS_MUST_USE;

#endif
