/* One reshard on its way, for reshard*.c only. */
#ifndef KS_STORAGE_RESHARD_PRIV_H
#define KS_STORAGE_RESHARD_PRIV_H

#include "storage/engine_priv.h"
#include "storage/registry_priv.h"
#include "storage/reshard.h"
#include "storage/reshard_plan.h"
#include "storage/scaling.h"

/* Whose a work is, to move on and to free: the step's but where another is named. */
enum reshard_state {
    RESHARD_WAITING, /* for its turn; the registry's */
    RESHARD_PLANNED, /* its turn has come: to be planned */
    RESHARD_INTENT,  /* the catalog's: the intent is being committed */
    RESHARD_ADOPTED, /* found in the catalog at the start */
    RESHARD_CLOSING, /* the close batches are to be queued */
    RESHARD_CLOSED,  /* they are queued: to be waited for */
    RESHARD_SWITCH,  /* the catalog's: the change of shards is being committed */
    RESHARD_REFUSED, /* that had no room: again, later */
};

struct parent_close {
    struct ks_append append;
    struct ks_reshard *reshard;
    bool is_queued; /* or durable since before the start */
};

struct ks_reshard {
    struct ks_list link;      /* [reshards' mu] */
    enum reshard_state state; /* [reshards' mu] */
    struct ks_reshards *reshards;
    struct ks_turn turn;
    struct ks_change change;
    struct ks_admin *admin; /* NULL: nobody asked, or has been answered */
    struct ks_reshard_spec spec;
    struct ks_stream *before;  /* ACTIVE; NULL for an adopted one */
    struct ks_stream *current; /* UPDATING */
    struct ks_stream *after;   /* ACTIVE again */
    struct ks_reshard_plan plan;
    struct parent_close *closes; /* plan.parent_count of them */
    uint32_t open_added;         /* counted in registry->open_shards before they are there */
    uint32_t closes_pending;     /* [step] */
    uint64_t retry_mono_ns;      /* REFUSED: not before */
    uint64_t seen_round;         /* [reshards' mu] of the step */
    bool is_durable;             /* the intent: it will be done */
};

struct ks_reshards {
    struct ks_engine *engine;
    struct ks_step step;
    struct ks_wake wake;
    struct ks_mutex mu;        /* KS_RANK_RESHARD */
    struct ks_list works;      /* [mu] */
    bool is_ending;            /* [mu] */
    uint64_t round;            /* [mu] of the step */
    struct ks_mailbox mailbox; /* close batches, answers to scaling; emptied by the step */
    struct ks_scaling *scaling;
};

/* ---- reshard_work.c: what each state does ---- */

/* PLANNED: plans, announces, submits the intent; or answers what is wrong, and is gone. */
void ks_reshard_begin(struct ks_reshard *reshard);
/* CLOSING: queues the close batches. False: not now. */
bool ks_reshard_close(struct ks_reshard *reshard);
/* CLOSED or REFUSED: submits the change of shards. False: no memory now. */
bool ks_reshard_switch(struct ks_reshard *reshard);

void ks_reshard_answer(
    struct ks_reshard *reshard, enum ks_status status, const struct ks_error *error);
/* It will be done, but something has to be waited for: the caller need not. */
void ks_reshard_answer_early(struct ks_reshard *reshard);
/* Its turn is over: the next change of the stream goes on. It is gone. */
void ks_reshard_finish(struct ks_reshard *reshard);
void ks_reshard_free(struct ks_reshard *reshard);
enum ks_status ks_reshard_make_closes(struct ks_reshard *reshard, struct ks_error *err) KS_MUST_USE;
/* The stream as it will be, but for its routing. NULL: no memory. */
struct ks_stream *ks_reshard_make_after(const struct ks_reshard *reshard);

#endif
