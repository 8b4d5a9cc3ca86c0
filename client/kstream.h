/*
 * libkstream: the C client of kstream. Everything a program needs to put and to read records stands
 * in this file. Compile with `cc program.c $(pkg-config --cflags --libs kstream)`.
 *
 * A whole program, which puts one record and prints its sequence number:
 *
 * Example:
 *     #include <kstream/kstream.h>
 *     #include <stdio.h>
 *
 *     int main(void)
 *     {
 *         struct kstream_error err = KSTREAM_ERROR_INIT;
 *         struct kstream_client *client = NULL;
 *         struct kstream_put_result result;
 *         if (kstream_connect(kstream_config_new(), 5000, &client, &err) ||
 *             kstream_put_record(client, "clicks", "user-7", 6, "hello", 5, NULL, &result, &err)) {
 *             fprintf(stderr, "%s\n", err.text);
 *             kstream_close(client);
 *             return 1;
 *         }
 *         puts(result.sequence_number);
 *         kstream_close(client);
 *         return 0;
 *     }
 *
 * How to use it
 *   1. kstream_config_new(), kstream_config_set() what differs from the defaults, and then
 *      kstream_connect();
 *   2. for one thing now and then: the blocking calls, each returns with its answer;
 *   3. to put many records: a producer (batches them, keeps their order, stores each once);
 *   4. to read: a reader, of one shard or of a whole stream (survives restarts of the broker);
 *   5. beside other descriptors in one event loop: kstream_fd() and kstream_process().
 * In the examples below client, producer and reader are open ones, err is a struct kstream_error
 * and st an enum kstream_status.
 *
 * Rules that hold for all of it
 * - Results: every call that can fail returns enum kstream_status, 0 is success. The last
 *   parameter, struct kstream_error *err, is the caller's own memory; NULL is allowed. out_
 *   parameters are written on success only, unless the call says otherwise.
 * - Threads: the library makes no threads and touches no signals. A client and all producers and
 *   readers opened from it belong to one thread at a time; different clients may be used in
 *   different threads at once, and a batch belongs to whoever holds it. Nothing runs while no call
 *   of the library runs: a producer sends and a reader reads ahead only inside calls. A program
 *   that wants it otherwise gives a client to a thread of its own which calls kstream_process() in
 *   a loop, and hands it records through a queue of its own.
 * - fork(): the child must not use what the parent has opened. It may close it, which frees the
 *   memory, sends nothing and runs no callbacks, and connects anew.
 * - Memory: what a call hands out is freed with the function named there. Clients, producers and
 *   readers may be closed in any order.
 * - Structs of options start with their size: initialise them with their ..._INIT, and later
 *   versions of the library stay compatible.
 * - Texts are UTF-8 and zero-terminated; keys and data carry their sizes.
 * - stream is the name of a stream, its ARN, or "id:" and its StreamId.
 * - Times: _unix_ms are milliseconds since 1970 by the broker's clock. Timeouts are milliseconds;
 *   0 means "do not wait", KSTREAM_FOREVER no limit. A name in an endpoint is looked up by
 *   kstream_connect() alone, which may take the resolver's time on top; no other call waits for
 *   anything but the time it was given.
 */
#ifndef KSTREAM_KSTREAM_H
#define KSTREAM_KSTREAM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KSTREAM_API __attribute__((visibility("default")))
#define KSTREAM_MUST_USE __attribute__((warn_unused_result))
#else
#define KSTREAM_API
#define KSTREAM_MUST_USE
#endif

#define KSTREAM_FOREVER UINT32_MAX

/* Room for the texts the library writes, the final zero included. */
#define KSTREAM_SEQUENCE_BYTES 64  /* a sequence number: 56 digits */
#define KSTREAM_SHARD_ID_BYTES 32  /* "shardId-000000000007" */
#define KSTREAM_ITERATOR_BYTES 520 /* a shard iterator */
#define KSTREAM_POSITION_BYTES 80  /* the text of a struct kstream_position */

/* ---- results ---- */

/* The numbers are part of the protocol and never change; share/doc/kstream/kstream-protocol.md has
 * the table. */
enum kstream_status {
    KSTREAM_OK = 0,
    KSTREAM_INVALID = 1,    /* an argument makes no sense */
    KSTREAM_VALIDATION = 2, /* the server refuses a member of the request; the text says which */
    KSTREAM_NOT_FOUND = 3,  /* no such stream or shard */
    KSTREAM_EXISTS = 4,     /* a stream of that name exists */
    KSTREAM_IN_USE = 5,     /* the stream is being created, changed or deleted */
    KSTREAM_LIMIT = 6,      /* a limit of the account */
    KSTREAM_THROTTLED = 7,  /* try again later */
    KSTREAM_TOO_LARGE = 8,  /* a record or a request beyond the limits */
    KSTREAM_EXPIRED_ITERATOR = 9,
    KSTREAM_EXPIRED_TOKEN = 10,
    KSTREAM_ACCESS_DENIED = 11,
    KSTREAM_STORAGE_FULL = 12, /* the broker's disk is full; resumes by itself */
    KSTREAM_IO = 13,
    KSTREAM_CORRUPT = 14,   /* a checksum is wrong */
    KSTREAM_POISONED = 15,  /* the broker stops after a failed write */
    KSTREAM_NO_MEMORY = 16, /* here or in the broker; the text says where */
    KSTREAM_INTERNAL = 17,
    KSTREAM_UNSUPPORTED = 18,       /* the broker is too old or too new for this */
    KSTREAM_ROUTING_CHANGED = 19,   /* handled inside producers */
    KSTREAM_SHARD_CLOSED = 20,      /* handled inside producers */
    KSTREAM_PRODUCER_MISMATCH = 21, /* a producer id is used twice */
    KSTREAM_PRODUCER_GAP = 22,      /* handled inside producers */
    KSTREAM_PRODUCER_UNKNOWN = 23,  /* the broker cannot say any more whether it stored the batch */
    KSTREAM_WOULD_BLOCK = 24,       /* nothing has arrived yet, see kstream_reader_take */
    KSTREAM_TIMEOUT = 25,     /* nothing within the time; a put may or may not have been stored */
    KSTREAM_UNAVAILABLE = 26, /* cannot connect, or the connection was lost */
    KSTREAM_PROTOCOL = 27,    /* the peer does not speak kstream, or a damaged message */
    KSTREAM_USAGE = 28,
    KSTREAM_STOPPING = 29, /* the broker is shutting down */
    KSTREAM_PARTIAL = 30,  /* some of the records failed; each has its own status */
    KSTREAM_END = 31,      /* the end of a closed shard */
    /* From here on only the library itself gives these. */
    KSTREAM_FULL = 1000 /* a producer has no room: poll it, then put again */
};

/*
 * Never NULL: "cannot connect". Any number is fine.
 *
 * Example:
 *     fprintf(stderr, "%s: %s\n", kstream_status_name(st), kstream_strerror(st));
 */
KSTREAM_API const char *kstream_strerror(enum kstream_status status);
/* "NOT_FOUND", for logs and for JSON. */
KSTREAM_API const char *kstream_status_name(enum kstream_status status);

