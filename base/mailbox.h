/*
 * A mailbox: other threads hand nodes to the thread that owns it, in order. A node is memory the
 * sender has reserved beforehand (inside the request it answers), so sending never fails, allocates
 * or blocks on anything but a short lock. The owner is woken once per burst, through an eventfd
 * (production) or not at all (the simulation polls).
 */
#ifndef KS_BASE_MAILBOX_H
#define KS_BASE_MAILBOX_H

#include "base/list.h"
#include "base/mutex.h"
#include "base/status.h"

struct ks_mail {
    struct ks_list link;                   /* [mailbox] zero-initialised when not under way */
    void (*deliver)(struct ks_mail *mail); /* runs on the owner's thread, from ks_mailbox_deliver */
};

struct ks_mailbox {
    struct ks_mutex mu;   /* KS_RANK_MAILBOX */
    struct ks_list mails; /* [mu] */
    int event_fd;         /* [const] -1: nobody to wake */
    bool is_signalled;    /* [mu] an unread wake-up is under way */
};

/* with_event_fd: for a libevent loop to watch. Errors: KS_INTERNAL (no descriptor left). */
enum ks_status ks_mailbox_init(
    struct ks_mailbox *box, bool with_event_fd, struct ks_error *err) KS_MUST_USE;
/* Must be empty, and every send must have returned: a sender wakes the owner after its mail is in.
 */
void ks_mailbox_fini(struct ks_mailbox *box);
/* Any thread. Wakes the owner if it is not already woken. */
void ks_mailbox_send(struct ks_mailbox *box, struct ks_mail *mail);
/* Any thread. Sends a whole list of ks_mail.link nodes with one wake-up; mails is empty afterwards.
 */
void ks_mailbox_send_all(struct ks_mailbox *box, struct ks_list *mails);
/* Owner only. Takes everything sent so far and calls deliver on each, without the lock; returns how
 * many. */
size_t ks_mailbox_deliver(struct ks_mailbox *box);

#endif
