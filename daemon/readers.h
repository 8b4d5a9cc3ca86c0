/*
 * The reader pool: a few threads that wait for the disk so that loops do not. A job is memory of
 * its sender, untouched by it until deliver has run on home's owner.
 */
#ifndef KS_DAEMON_READERS_H
#define KS_DAEMON_READERS_H

#include "base/mailbox.h"

struct ks_readers;

struct ks_job {
    struct ks_list link;             /* private */
    struct ks_mail mail;             /* set mail.deliver */
    struct ks_mailbox *home;         /* borrowed */
    void (*run)(struct ks_job *job); /* on a reader's thread; may wait for the disk */
};

/* Jobs waiting at a time; past that ks_readers_submit says KS_THROTTLED. */
#define KS_READERS_QUEUE_MAX 4096u

/* Errors: KS_NO_MEMORY. */
enum ks_status ks_readers_create(
    unsigned thread_count, struct ks_readers **out_readers, struct ks_error *err) KS_MUST_USE;
/* Finishes what is queued, joins the threads. NULL is fine. */
void ks_readers_destroy(struct ks_readers *readers);
/* Errors: KS_THROTTLED: deliver will not run. */
enum ks_status ks_readers_submit(
    struct ks_readers *readers, struct ks_job *job, struct ks_error *err) KS_MUST_USE;

#endif
