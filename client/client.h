/*
 * The client: the connection of every blocking call and of the readers, and what kstream_process
 * drives. Producers and readers hold a reference, so the order in which all are closed is free.
 */
#ifndef KS_CLIENT_CLIENT_H
#define KS_CLIENT_CLIENT_H

#include "client/conn.h"
#include "client/errors.h"
#include "proto/api.pb-c.h"
#include "proto/arena.h"

#include <sys/types.h>

/* What one answer may take when unpacked: a frame is at most 16 MiB. */
#define CLIENT_ANSWER_BYTES_MAX (64u << 20)

/* A producer or a reader, as kstream_process sees it. */
struct client_worker {
    struct ks_list node; /* client->workers */
    uint64_t turn;       /* the last turn of client->turn that it had */
    /* Does what is possible without waiting; returns how many records were answered, or batches
     * became ready. */
    size_t (*run)(struct client_worker *worker);
    /* When run has something to do, the sockets apart. */
    uint64_t (*timer_ns)(const struct client_worker *worker);
};

struct kstream_client {
    struct client_conn conn; /* of the blocking calls and the readers */
    struct client_watch watch;
    struct client_endpoint endpoint;
    struct client_addresses addresses;
    uint32_t connect_timeout_ms;
    uint32_t request_timeout_ms;
    bool log_requests;
    kstream_log_fn log;
    void *log_arg;
    uint32_t references; /* its own and one of each worker */
    bool is_closed;
    pid_t pid; /* of the process it belongs to */
    struct ks_list workers;
    uint64_t turn;
    struct client_call hello; /* of readers, on a connection that was made again */
    uint32_t reader_turn;     /* the reader that is looked at first */
    uint64_t last_request_id; /* for struct kstream_error */
};

KS_DEFINE_CLEANUP(struct kstream_client, kstream_close)

void client_ref(struct kstream_client *client);
void client_unref(struct kstream_client *client);
/* A worker begins, which holds a reference; ends. */
void client_add_worker(struct kstream_client *client, struct client_worker *worker);
void client_remove_worker(struct kstream_client *client, struct client_worker *worker);
/* After anything that may have set a timer: the descriptor of kstream_fd learns of it. */
void client_arm(struct kstream_client *client, uint64_t timer_ns);
/* False in the child of a fork: what the parent opened is only freed there. */
bool client_is_ours(const struct kstream_client *client);
/* Asks a broker that is back whether it answers; the answer ends the connection's trouble. A
 * question that waits in the broker for records would not. */
void client_say_hello(struct kstream_client *client);
/* Another connection of this client. Errors: KS_NO_MEMORY, KS_INTERNAL. */
enum ks_status client_conn_of(
    struct kstream_client *client, struct client_conn *conn, struct ks_error *err) KS_MUST_USE;
/* To the log of the config, if there is one. */
void client_log(const struct kstream_client *client, enum kstream_log_level level,
    const char *format, ...) KS_PRINTF(3, 4);

/* A blocking call begins, with no error yet: what it refuses itself has no request. */
static inline struct ks_error client_begin(struct kstream_client *client)
{
    client->last_request_id = 0;
    return (struct ks_error)KS_ERROR_INIT;
}

/* What a caller must have given. Errors: KS_INVALID. */
enum ks_status client_check_place(const void *out, struct ks_error *err) KS_MUST_USE;
enum ks_status client_check_list(
    const void *list, size_t count, const char *of_what, struct ks_error *err) KS_MUST_USE;

/* One blocking exchange. */
struct client_exchange {
    enum ks_op op;
    const ProtobufCMessage *request;
    uint64_t deadline_ns;
    /* The request changes nothing, or doing it twice is the same: after a lost connection it is
     * sent once more. */
    bool is_repeatable;
};

/* An answer and the bytes it points into. */
struct client_answer {
    uint8_t *frame;
    struct ks_response_view response;
};

/* Zero means the config's. */
uint64_t client_call_deadline_ns(const struct kstream_client *client, uint32_t timeout_ms);

/*
 * Sends and waits. The caller frees out_answer->frame with ks_free. Errors: those the broker
 * answered; KS_UNAVAILABLE, KS_TIMEOUT, KS_PROTOCOL, KS_NO_MEMORY.
 */
enum ks_status client_exchange(struct kstream_client *client,
    const struct client_exchange *exchange, struct client_answer *out_answer,
    struct ks_error *err) KS_MUST_USE;

/* The same with the answer unpacked into arena, which need not outlive the call otherwise. */
enum ks_status client_call(struct kstream_client *client, const struct client_exchange *exchange,
    struct ks_arena *arena, ProtobufCMessage **out_message, struct ks_error *err) KS_MUST_USE;

/* Why a message could not be unpacked: KS_NO_MEMORY, or KS_PROTOCOL and what was malformed. */
enum ks_status client_unpack_failed(
    const struct ks_arena *arena, const char *what, struct ks_error *err) KS_MUST_USE;

/* What an Error of the broker says; its text and status go to err. */
struct client_broker_error {
    enum ks_status status;
    uint64_t expected_producer_sequence;
    Kstream__DescribeRoutingResponse *routing; /* in the arena, or NULL */
};
struct client_broker_error client_read_error(
    struct ks_arena *arena, struct ks_view message, struct ks_error *err);
/* The same for an Error inside another message. */
struct client_broker_error client_read_error_message(
    const Kstream__Error *error, struct ks_error *err);

/* A stream is named by its name, by its ARN or by its id. */
static inline bool client_is_arn(const char *stream)
{
    return strncmp(stream, "arn:", 4) == 0;
}

/* "id:" and a StreamId, as names of streams cannot begin. */
static inline bool client_is_id(const char *stream)
{
    return strncmp(stream, "id:", 3) == 0;
}

/* protobuf-c's fields are not const; packing does not write through them. */
static inline char *client_text(const char *text)
{
    return (char *)(uintptr_t)text;
}

static inline char **client_texts(const char *const *texts)
{
    return (char **)(uintptr_t)texts;
}

#define CLIENT_NAME_STREAM(request, stream)                                                        \
    (*(client_is_arn(stream)    ? &(request)->stream_arn                                           \
         : client_is_id(stream) ? &(request)->stream_id                                            \
                                : &(request)->stream_name) =                                       \
            client_text((stream) + (client_is_id(stream) ? 3 : 0)))

/* The description without shards, in arena. */
enum ks_status client_stream_about(struct kstream_client *client, const char *stream,
    uint64_t deadline_ns, struct ks_arena *arena,
    const Kstream__StreamDescriptionSummary **out_about, struct ks_error *err) KS_MUST_USE;

/* For a request: the messages lie behind the list, ks_free frees both; the texts are borrowed.
 * Errors: KS_INVALID no tags, but a count of them; KS_NO_MEMORY. */
struct kstream_tag;
enum ks_status client_tags_make(const struct kstream_tag *tags, size_t count,
    Kstream__Tag ***out_list, struct ks_error *err) KS_MUST_USE;

/* Reads a member of a caller's options struct only if his version of it has the member. */
#define CLIENT_HAS_OPTION(options, member)                                                         \
    ((options) &&                                                                                  \
        (options)->size >= offsetof(__typeof__(*(options)), member) + sizeof((options)->member))
#define CLIENT_OPTION(options, member, otherwise)                                                  \
    (CLIENT_HAS_OPTION(options, member) ? (options)->member : (otherwise))

#endif
