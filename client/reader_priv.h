/*
 * The parts of a reader. reader.c is what the caller sees, reader_cursor.c reads one shard,
 * reader_shards.c knows which shards there are and in which order they are read.
 *
 * A cursor asks for the next batch ahead of its caller's wait and remembers where the last batch
 * handed out ended. Iterators and connections come and go below it; the position is what counts.
 *
 *   waits for its parents -> wants -> asked -> ready -> wants ... -> ended
 *                              ^   paused   |
 *                              \------------/   (refused for now, or the connection was lost)
 */
#ifndef KS_CLIENT_READER_PRIV_H
#define KS_CLIENT_READER_PRIV_H

#include "base/prng.h"
#include "client/batch.h"
#include "client/position.h"

#define READER_LONG_POLL_MS 20000u /* below KS_GET_WAIT_MS_MAX */
/* Unanswered questions of one reader: the broker stops reading a connection with 4096 of them. With
 * more shards they take turns, and a turn is short. */
#define READER_ASKED_MAX 2048u
#define READER_TURN_MS 500u
#define READER_ANSWER_BYTES_MIN (16u << 10)
#define READER_PARENTS_MAX 2u /* a merge */

enum cursor_state {
    CURSOR_WAITS_PARENTS,
    CURSOR_WANTS,  /* reader->wants: its next question is due */
    CURSOR_PAUSED, /* reader->paused: after a refusal */
    CURSOR_ASKED,  /* reader->asked */
    CURSOR_READY,  /* reader->ready: a batch or a status waits for the caller */
    CURSOR_ENDED
};

struct reader_cursor {
    struct ks_list node; /* in the list of its state */
    struct kstream_reader *reader;
    enum cursor_state state;
    uint32_t shard_index;
    char shard_id[KSTREAM_SHARD_ID_BYTES];
    uint32_t parents[READER_PARENTS_MAX]; /* their indexes */
    uint32_t parent_count;
    struct kstream_position position; /* where the next batch starts */
    char iterator[KSTREAM_ITERATOR_BYTES];
    bool has_iterator;
    bool is_iterator_fresh; /* not used yet: if it is refused now, a new one will be too */
    struct client_call call;
    uint32_t asked_wait_ms;
    uint64_t asked_ns;
    uint64_t nothing_ns; /* when the question was asked that found nothing; 0: none */
    uint64_t not_before_ns;
    uint32_t backoff_ms;
    struct kstream_batch *batch; /* CURSOR_READY */
    enum ks_status status;
    struct ks_error err;
};

/* What has to be known before the cursors can begin. */
enum reader_phase { READER_WANTS_TIME, READER_WANTS_SHARDS, READER_READS };

struct reader_saved {
    uint32_t shard_index;
    bool is_ended;
    struct kstream_position position;
};

struct kstream_reader {
    struct client_worker worker;
    struct kstream_client *client;
    char *stream;
    bool is_whole;                         /* all shards of the stream */
    char shard_id[KSTREAM_SHARD_ID_BYTES]; /* as the caller named it; "" for a whole stream */
    uint32_t shard_index;
    struct kstream_reader_options options;
    struct kstream_position start;
    uint64_t now_unix_ms;       /* the broker's clock when it was opened, for LATEST */
    struct reader_saved *saved; /* until the shards are known */
    size_t saved_count;

    enum reader_phase phase;
    struct client_call setup_call;
    uint64_t setup_not_before_ns;
    uint32_t setup_backoff_ms;
    char *next_token;          /* of the list of shards */
    bool has_listed;           /* once, to its end */
    uint32_t listed_index_max; /* of the shards that were there then */
    enum ks_status failed;     /* before the cursors could begin: err says why */
    struct ks_error err;

    struct reader_cursor **cursors; /* sorted by index: parents before their children */
    size_t cursor_count;
    size_t active_count; /* neither waiting nor ended */
    struct ks_list wants;
    struct ks_list paused;
    struct ks_list asked;
    struct ks_list ready;
    size_t asked_count;
    size_t asked_max;      /* READER_ASKED_MAX; tests lower it */
    uint64_t became_ready; /* cursors, so far */
    uint64_t told_ready;   /* of those, told by kstream_process */
    bool wants_turn;       /* something may be asked that was not when it was last tried */
    bool is_short;         /* of memory for a question: tried again after a pause */
    struct ks_prng jitter;
};

/* ---- reader_cursor.c ---- */

void reader_cursor_move(struct reader_cursor *cursor, enum cursor_state state);
struct reader_question {
    uint32_t wait_ms; /* how long the broker may hold it back when it has no records */
    /* A cursor that has heard "nothing" since then is not asked again; UINT64_MAX: all are. */
    uint64_t settled_since_ns;
};
#define READER_LONG_POLL                                                                           \
    (&(const struct reader_question){READER_LONG_POLL_MS, CLIENT_DEADLINE_NONE})
/* Asks for what the cursors want, as far as the limits allow. */
void reader_ask(struct kstream_reader *reader, const struct reader_question *question);
/* Questions that wait in the broker for records are dropped, to be asked again without waiting. */
void reader_recall(struct kstream_reader *reader);
/* The result of a ready cursor. */
enum ks_status reader_hand_out(struct reader_cursor *cursor, struct kstream_batch **out_batch,
    struct ks_error *err) KS_MUST_USE;

/* ---- reader_shards.c ---- */

/* Asks for the time or the shards if that is due. */
void reader_set_up(struct kstream_reader *reader);
/* The shard is gone, its last record has expired: the list of shards says what continues it. */
void reader_cursor_vanished(struct reader_cursor *cursor);
/* The cursor has been read to its end, children included: they may begin now. Errors: KS_NO_MEMORY.
 */
enum ks_status reader_cursor_end(struct reader_cursor *cursor, const struct kstream_batch *last,
    struct ks_error *err) KS_MUST_USE;
enum ks_status reader_saved_parse(
    struct kstream_reader *reader, const char *text, struct ks_error *err) KS_MUST_USE;
enum ks_status reader_save(
    const struct kstream_reader *reader, struct ks_buf *to, struct ks_error *err) KS_MUST_USE;

#endif
