/*
 * Who waits for a log's records. Armed watches are a stack of nodes that belong to their parties:
 * arming pushes one, waking takes all at once, neither waits for a lock, so the committer wakes
 * exactly the parties that wait for a log of its group.
 */
#include "storage/log_priv.h"

void ks_log_watch_arm(struct ks_log *log, struct ks_log_watch *watch)
{
    watch->next = atomic_load(&log->watches);
    while (!atomic_compare_exchange_weak(&log->watches, &watch->next, watch))
        continue;
}

struct ks_log_watch *ks_log_watch_take(struct ks_log *log)
{
    /* The load alone for the usual case: nobody waits, and the line stays shared. */
    return atomic_load(&log->watches) ? atomic_exchange(&log->watches, NULL) : NULL;
}

static void mail_all(struct ks_log_watch *watch)
{
    while (watch) {
        struct ks_log_watch *next = watch->next; /* once mailed it is its owner's again */
        ks_mailbox_send(watch->home, &watch->mail);
        watch = next;
    }
}

void ks_log_wake(struct ks_log *log)
{
    mail_all(ks_log_watch_take(log));
}

/*
 * A node cannot be taken out of the middle of the stack. Those above and below it are woken rather
 * than put back: news could have come in between, and nobody would tell them.
 */
bool ks_log_watch_disarm(struct ks_log *log, struct ks_log_watch *watch)
{
    struct ks_log_watch *others = NULL;
    bool is_found = false;
    for (struct ks_log_watch *at = ks_log_watch_take(log); at;) {
        struct ks_log_watch *next = at->next;
        is_found |= at == watch;
        if (at != watch) {
            at->next = others;
            others = at;
        }
        at = next;
    }
    mail_all(others);
    return is_found;
}
