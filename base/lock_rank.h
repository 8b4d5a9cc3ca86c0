/*
 * Every mutex has a rank; a thread may lock only a higher rank than any it holds (ks_mutex_lock
 * asserts it). Each row: rank, what it guards.
 */
#ifndef KS_BASE_LOCK_RANK_H
#define KS_BASE_LOCK_RANK_H

enum ks_lock_rank {
    KS_RANK_HISTORY = 3,    /* daemon/history: its files */
    KS_RANK_HEAT = 4,       /* daemon/heat: the samples of a loop */
    KS_RANK_METRICS = 5,    /* daemon/metrics: whether the server may be looked at */
    KS_RANK_METER = 6,      /* daemon/meter: which stream has which counters */
    KS_RANK_SETTINGS = 7,   /* daemon/server: the settings in force, and those read last */
    KS_RANK_LIMITS = 8,     /* daemon/stream_limits: what streams with limits have taken */
    KS_RANK_MINUTES = 9,    /* daemon/minutes: which stream or shard has which cells */
    KS_RANK_RESHARD = 15,   /* storage/reshard: reshards under way */
    KS_RANK_REGISTRY = 20,  /* storage/registry: name and id tables, snapshot pointers */
    KS_RANK_SHARD = 30,     /* storage/log: one log's append state, producers, tail, segment list,
                               and who waits for its records */
    KS_RANK_TAIL_POOL = 33, /* storage/tail_pool: free blocks for the first chunks of tails */
    KS_RANK_COMMIT_QUEUE = 40, /* storage/commit: batches waiting for a journal block */
    KS_RANK_RETENTION = 45,    /* storage/retention: what is due when */
    KS_RANK_CATALOG = 50,      /* storage/catalog: changes waiting for a commit */
    KS_RANK_FLUSH = 55,        /* storage/flush: the list of dirty logs */
    KS_RANK_FILES = 60,        /* storage/files: the file table and the pool */
    KS_RANK_SEGMENT = 65,      /* storage/segment: a segment's map and pins */
    KS_RANK_MAPS = 67,         /* storage/segment: which maps exist, least recently used first */
    KS_RANK_JOURNAL = 70,      /* storage/journal: file table, budget */
    KS_RANK_INDEX = 75,        /* storage/index: the one writer */
    KS_RANK_READ_QUEUE = 80,   /* daemon/readers: jobs for the threads that may wait for the disk */
    KS_RANK_WAKE = 85,         /* storage/step: the signal a background thread sleeps on */
    KS_RANK_MAILBOX = 90,      /* base/mailbox */
    KS_RANK_CLOCK = 95,        /* base/broker_clock: changes of the clock; reading takes no lock */
    KS_RANK_EVENTS = 100,      /* an event sink's own state */
    KS_RANK_LOG_WRITER = 105   /* daemon/log_writer: lines that wait to be written */
};

#endif
