/* Tags on the command line. Threads: the process runs one verb. */
#ifndef KS_TOOLS_CTL_TAGS_H
#define KS_TOOLS_CTL_TAGS_H

#include "client/kstream_admin.h"
#include "tools/ctl.h"

struct ctl_tags {
    struct kstream_tag list[KS_TAGS_PER_CALL_MAX];
    size_t count;
    json_t *owner; /* of the texts */
};

/* --tags, as KEY=VALUE,... or JSON. Errors: KSTREAM_USAGE, KSTREAM_NO_MEMORY. */
enum kstream_status ctl_tags_read(
    const struct ctl *ctl, struct ctl_tags *out, struct kstream_error *err) KS_MUST_USE;
void ctl_tags_fini(struct ctl_tags *tags);

/* The values of a list of words, also when --cli-input-json gives them as one. */
struct ctl_words {
    const char *list[KS_TAGS_PER_CALL_MAX];
    size_t count;
    json_t *owner; /* of texts from JSON; NULL: none */
};
enum kstream_status ctl_words_read(const struct ctl *ctl, enum ctl_option_id option,
    struct ctl_words *out, struct kstream_error *err) KS_MUST_USE;
void ctl_words_fini(struct ctl_words *words);

/* What verbs that set something ask with. Connects. */
enum kstream_status ctl_setting_begin(
    struct ctl *ctl, struct kstream_setting_options *out, struct kstream_error *err) KS_MUST_USE;

#endif