/*
 * 1 if the same call may succeed later without a change.
 *
 * Example:
 *     if (kstream_status_is_retryable(st))
 *         puts("once more, after a pause");
 */
KSTREAM_API int kstream_status_is_retryable(enum kstream_status status);

/*
 * The name Kinesis gives it: "ResourceNotFoundException"; "" for KSTREAM_OK.
 *
 * Example:
 *     printf("%s\n", kstream_status_exception(KSTREAM_NOT_FOUND));
 */
KSTREAM_API const char *kstream_status_exception(enum kstream_status status);

/*
 * The exit code kstreamctl uses for it, 0 to 11.
 *
 * Example:
 *     exit(kstream_status_exit_code(st));
 */
KSTREAM_API int kstream_status_exit_code(enum kstream_status status);

/*
 * Of the library that runs: "0.1.0".
 *
 * Example:
 *     printf("libkstream %s\n", kstream_version());
 */
KSTREAM_API const char *kstream_version(void);

/*
 * Memory from somewhere else than malloc(3). The three do what malloc, realloc and free do; release
 * is called with NULL too. The one setting that holds for the whole process: before any other call
 * of the library, if at all.
 *
 * Example:
 *     struct kstream_allocator allocator = {malloc, realloc, free};
 *     kstream_set_allocator(&allocator);
 */
struct kstream_allocator {
    void *(*allocate)(size_t bytes);
    void *(*resize)(void *block, size_t bytes);
    void (*release)(void *block);
};
KSTREAM_API void kstream_set_allocator(const struct kstream_allocator *allocator);

/*
 * What went wrong, for a human.
 *
 * Example:
 *     struct kstream_error err = KSTREAM_ERROR_INIT;
 *     if (kstream_delete_stream(client, "clicks", NULL, &err) != KSTREAM_OK)
 *         fprintf(stderr, "%s (request %llu)\n", err.text, (unsigned long long)err.request_id);
 */
struct kstream_error {
    enum kstream_status status;
    int retryable;       /* 1: the same call may succeed later */
    int system_error;    /* errno, 0 if no system call failed */
    uint64_t request_id; /* of the request that failed, 0 if none was sent */
    char text[256];      /* starts in lower case, no full stop */
};
#define KSTREAM_ERROR_INIT                                                                         \
    {                                                                                              \
        KSTREAM_OK, 0, 0, 0, ""                                                                    \
    }

/* ---- configuration and connection ---- */

struct kstream_config; /* opaque */
struct kstream_client; /* opaque */

/*
 * NULL when there is no memory. kstream_connect() consumes it; one that is not used is freed.
 *
 * Example:
 *     struct kstream_config *config = kstream_config_new();
 *     kstream_config_free(config);
 */
KSTREAM_API struct kstream_config *kstream_config_new(void) KSTREAM_MUST_USE;
KSTREAM_API void kstream_config_free(struct kstream_config *config); /* NULL is fine */

/*
 * Keys and their values:
 *   endpoint            "HOST:PORT", "kstream://HOST:PORT", "[::1]:PORT" or "unix:PATH"; default
 *                       "127.0.0.1:7420". HOST alone means port 7420.
 *   connect_timeout_ms  limit for one attempt to connect, to each address; default 5000
 *   request_timeout_ms  limit for a call whose options name none; default 30000
 *   log_requests        "yes": each answer is told to the log, with KSTREAM_LOG_DEBUG; default "no"
 * Errors: KSTREAM_INVALID an unknown key or a bad value; the text says which are known.
 *
 * Example:
 *     struct kstream_config *config = kstream_config_new();
 *     if (config)
 *         st = kstream_config_set(config, "endpoint", "unix:/run/kstream/native.sock", &err);
 *     kstream_config_free(config);
 */
KSTREAM_API enum kstream_status kstream_config_set(struct kstream_config *config, const char *key,
    const char *value, struct kstream_error *err) KSTREAM_MUST_USE;

enum kstream_log_level { KSTREAM_LOG_ERROR = 0, KSTREAM_LOG_INFO = 1, KSTREAM_LOG_DEBUG = 2 };
/* One event, without a line feed: "producer.refused shard=3 reason=...". */
typedef void (*kstream_log_fn)(enum kstream_log_level level, const char *text, void *arg);

/*
 * What the library does by itself is told to log: connections lost and made again, a routing that
 * has changed, records given up. It runs inside the calls of the client and must not call it.
 * Without one the library is silent.
 *
 * Example:
 *     static void log_line(enum kstream_log_level level, const char *text, void *arg)
 *     {
 *         fprintf((FILE *)arg, "%s %s\n", level == KSTREAM_LOG_ERROR ? "error" : "info", text);
 *     }
 *
 *     static void log_to_stderr(struct kstream_config *config)
 *     {
 *         kstream_config_set_log(config, log_line, stderr);
 *     }
 */
KSTREAM_API void kstream_config_set_log(
    struct kstream_config *config, kstream_log_fn log, void *arg);

/*
 * Connects and says hello within timeout_ms. The config is consumed in every case, NULL included:
 * it must not be used or freed afterwards. A refused connection is KSTREAM_UNAVAILABLE at once, it
 * does not use up the time. A connection that is lost later is made again by the next call.
 * With timeout_ms 0 nothing is connected yet: the first call that needs it, or kstream_process(),
 * does that.
 * Errors: KSTREAM_UNAVAILABLE, KSTREAM_TIMEOUT, KSTREAM_PROTOCOL the peer is no kstream broker.
 *
 * Example:
 *     struct kstream_config *config = kstream_config_new();
 *     st = config ? kstream_config_set(config, "endpoint", "127.0.0.1:7420", &err)
 *                 : KSTREAM_NO_MEMORY;
 *     if (st == KSTREAM_OK)
 *         st = kstream_connect(config, 5000, &client, &err);
 *     else
 *         kstream_config_free(config);
 */
