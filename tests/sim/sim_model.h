/*
 * What the simulated clients know: every batch they sent to each log, in order, and what they were
 * told about it. Plain arrays, no engine: the engine's answers are held against this.
 */
#ifndef KS_TESTS_SIM_MODEL_H
#define KS_TESTS_SIM_MODEL_H

#include "base/bytes.h"
#include "base/prng.h"
#include "storage/log.h"
#include "storage/registry.h"

enum sim_batch_state {
    SIM_PENDING, /* sent, not answered */
    SIM_WEAK,    /* answered from memory: a crash may take it, with all behind it */
    SIM_ACKED,   /* answered: must be there for ever */
    SIM_FOUND,   /* never answered, yet there after a crash: from then on it must stay */
};

struct sim_batch {
    uint64_t uid; /* names its bytes: the records are made from it again to compare. 0: nothing was
                     sent, recovery has given these ordinals up */
    uint64_t first_sequence;
    uint64_t producer_id; /* 0 = plain */
    uint64_t producer_sequence;
    uint64_t arrival_unix_ms; /* once acknowledged */
    uint32_t record_count;
    uint32_t body_crc;
    enum sim_batch_state state;
    bool is_producer_first;
};

#define SIM_PRODUCERS 2
#define SIM_RETRIES_MAX 8

/* A client that numbers its batches; it keeps at most 5 of them unanswered. */
struct sim_producer {
    uint64_t id;
    uint64_t next_sequence;
    uint32_t in_flight;
    bool has_lost; /* batches answered from memory are gone: the broker sees a gap */
    struct sim_batch retries[SIM_RETRIES_MAX]; /* outcome unknown after a crash: sent again
                                                  unchanged, in order */
    uint32_t retry_count;
};

struct sim_log {
    uint64_t incarnation; /* of the stream in the model: a request of a deleted one is told apart */
    uint32_t shard_index;
    enum ks_ack ack;
    struct sim_batch *batches; /* by first_sequence, dense */
    size_t batch_count;
    size_t batch_capacity;
    uint64_t next_sequence;    /* ordinal the next batch will get */
    uint64_t seen_sequence;    /* the highest ordinal a reader was shown: must never vanish */
    uint64_t arrival_sequence; /* of the newest batch that was answered, and its arrival */
    uint64_t last_arrival_unix_ms;
    struct sim_producer producers[SIM_PRODUCERS];
    bool is_known;         /* seen in a snapshot, which said */
    struct ks_shard shard; /* this, without the log */
    bool is_ended;         /* somebody saw the end: it never changes */
    uint64_t end_sequence;
    bool is_removal_asked;
    bool is_removed;
};

void sim_log_init(
    struct sim_log *log, uint64_t incarnation, uint32_t shard_index, struct ks_prng *prng);
void sim_log_fini(struct sim_log *log);
struct sim_batch *sim_log_add(struct sim_log *log, const struct sim_batch *batch);
/* Recovery could not know where the log ends, and keeps so many ordinals out of use. */
void sim_log_add_unused(struct sim_log *log, uint64_t ordinals);
/* The batch that holds an ordinal; NULL if none. */
struct sim_batch *sim_log_find(struct sim_log *log, uint64_t sequence);
/* The highest ordinal that must be there: acknowledged durably, found or shown. */
uint64_t sim_log_required(const struct sim_log *log);
/*
 * After recovery the log ends at last_sequence: checks that it ends between two batches; forgets
 * what was lost (never what was acknowledged durably: the caller has checked) and hands unanswered
 * batches to their producers for a retry. *out_weak_lost: lost batches that were answered from
 * memory. false: the end lies inside a batch.
 */
bool sim_log_cut(struct sim_log *log, uint64_t last_sequence, uint64_t *out_weak_lost);

/* A clean stop: what was answered from memory is durable like all else. */
void sim_log_settle(struct sim_log *log);
/* Goes on under another identity, as a client does whose batches are gone. */
void sim_producer_renew(struct sim_producer *producer, uint64_t id);

/* Makes the records of a batch from its uid: `repeated Record` bytes. Returns the body checksum. */
uint32_t sim_make_records(
    uint64_t uid, uint32_t record_count, uint32_t data_bytes_max, struct ks_buf *to);
/* True when the stored records (walked, checksums verified) are those of uid. */
bool sim_records_are(uint64_t uid, uint32_t data_bytes_max, uint32_t record_index,
    struct ks_view key, struct ks_view data);

#endif
