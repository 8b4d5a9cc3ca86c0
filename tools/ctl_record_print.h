/*
 * The records of tail, printed as --output, --format and --decode say, one by one.
 * Threads: one owner.
 */
#ifndef KS_TOOLS_CTL_RECORD_PRINT_H
#define KS_TOOLS_CTL_RECORD_PRINT_H

#include "tools/ctl.h"
#include "tools/ctl_decode.h"
#include "tools/ctl_items.h"

struct ctl_record_printer {
    const struct ctl *ctl;
    const char *format; /* NULL: as --output says */
    enum ctl_decode decode;
    uint64_t not_decoded;   /* records that are no gzip although they should */
    struct ctl_items items; /* where there is no format */
};

/* Reads the options. Errors: KSTREAM_USAGE. fini is fine in every case. */
enum kstream_status ctl_record_printer_init(struct ctl_record_printer *printer,
    const struct ctl *ctl, struct kstream_error *err) KS_MUST_USE;
void ctl_record_printer_fini(struct ctl_record_printer *printer);

/* The index-th record of the batch, which is intact. Errors: those of ctl_items_print;
 * KSTREAM_NO_MEMORY. Whether it was written is for the caller to ask stdout. */
enum kstream_status ctl_record_print(struct ctl_record_printer *printer,
    const struct kstream_batch *batch, size_t index, struct kstream_error *err) KS_MUST_USE;

#endif