KSTREAM_API enum kstream_status kstream_connect(struct kstream_config *config, uint32_t timeout_ms,
    struct kstream_client **out_client, struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * Never waits. Its producers and readers can do nothing more but be closed. NULL is fine.
 *
 * Example:
 *     kstream_close(client);
 */
KSTREAM_API void kstream_close(struct kstream_client *client);

/* ---- in an event loop, without a thread and without waiting ---- */

/*
 * One descriptor for all that the client, its producers and its readers wait for, their timers
 * included. Wait until it is readable (kstream_events() says so in the terms of poll(2)), then call
 * kstream_process(). It stays the same until kstream_close(), and is only waited for: never read or
 * closed. The first call comes before the waiting begins. -1: no descriptor is left.
 *
 * With libuv: uv_poll_init(loop, &poll, fd), uv_poll_start(&poll, UV_READABLE, on_readable); with
 * libevent: event_new(base, fd, EV_READ | EV_PERSIST, on_readable, client). client/examples has a
 * program with plain epoll.
 *
 * Example:
 *     struct pollfd fds[1] = {{kstream_fd(client, &err), kstream_events(client), 0}};
 *     while (poll(fds, 1, kstream_timeout_ms(client)) >= 0)
 *         kstream_process(client);
 */
KSTREAM_API int kstream_fd(struct kstream_client *client, struct kstream_error *err);
KSTREAM_API short kstream_events(const struct kstream_client *client);

/*
 * Until when kstream_process() has nothing to do if the descriptor stays silent: milliseconds as
 * poll(2) takes them, -1 for ever. The descriptor has a timer for this, so nobody needs to ask.
 *
 * Example:
 *     int wait_ms = kstream_timeout_ms(client);
 *     poll(NULL, 0, wait_ms);
 */
KSTREAM_API int kstream_timeout_ms(const struct kstream_client *client);

/*
 * Does all that is possible now and never waits: connects, sends what is due, takes answers, calls
 * the callbacks of producers, reads ahead. Returns how much happened: records answered and batches
 * that kstream_reader_take() can have.
 *
 * Example:
 *     if (kstream_process(client) > 0)
 *         st = kstream_reader_take(reader, &batch, &err);
 */
KSTREAM_API size_t kstream_process(struct kstream_client *client);

struct kstream_server_info {
    size_t size;
    char version[32];
    char region[64];
    char account_id[32];
    uint64_t server_unix_ms; /* the broker's clock */
    uint64_t run_id;         /* raised each time the broker starts */
    uint64_t pid;            /* of the broker's process, on its machine; 0: not told */
    char addresses[1024];    /* of its doors, a line each: "native=HOST:PORT"; "": not told */
};
#define KSTREAM_SERVER_INFO_INIT                                                                   \
    {                                                                                              \
        sizeof(struct kstream_server_info), "", "", "", 0, 0, 0, ""                                \
    }

/*
 * Asks the broker who it is; also a check that it answers.
 *
 * Example:
 *     struct kstream_server_info info = KSTREAM_SERVER_INFO_INIT;
 *     if (!kstream_ping(client, 1000, &info, &err))
 *         printf("kstreamd %s\n", info.version);
 */
KSTREAM_API enum kstream_status kstream_ping(struct kstream_client *client, uint32_t timeout_ms,
    struct kstream_server_info *info, struct kstream_error *err) KSTREAM_MUST_USE;

/* ---- streams ---- */

/* For calls that need no more; NULL means the defaults. timeout_ms 0: the config's. */
struct kstream_call_options {
    size_t size;
    uint32_t timeout_ms;
};
#define KSTREAM_CALL_OPTIONS_INIT                                                                  \
    {                                                                                              \
        sizeof(struct kstream_call_options), 0                                                     \
    }

struct kstream_tag {
    const char *key;   /* 1 to 128 characters; letters, digits, white space and _.:/=+-@ */
    const char *value; /* 0 to 256 of them */
};

struct kstream_create_options {
    size_t size;
    uint32_t timeout_ms;          /* for everything, the waiting included; 0: the config's */
    uint32_t shard_count;         /* default 1; leave 0 for on-demand */
    int on_demand;                /* 1: StreamMode ON_DEMAND instead of PROVISIONED */
    int wait_until_active;        /* default 1: return when records can be put */
    uint32_t max_record_size_kib; /* 0: the broker's default, 1024 */
    /*
     * When puts are answered. "durable" or NULL: when the records are on disk. "memory": as soon as
     * the broker holds them; readers still see them only once they are on disk, and a crash of the
     * broker may lose the newest answered ones, whose sequence numbers then name other records.
     */
    const char *ack;
    uint32_t warm_throughput_mibps; /* on-demand: so many shards at least; 0: as many as needed */
    const struct kstream_tag *tags;
    size_t tag_count; /* 0; at most 50 */
};
#define KSTREAM_CREATE_OPTIONS_INIT                                                                \
    {                                                                                              \
        sizeof(struct kstream_create_options), 0, 1, 0, 1, 0, 0, 0, 0, 0                           \
    }

/*
 * Errors: KSTREAM_EXISTS, KSTREAM_LIMIT, KSTREAM_VALIDATION; KSTREAM_TIMEOUT not active in time (it
 * may become so later).
 *
 * Example:
 *     struct kstream_create_options options = KSTREAM_CREATE_OPTIONS_INIT;
 *     options.shard_count = 4;
 *     st = kstream_create_stream(client, "clicks", &options, &err);
 */
KSTREAM_API enum kstream_status kstream_create_stream(struct kstream_client *client,
    const char *stream, const struct kstream_create_options *options,
    struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * Deletes the stream and its records. Errors: KSTREAM_NOT_FOUND, KSTREAM_IN_USE.
 *
 * Example:
 *     st = kstream_delete_stream(client, "clicks", NULL, &err);
 */
KSTREAM_API enum kstream_status kstream_delete_stream(struct kstream_client *client,
    const char *stream, const struct kstream_call_options *options,
    struct kstream_error *err) KSTREAM_MUST_USE;

struct kstream_shard {
    const char *shard_id;
    const char *parent_shard_id;          /* NULL: none */
    const char *adjacent_parent_shard_id; /* NULL: none */
    const char *starting_hash_key;        /* decimal, inclusive, both */
    const char *ending_hash_key;
    const char *starting_sequence_number;
    const char *ending_sequence_number; /* NULL: the shard is open */
};

/* What the users of a stream are held to; 0: to nothing. A refusal is KSTREAM_THROTTLED: producers
 * and readers of this library come again by themselves. */
struct kstream_stream_limits {
    size_t size;
    const char *mode; /* of the rates of shards: "off", "aws" (as in Kinesis), "custom" */
    uint64_t write_bytes_per_second; /* of each shard, as the next three: with "custom" only */
    uint64_t write_records_per_second;
    uint64_t read_bytes_per_second;
    uint64_t read_calls_per_second;
    uint64_t records_per_day;         /* of the stream; days of UTC */
    uint64_t client_bytes_per_second; /* of the puts of each connection, as the next */
    uint64_t client_records_per_second;
};
#define KSTREAM_STREAM_LIMITS_INIT                                                                 \
    {                                                                                              \
        sizeof(struct kstream_stream_limits), "off", 0, 0, 0, 0, 0, 0, 0                           \
    }

/* What is known of a stream. A text that the broker did not send is NULL. */
struct kstream_stream {
    const char *stream_name;
    const char *stream_arn;
    const char *stream_id;       /* kstream_describe_stream_summary only */
    const char *stream_status;   /* "CREATING", "ACTIVE", "UPDATING", "DELETING" */
    const char *stream_mode;     /* "PROVISIONED", "ON_DEMAND" */
    const char *encryption_type; /* "NONE", "KMS" */
    const char *key_id;
    uint32_t retention_period_hours;
    uint32_t open_shard_count;
    uint32_t consumer_count;      /* kstream_describe_stream_summary only */
    uint32_t max_record_size_kib; /* kstream_describe_stream_summary only; 0: not told */
    uint64_t creation_unix_ms;
    const struct kstream_shard *shards; /* kstream_describe_stream only */
    size_t shard_count;
    const char *ack;        /* "durable", "memory": see struct kstream_create_options */
    uint64_t purge_unix_ms; /* DELETING, but kept and restorable until then; 0: it is not */
    const char *const *shard_metrics; /* enhanced monitoring that is on: "IncomingBytes"... */
    size_t shard_metric_count;
    uint32_t warm_target_mibps; /* kstream_describe_stream_summary only; 0: not set */
    uint32_t warm_current_mibps;
    const struct kstream_stream_limits *limits; /* kstream_describe_stream_summary only */
};

/*
 * The stream and all its shards, open and closed; pages are fetched as needed.
 * Errors: KSTREAM_NOT_FOUND.
 *
 * Example:
 *     struct kstream_stream *about;
 *     if (!kstream_describe_stream(client, "clicks", NULL, &about, &err)) {
 *         for (size_t i = 0; i < about->shard_count; i++)
 *             puts(about->shards[i].shard_id);
 *         kstream_stream_free(about);
 *     }
 */
KSTREAM_API enum kstream_status kstream_describe_stream(struct kstream_client *client,
    const char *stream, const struct kstream_call_options *options,
    struct kstream_stream **out_stream, struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * The same without the shards, in one small answer.
 *
 * Example:
 *     struct kstream_stream *about;
 *     if (!kstream_describe_stream_summary(client, "clicks", NULL, &about, &err)) {
 *         printf("%u open shards\n", about->open_shard_count);
 *         kstream_stream_free(about);
 *     }
 */
KSTREAM_API enum kstream_status kstream_describe_stream_summary(struct kstream_client *client,
    const char *stream, const struct kstream_call_options *options,
    struct kstream_stream **out_stream, struct kstream_error *err) KSTREAM_MUST_USE;
KSTREAM_API void kstream_stream_free(struct kstream_stream *stream); /* NULL is fine */

struct kstream_list_streams_options {
    size_t size;
    uint32_t timeout_ms;
    uint32_t limit;                          /* 0: the broker's page, 100 */
    const char *exclusive_start_stream_name; /* NULL: from the first */
    const char *next_token;                  /* of the page before; NULL: from the first */
};
#define KSTREAM_LIST_STREAMS_OPTIONS_INIT                                                          \
    {                                                                                              \
        sizeof(struct kstream_list_streams_options), 0, 0, NULL, NULL                              \
    }

struct kstream_stream_summary {
    const char *stream_name;
    const char *stream_arn;
    const char *stream_status;
    const char *stream_mode; /* NULL: not told */
    uint64_t creation_unix_ms;
};

/* One page, in the order of the names. */
struct kstream_stream_list {
    const struct kstream_stream_summary *streams;
    size_t stream_count;
    int has_more;
    const char *next_token; /* NULL on the last page */
};

/*
 * One page of the streams.
 *
 * Example:
 *     struct kstream_list_streams_options options = KSTREAM_LIST_STREAMS_OPTIONS_INIT;
 *     struct kstream_stream_list *page = NULL;
 *     int more = 1;
 *     char last[160];
 *     while (more && !kstream_list_streams(client, &options, &page, &err)) {
 *         for (size_t i = 0; i < page->stream_count; i++)
 *             puts(page->streams[i].stream_name);
 *         more = page->has_more && page->stream_count > 0;
 *         if (more) {
 *             snprintf(last, sizeof last, "%s",
 *                 page->streams[page->stream_count - 1].stream_name);
 *             options.exclusive_start_stream_name = last;
 *         }
 *         kstream_stream_list_free(page);
 *     }
 */
KSTREAM_API enum kstream_status kstream_list_streams(struct kstream_client *client,
    const struct kstream_list_streams_options *options, struct kstream_stream_list **out_list,
    struct kstream_error *err) KSTREAM_MUST_USE;
KSTREAM_API void kstream_stream_list_free(struct kstream_stream_list *list); /* NULL is fine */

struct kstream_list_shards_options {
    size_t size;
    uint32_t timeout_ms;
    uint32_t max_results;                 /* 0: the broker's page, 1000 */
    const char *next_token;               /* then stream must be NULL */
    const char *exclusive_start_shard_id; /* NULL: from the first */
    const char *filter_type;              /* "AT_LATEST", "AFTER_SHARD_ID"...; NULL: no filter */
    const char *filter_shard_id;
    uint64_t filter_timestamp_unix_ms; /* 0: none */
};
#define KSTREAM_LIST_SHARDS_OPTIONS_INIT                                                           \
    {                                                                                              \
        sizeof(struct kstream_list_shards_options), 0, 0, NULL, NULL, NULL, NULL, 0                \
    }

struct kstream_shard_list {
    const struct kstream_shard *shards;
    size_t shard_count;
    const char *next_token; /* NULL on the last page */
};

/*
 * One page of the shards of a stream.
 *
 * Example:
 *     struct kstream_shard_list *page;
 *     if (!kstream_list_shards(client, "clicks", NULL, &page, &err)) {
 *         for (size_t i = 0; i < page->shard_count; i++)
 *             puts(page->shards[i].shard_id);
 *         kstream_shard_list_free(page);
 *     }
 */
KSTREAM_API enum kstream_status kstream_list_shards(struct kstream_client *client,
    const char *stream, const struct kstream_list_shards_options *options,
    struct kstream_shard_list **out_list, struct kstream_error *err) KSTREAM_MUST_USE;
KSTREAM_API void kstream_shard_list_free(struct kstream_shard_list *list); /* NULL is fine */

/* ---- putting records, one call each ---- */

struct kstream_put_options {
    size_t size;
    uint32_t timeout_ms;
    const char *explicit_hash_key;            /* decimal, instead of the key's MD5; NULL: none */
    const char *sequence_number_for_ordering; /* NULL: none */
};
#define KSTREAM_PUT_OPTIONS_INIT                                                                   \
    {                                                                                              \
        sizeof(struct kstream_put_options), 0, NULL, NULL                                          \
    }

struct kstream_put_result {
    enum kstream_status status; /* of this record; the rest is filled for KSTREAM_OK only */
    uint32_t shard_index;
    uint64_t ordinal; /* 1, 2, 3... within the shard */
    uint64_t arrival_unix_ms;
    char shard_id[KSTREAM_SHARD_ID_BYTES];
    char sequence_number[KSTREAM_SEQUENCE_BYTES];
};

/*
 * Returns when the record is durable. Never repeated by the library: after KSTREAM_TIMEOUT, or
 * KSTREAM_UNAVAILABLE with a request id, the record may or may not be stored (a producer knows).
 * Errors also: KSTREAM_NOT_FOUND, KSTREAM_VALIDATION, KSTREAM_TOO_LARGE, KSTREAM_THROTTLED,
 * KSTREAM_STORAGE_FULL.
 *
 * Example:
 *     struct kstream_put_result result;
 *     st = kstream_put_record(client, "clicks", "user-7", 6, "hello", 5, NULL, &result, &err);
 *     if (!st)
 *         puts(result.sequence_number);
 */
KSTREAM_API enum kstream_status kstream_put_record(struct kstream_client *client,
    const char *stream, const char *key, size_t key_bytes, const void *data, size_t data_bytes,
    const struct kstream_put_options *options, struct kstream_put_result *result,
    struct kstream_error *err) KSTREAM_MUST_USE;

struct kstream_put_entry {
    const char *key; /* 1 to 256 characters of UTF-8 */
    size_t key_bytes;
    const void *data; /* NULL if data_bytes is 0 */
    size_t data_bytes;
    const char *explicit_hash_key; /* decimal; NULL: none */
};

/*
 * Up to 500 records in one request; results has room for count. Records of one shard keep their
 * order. Returns KSTREAM_PARTIAL if some (or all) of them were refused: see results[i].status and,
 * for the first failure, err. results is written for KSTREAM_OK and KSTREAM_PARTIAL.
 *
 * Example:
 *     struct kstream_put_entry entries[2] = {{"a", 1, "x", 1, NULL}, {"b", 1, "y", 1, NULL}};
 *     struct kstream_put_result results[2];
 *     st = kstream_put_records(client, "clicks", entries, 2, NULL, results, &err);
 *     for (int i = 0; st == KSTREAM_PARTIAL && i < 2; i++)
 *         if (results[i].status)
 *             fprintf(stderr, "%s: %s\n", entries[i].key, kstream_strerror(results[i].status));
 */
KSTREAM_API enum kstream_status kstream_put_records(struct kstream_client *client,
    const char *stream, const struct kstream_put_entry *entries, size_t count,
    const struct kstream_call_options *options, struct kstream_put_result *results,
    struct kstream_error *err) KSTREAM_MUST_USE;

/* ---- positions, iterators, records ---- */

enum kstream_position_type {
    KSTREAM_TRIM_HORIZON = 0, /* the oldest record kept */
    KSTREAM_LATEST = 1,       /* records that arrive from now on */
    KSTREAM_AT_SEQUENCE_NUMBER = 2,
    KSTREAM_AFTER_SEQUENCE_NUMBER = 3,
    KSTREAM_AT_TIMESTAMP = 4 /* the first record that arrived then or later */
};

struct kstream_position {
    enum kstream_position_type type;
    uint64_t timestamp_unix_ms;                   /* KSTREAM_AT_TIMESTAMP */
    char sequence_number[KSTREAM_SEQUENCE_BYTES]; /* the two types that name one */
};

/*
 * The ways to make one. A sequence number that is too long is cut and then refused by the broker.
 *
 * Example:
 *     struct kstream_position from[5] = {kstream_from_trim_horizon(), kstream_from_latest(),
 *         kstream_from_time_ms(1790000000000u), kstream_from_sequence_number("4959..."),
 *         kstream_after_sequence_number("4959...")};
 *     const char *shard = "shardId-000000000000";
 *     st = kstream_reader_open(client, "clicks", shard, from[0], NULL, &reader, &err);
 */
KSTREAM_API struct kstream_position kstream_from_trim_horizon(void);
KSTREAM_API struct kstream_position kstream_from_latest(void);
KSTREAM_API struct kstream_position kstream_from_time_ms(uint64_t timestamp_unix_ms);
KSTREAM_API struct kstream_position kstream_from_sequence_number(const char *sequence_number);
KSTREAM_API struct kstream_position kstream_after_sequence_number(const char *sequence_number);

/*
 * A position as text, to keep it: "trim-horizon", "latest", "at:SEQUENCE", "after:SEQUENCE",
 * "time:UNIX-MS". Errors: KSTREAM_INVALID the text is none of them.
 *
 * Example:
 *     struct kstream_position position = kstream_reader_position(reader);
 *     char text[KSTREAM_POSITION_BYTES];
 *     kstream_position_to_text(&position, text);
 *     st = kstream_position_from_text(text, &position, &err);
 */
KSTREAM_API void kstream_position_to_text(
    const struct kstream_position *position, char text[KSTREAM_POSITION_BYTES]);
KSTREAM_API enum kstream_status kstream_position_from_text(const char *text,
    struct kstream_position *out_position, struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * An iterator is good for five minutes. Errors: KSTREAM_NOT_FOUND, KSTREAM_INVALID.
 *
 * Example:
 *     char iterator[KSTREAM_ITERATOR_BYTES];
 *     struct kstream_position from = kstream_from_trim_horizon();
 *     st = kstream_get_shard_iterator(
 *         client, "clicks", "shardId-000000000000", &from, NULL, iterator, &err);
 */
KSTREAM_API enum kstream_status kstream_get_shard_iterator(struct kstream_client *client,
    const char *stream, const char *shard_id, const struct kstream_position *position,
    const struct kstream_call_options *options, char iterator[KSTREAM_ITERATOR_BYTES],
    struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * A record, or a stretch of records that is damaged in the broker's storage or was damaged on the
 * way: their ordinals are known, their contents are not handed out. Look at lost_records first.
 * Lives as long as its batch.
 */
struct kstream_record {
    uint64_t lost_records;    /* 0: an intact record; else this many from ordinal on are lost */
    uint64_t ordinal;         /* 1, 2, 3... within the shard */
    uint64_t arrival_unix_ms; /* 0 for a damaged stretch whose arrival is unknown */
    const char *key;          /* not zero-terminated */
    size_t key_bytes;
    const void *data;
    size_t data_bytes;
    const unsigned char *explicit_hash_key; /* 16 bytes big-endian, or NULL */
};

struct kstream_child_shard {
    const char *shard_id;
    const char *const *parent_shard_ids;
    size_t parent_count;
    const char *starting_hash_key;
    const char *ending_hash_key;
};

struct kstream_batch; /* opaque: the bytes of one answer, nothing is copied out of it */

/*
 * How many entries it has: intact records and damaged stretches, in order. The entry is NULL if
 * index is not below the count.
 *
 * Example:
 *     for (size_t i = 0; i < kstream_batch_count(batch); i++) {
 *         const struct kstream_record *record = kstream_batch_record(batch, i);
 *         if (record->lost_records == 0)
 *             fwrite(record->data, 1, record->data_bytes, stdout);
 *         else
 *             fprintf(stderr, "%llu records are lost\n", (unsigned long long)record->lost_records);
 *     }
 *     kstream_batch_free(batch);
 */
KSTREAM_API size_t kstream_batch_count(const struct kstream_batch *batch);
KSTREAM_API const struct kstream_record *kstream_batch_record(
    const struct kstream_batch *batch, size_t index);
KSTREAM_API void kstream_batch_free(struct kstream_batch *batch); /* NULL is fine */

/*
 * The sequence number of that entry as Kinesis prints it (of the first record of a damaged
 * stretch), and the position behind it, to go on from there; "" and the trim horizon if index is
 * not below the count.
 *
 * Example:
 *     char number[KSTREAM_SEQUENCE_BYTES];
 *     kstream_batch_sequence_number(batch, 0, number);
 *     struct kstream_position next = kstream_batch_position(batch, 0);
 */
KSTREAM_API void kstream_batch_sequence_number(
    const struct kstream_batch *batch, size_t index, char text[KSTREAM_SEQUENCE_BYTES]);
KSTREAM_API struct kstream_position kstream_batch_position(
    const struct kstream_batch *batch, size_t index);

/*
 * About the whole batch: the shard ("shardId-000000000003"), how many of its records are lost in
 * damaged stretches (normally 0), and how old the newest record in it was when the broker answered,
 * if there were newer ones; 0: there were none.
 *
 * Example:
 *     printf("%s: %llu lost, %llu ms behind\n", kstream_batch_shard_id(batch),
 *         (unsigned long long)kstream_batch_lost_records(batch),
 *         (unsigned long long)kstream_batch_millis_behind_latest(batch));
 */
KSTREAM_API const char *kstream_batch_shard_id(const struct kstream_batch *batch);
KSTREAM_API uint64_t kstream_batch_lost_records(const struct kstream_batch *batch);
KSTREAM_API uint64_t kstream_batch_millis_behind_latest(const struct kstream_batch *batch);

/*
 * Where to go on (NULL at the end of a closed shard), and the shards that continue a closed one, at
 * its end; *count is 0 otherwise.
 *
 * Example:
 *     size_t count;
 *     const struct kstream_child_shard *children = kstream_batch_child_shards(batch, &count);
 *     for (size_t i = 0; !kstream_batch_next_iterator(batch) && i < count; i++)
 *         puts(children[i].shard_id);
 */
KSTREAM_API const char *kstream_batch_next_iterator(const struct kstream_batch *batch);
KSTREAM_API const struct kstream_child_shard *kstream_batch_child_shards(
    const struct kstream_batch *batch, size_t *count);

struct kstream_get_options {
    size_t size;
    uint32_t timeout_ms; /* on top of wait_ms */
    uint32_t limit;      /* records; 0: as many as fit, at most 10000 */
    uint32_t max_bytes;  /* 0: the broker's limit; at least one stored batch is answered */
    uint32_t wait_ms;    /* wait so long for a record before answering none; at most 30000 */
};
#define KSTREAM_GET_OPTIONS_INIT                                                                   \
    {                                                                                              \
        sizeof(struct kstream_get_options), 0, 0, 0, 0                                             \
    }

/*
 * The next records of an iterator. The checksum of every record is verified here, after the last
 * hop; what does not fit its checksum is a damaged stretch in the batch, not an error of the call.
 * Errors: KSTREAM_EXPIRED_ITERATOR, KSTREAM_INVALID no iterator of this broker.
 *
 * Example:
 *     struct kstream_get_options options = KSTREAM_GET_OPTIONS_INIT;
 *     options.wait_ms = 1000;
 *     const char *iterator = kstream_batch_next_iterator(batch);
 *     if (!kstream_get_records(client, iterator, &options, &batch, &err)) {
 *         printf("%u records\n", (unsigned)kstream_batch_count(batch));
 *         kstream_batch_free(batch);
 *     }
 */
KSTREAM_API enum kstream_status kstream_get_records(struct kstream_client *client,
    const char *iterator, const struct kstream_get_options *options,
    struct kstream_batch **out_batch, struct kstream_error *err) KSTREAM_MUST_USE;

/* ---- producer: many records, each stored exactly once, in order per key ---- */

struct kstream_producer; /* opaque */

struct kstream_producer_options {
    size_t size;
    uint64_t producer_id;       /* 0: a random one. Two live producers must not share one */
    uint64_t memory_bytes_max;  /* of records not yet answered; default 64 MiB */
    uint32_t batch_bytes_max;   /* default 512 KiB, at most 10 MiB; one record always fits */
    uint32_t batch_records_max; /* default 4096, at most 16384 */
    uint32_t linger_ms;         /* how long a batch waits for more records; default 5 */
    uint32_t in_flight_max;     /* batches per shard on their way, 1 to 5; default 5 */
    /* How long the broker may be away, or refuse, before what waits fails; default 120000. Counted
     * from the first failed attempt to the last. */
    uint32_t retry_time_max_ms;
    uint32_t block_ms_max; /* how long kstream_producer_put may block; default 0: not at all */
    uint32_t request_timeout_ms; /* no answer within it: the connection counts as lost; 30000 */
    /* 1: take up producer_id where its last life left off, see kstream_producer_resumed(). Such a
     * producer ends with the first record that fails: open it again to resume. */
    int resume;
    int open_in_background; /* 1: open returns at once; puts are KSTREAM_FULL until it is open */
};
#define KSTREAM_PRODUCER_OPTIONS_INIT                                                              \
    {                                                                                              \
        sizeof(struct kstream_producer_options), 0, 67108864u, 524288u, 4096u, 5u, 5u, 120000u,    \
            0u, 30000u, 0, 0                                                                       \
    }

/* What became of one record. Valid during the callback only. */
struct kstream_ack {
    enum kstream_status status; /* KSTREAM_OK: stored */
    int outcome_unknown;        /* with a failure: 1 means the record may be stored all the same */
    int was_repeated; /* the broker had it already from an attempt whose answer got lost */
    uint32_t shard_index;
    uint64_t ordinal; /* 1, 2, 3... within the shard; 0 for a failure */
    uint64_t arrival_unix_ms;
    uint64_t shard_created_unix_s;
    uint64_t latency_ns;  /* from kstream_producer_put to now */
    const char *shard_id; /* "shardId-000000000003"; "" for a record that reached no shard */
    const char *text;     /* "" for KSTREAM_OK, else what failed */
};

/*
 * Called exactly once for each record that kstream_producer_put took, from inside a call of this
 * producer or kstream_process(), never from another thread. It may put, into this producer too;
 * poll, flush and close of this producer are refused in it.
 */
typedef void (*kstream_ack_fn)(const struct kstream_ack *ack, void *arg);

/*
 * The sequence number as Kinesis prints it; "" for a failure. Made on demand, because it takes
 * longer than all the rest of an acknowledgement.
 *
 * Example:
 *     static void print_ack(const struct kstream_ack *ack, void *arg)
 *     {
 *         char number[KSTREAM_SEQUENCE_BYTES];
 *         kstream_ack_sequence_number(ack, number);
 *         if (ack->status == KSTREAM_OK)
 *             printf("%s: %s %s\n", (const char *)arg, ack->shard_id, number);
 *         else
 *             printf("%s: %s\n", (const char *)arg, ack->text);
 *     }
 */
KSTREAM_API void kstream_ack_sequence_number(
    const struct kstream_ack *ack, char text[KSTREAM_SEQUENCE_BYTES]);

/*
 * Opens a connection of its own and learns the shards of the stream; a stream that is still being
 * made is waited for. options NULL: the defaults.
 * Errors: KSTREAM_NOT_FOUND, KSTREAM_INVALID a bad option, those of kstream_connect.
 *
 * Example:
 *     struct kstream_producer_options options = KSTREAM_PRODUCER_OPTIONS_INIT;
 *     options.linger_ms = 20;
 *     st = kstream_producer_open(client, "clicks", &options, &producer, &err);
 */
KSTREAM_API enum kstream_status kstream_producer_open(struct kstream_client *client,
    const char *stream, const struct kstream_producer_options *options,
    struct kstream_producer **out_producer, struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * Takes a copy of the record into the batch of its shard; sends batches that are due. Records of
 * one key are stored in the order of these calls, through splits and merges of shards; one that
 * fails does not stop those behind it. A key is 1 to 256 characters of UTF-8, data any bytes.
 * on_ack may be NULL. Nothing is sent while nobody calls the library: when the last record has been
 * put, flush, or poll until all is answered.
 * When the broker cannot be reached, records are kept and sent later: a restart of the broker costs
 * time, not records, up to retry_time_max_ms.
 * Errors: KSTREAM_FULL no room (nothing taken: poll and put again; with block_ms_max only after
 * that time), KSTREAM_VALIDATION a bad key, KSTREAM_TOO_LARGE; once the producer has ended (the
 * stream is gone, another producer uses its id), the reason of that.
 *
 * Example:
 *     static enum kstream_status put(struct kstream_producer *producer, const char *key,
 *         const char *text, struct kstream_error *err)
 *     {
 *         enum kstream_status st;
 *         while ((st = kstream_producer_put(producer, key, strlen(key), text, strlen(text),
 *                     NULL, NULL, err)) == KSTREAM_FULL)
 *             kstream_producer_poll(producer, 100);
 *         return st;
 *     }
 */
KSTREAM_API enum kstream_status kstream_producer_put(struct kstream_producer *producer,
    const char *key, size_t key_bytes, const void *data, size_t data_bytes, kstream_ack_fn on_ack,
    void *arg, struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * The same with an explicit hash key, 16 bytes big-endian, which picks the shard instead of the
 * key's MD5.
 *
 * Example:
 *     unsigned char last[16];
 *     memset(last, 0xff, sizeof last);
 *     st = kstream_producer_put_hashed(producer, last, "k", 1, "data", 4, NULL, NULL, &err);
 */
KSTREAM_API enum kstream_status kstream_producer_put_hashed(struct kstream_producer *producer,
    const unsigned char explicit_hash_key[16], const char *key, size_t key_bytes, const void *data,
    size_t data_bytes, kstream_ack_fn on_ack, void *arg,
    struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * Sends what is due, takes answers, reconnects, calls callbacks. Returns the number of records
 * answered: at once if there were some, else after the first answer or timeout_ms.
 *
 * Example:
 *     size_t answered = kstream_producer_poll(producer, 0);
 *     printf("%u answered\n", (unsigned)answered);
 */
KSTREAM_API size_t kstream_producer_poll(struct kstream_producer *producer, uint32_t timeout_ms);

/*
 * Sends everything now and waits until each record has its answer, or timeout_ms.
 * Returns KSTREAM_OK all records since the last flush are stored; KSTREAM_PARTIAL all are answered,
 * some failed (their callbacks said which; err has the first); KSTREAM_TIMEOUT some are still on
 * their way.
 *
 * Example:
 *     st = kstream_producer_flush(producer, 10000, &err);
 */
KSTREAM_API enum kstream_status kstream_producer_flush(struct kstream_producer *producer,
    uint32_t timeout_ms, struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * Flushes for at most timeout_ms, then frees everything. Records without an answer by then get
 * their callback with KSTREAM_TIMEOUT and are counted in *left_records (may be NULL). Returns what
 * the flush returned. NULL is fine.
 *
 * Example:
 *     uint64_t left;
 *     if (kstream_producer_close(producer, 5000, &left, &err))
 *         fprintf(stderr, "%s; %llu records unanswered\n", err.text, (unsigned long long)left);
 */
KSTREAM_API enum kstream_status kstream_producer_close(struct kstream_producer *producer,
    uint32_t timeout_ms, uint64_t *left_records, struct kstream_error *err);

/*
 * For one producer and one more thing (standard input, say) in a poll(2), without kstream_fd(): add
 * this descriptor with these events, wait at most this long, then kstream_producer_poll(p, 0).
 * fd -1: no connection just now, only the time counts.
 *
 * Example:
 *     struct pollfd fds[2] = {{0, POLLIN, 0}, {-1, 0, 0}};
 *     uint32_t wait_ms = kstream_producer_wants(producer, &fds[1].fd, &fds[1].events);
 *     poll(fds, 2, wait_ms == KSTREAM_FOREVER ? -1 : (int)wait_ms);
 *     kstream_producer_poll(producer, 0);
 */
KSTREAM_API uint32_t kstream_producer_wants(
    struct kstream_producer *producer, int *fd, short *poll_events);

/* What a shard has of a producer id that was taken up again. */
struct kstream_resumed_shard {
    uint32_t shard_index;
    int is_closed;               /* 1: split or merged since; its keys belong to its children now */
    uint64_t batches;            /* stored under this id */
    uint64_t last_ordinal;       /* of the last record stored under it */
    uint32_t last_batch_records; /* how many records before it, and itself, make its batch */
    unsigned char first_hash_key[16]; /* big-endian, inclusive, both */
    unsigned char last_hash_key[16];
    char shard_id[KSTREAM_SHARD_ID_BYTES];
    char last_sequence_number[KSTREAM_SEQUENCE_BYTES]; /* of that last record: read it there */
};

/*
 * With options.resume: what is stored under the id, one entry for each shard that has something
 * (*count of them). In each shard that is the beginning of what was put, in the order of the puts.
 * So a program that can tell from a record where in its input it came from reads the last record of
 * each shard, and leaves out what comes before it for the keys of that shard; client/examples has
 * one. The broker forgets a producer that has been silent for long; then the shard is not listed.
 * If the earlier life is still writing, its record or ours is refused, and ours ends the producer
 * with KSTREAM_PRODUCER_MISMATCH: then resume again.
 *
 * Example:
 *     size_t count;
 *     const struct kstream_resumed_shard *shards = kstream_producer_resumed(producer, &count);
 *     for (size_t i = 0; i < count; i++)
 *         if (kstream_producer_resumed_holds(producer, &shards[i], "user-7", 6))
 *             printf("user-7 up to %s\n", shards[i].last_sequence_number);
 */
KSTREAM_API const struct kstream_resumed_shard *kstream_producer_resumed(
    const struct kstream_producer *producer, size_t *count);
/* 1: records of that key went to the shard. */
KSTREAM_API int kstream_producer_resumed_holds(struct kstream_producer *producer,
    const struct kstream_resumed_shard *shard, const char *key, size_t key_bytes);

/*
 * The id it writes under: keep it, to resume.
 *
 * Example:
 *     printf("%llu\n", (unsigned long long)kstream_producer_id(producer));
 */
KSTREAM_API uint64_t kstream_producer_id(const struct kstream_producer *producer);

struct kstream_producer_stats {
    size_t size;
    uint64_t records_taken;   /* by kstream_producer_put */
    uint64_t records_durable; /* acknowledged */
    uint64_t records_failed;
    uint64_t records_repeated; /* of the acknowledged ones: the broker had them already */
    uint64_t records_waiting;  /* without an answer */
    uint64_t bytes_durable;    /* keys and data of the acknowledged ones */
    uint64_t batches_sent;     /* repeats included */
    uint64_t retries;          /* batches sent again */
    uint64_t reconnects;
    uint64_t memory_bytes;   /* held now */
    uint64_t latency_p50_ns; /* from put to acknowledgement; within 3 % */
    uint64_t latency_p99_ns;
    uint64_t latency_max_ns;
    int is_connected;
};
#define KSTREAM_PRODUCER_STATS_INIT                                                                \
    {                                                                                              \
        sizeof(struct kstream_producer_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0            \
    }

/*
 * What it has done so far, and why it does not get on just now ("" if it does).
 *
 * Example:
 *     struct kstream_producer_stats stats = KSTREAM_PRODUCER_STATS_INIT;
 *     kstream_producer_stats(producer, &stats);
 *     printf("p99 %.1f ms %s\n", (double)stats.latency_p99_ns / 1e6,
 *         kstream_producer_trouble(producer));
 */
KSTREAM_API void kstream_producer_stats(
    const struct kstream_producer *producer, struct kstream_producer_stats *stats);
KSTREAM_API const char *kstream_producer_trouble(const struct kstream_producer *producer);

/* ---- reader: a shard or a stream, in order, through restarts of the broker ---- */

struct kstream_reader; /* opaque */

struct kstream_reader_options {
    size_t size;
    uint32_t limit;     /* records per batch; 0: as many as fit */
    uint32_t max_bytes; /* per batch; default 1 MiB, at least one stored batch is answered */
    uint32_t retry_time_max_ms; /* how long an unreachable broker is tried again; default 120000 */
    /* Of batches read ahead, one for each shard; default 64 MiB. With many shards each batch is
     * smaller, but for one stored batch at least. */
    uint64_t memory_bytes_max;
    const char *saved;      /* of kstream_reader_save: go on there; NULL: begin at the position */
    int open_in_background; /* 1: open returns at once; what is wrong is told by take and next */
};
#define KSTREAM_READER_OPTIONS_INIT                                                                \
    {                                                                                              \
        sizeof(struct kstream_reader_options), 0, 1048576u, 120000u, 67108864u, NULL, 0            \
    }

/*
 * Reads one shard; shard_id NULL: the whole stream, all its shards at once, each in its order. When
 * shards are split or merged, their children are read after the parents have been handed out to
 * their end, so the records of a key come in order. Fixes the position at once (LATEST is the end
 * as of now). options NULL: the defaults. A whole stream begins at the trim horizon, at LATEST or
 * at a time. Each shard has a question of its own waiting in the broker: up to 2048 shards are read
 * at a time, more take turns.
 * Errors: KSTREAM_NOT_FOUND, KSTREAM_INVALID.
 *
 * Example:
 *     st = kstream_reader_open(client, "clicks", NULL, kstream_from_trim_horizon(), NULL, &reader,
 *         &err);
 */
KSTREAM_API enum kstream_status kstream_reader_open(struct kstream_client *client,
    const char *stream, const char *shard_id, struct kstream_position position,
    const struct kstream_reader_options *options, struct kstream_reader **out_reader,
    struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * Batches that were handed out stay. NULL is fine.
 *
 * Example:
 *     kstream_reader_close(reader);
 */
KSTREAM_API void kstream_reader_close(struct kstream_reader *reader);

/*
 * The next batch that holds something, as soon as there is one; free it with kstream_batch_free().
 * timeout_ms is how long to wait for
 * a record to arrive: with 0, KSTREAM_TIMEOUT means that everything stored so far has been read.
 * An expired iterator is renewed and a lost connection made again from the position after the last
 * batch handed out, so that nothing is left out or handed out twice. The checksum of every record
 * is verified here, after the last hop; what does not fit it is a damaged stretch in the batch.
 * Errors: KSTREAM_TIMEOUT nothing new, KSTREAM_END the shard is closed and read to its end,
 * KSTREAM_UNAVAILABLE the broker was away longer than timeout_ms or retry_time_max_ms, whichever is
 * less (call again to go on), KSTREAM_NOT_FOUND the stream is gone.
 *
 * Example:
 *     while (!(st = kstream_reader_next(reader, 1000, &batch, &err)) || st == KSTREAM_TIMEOUT) {
 *         if (st == KSTREAM_TIMEOUT)
 *             continue;
 *         for (size_t i = 0; i < kstream_batch_count(batch); i++) {
 *             const struct kstream_record *record = kstream_batch_record(batch, i);
 *             if (record->lost_records == 0)
 *                 fwrite(record->data, 1, record->data_bytes, stdout);
 *         }
 *         kstream_batch_free(batch);
 *     }
 */
KSTREAM_API enum kstream_status kstream_reader_next(struct kstream_reader *reader,
    uint32_t timeout_ms, struct kstream_batch **out_batch,
    struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * The same for many readers of one client (of several streams, say): waits on all of them at once
 * and returns the batch of the first that has one; *out_index says whose it is. The turn goes
 * round, so that a busy reader does not hide the others. For KSTREAM_END and errors *out_index is
 * written too: leave that reader out of the next call.
 *
 * Example:
 *     struct kstream_reader *readers[2] = {reader, other_reader};
 *     size_t which;
 *     st = kstream_reader_next_any(readers, 2, 1000, &which, &batch, &err);
 */
KSTREAM_API enum kstream_status kstream_reader_next_any(struct kstream_reader *const *readers,
    size_t count, uint32_t timeout_ms, size_t *out_index, struct kstream_batch **out_batch,
    struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * The next batch if one has been read ahead, for programs with kstream_process(); never waits.
 * Call it until it says KSTREAM_WOULD_BLOCK.
 * Errors: KSTREAM_WOULD_BLOCK nothing has arrived yet, the others as kstream_reader_next;
 * KSTREAM_UNAVAILABLE the broker has been away for retry_time_max_ms, it is tried on.
 *
 * Example:
 *     while (!(st = kstream_reader_take(reader, &batch, &err))) {
 *         printf("%u records\n", (unsigned)kstream_batch_count(batch));
 *         kstream_batch_free(batch);
 *     }
 */
KSTREAM_API enum kstream_status kstream_reader_take(struct kstream_reader *reader,
    struct kstream_batch **out_batch, struct kstream_error *err) KSTREAM_MUST_USE;

/*
 * Where the reader stands, all its shards, as a text for a file or a database: with options.saved a
 * reader of the same stream goes on behind the last batch that was handed out, in another process
 * if need be. Save when the records of that batch have been dealt with. The text is freed by
 * kstream_text_free().
 * Errors: KSTREAM_WOULD_BLOCK opened in the background and not open yet.
 *
 * Example:
 *     char *text;
 *     if (!kstream_reader_save(reader, &text, &err)) {
 *         puts(text);
 *         kstream_text_free(text);
 *     }
 */
KSTREAM_API enum kstream_status kstream_reader_save(const struct kstream_reader *reader,
    char **out_text, struct kstream_error *err) KSTREAM_MUST_USE;
KSTREAM_API void kstream_text_free(char *text); /* NULL is fine */

/*
 * Of a reader of one shard: where its next batch will start, and the shard's id. A reader of a
 * whole stream has no single position: "" and where it began.
 *
 * Example:
 *     struct kstream_position position = kstream_reader_position(reader);
 *     char text[KSTREAM_POSITION_BYTES];
 *     kstream_position_to_text(&position, text);
 *     printf("%s %s\n", kstream_reader_shard_id(reader), text);
 */
KSTREAM_API struct kstream_position kstream_reader_position(const struct kstream_reader *reader);
KSTREAM_API const char *kstream_reader_shard_id(const struct kstream_reader *reader);

#ifdef __cplusplus
}
#endif

#endif
