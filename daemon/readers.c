#include "daemon/readers.h"

#include "base/alloc.h"

#include <stdio.h>

#define READER_STACK_BYTES (512u * 1024)

struct ks_readers {
    struct ks_mutex mu; /* KS_RANK_READ_QUEUE */
    struct ks_cond cond;
    struct ks_list jobs; /* [mu] */
    unsigned job_count;  /* [mu] */
    bool is_stopping;    /* [mu] */
    unsigned thread_count;
    pthread_t threads[];
};

static struct ks_job *readers_take(struct ks_readers *readers)
{
    KS_LOCK_SCOPE(&readers->mu);
    while (ks_list_is_empty(&readers->jobs) && !readers->is_stopping)
        ks_cond_wait(&readers->cond, &readers->mu);
    struct ks_list *node = ks_list_pop(&readers->jobs);
    if (!node)
        return NULL;
    readers->job_count--;
    return KS_CONTAINER_OF(node, struct ks_job, link);
}

static void *readers_run(void *arg)
{
    struct ks_job *job;
    while ((job = readers_take(arg))) {
        job->run(job);
        ks_mailbox_send(job->home, &job->mail);
    }
    return NULL;
}

enum ks_status ks_readers_create(
    unsigned thread_count, struct ks_readers **out_readers, struct ks_error *err)
{
    struct ks_readers *readers =
        ks_zalloc(sizeof(*readers) + thread_count * sizeof(readers->threads[0]));
    if (!readers)
        return ks_fail(err, KS_NO_MEMORY, 0, "cannot make the reader pool");
    ks_mutex_init(&readers->mu, KS_RANK_READ_QUEUE);
    ks_cond_init(&readers->cond);
    ks_list_init(&readers->jobs);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, READER_STACK_BYTES);
    int rc = 0;
    while (readers->thread_count < thread_count && rc == 0) {
        rc = pthread_create(
            &readers->threads[readers->thread_count], &attributes, readers_run, readers);
        if (rc)
            break;
        char name[16];
        snprintf(name, sizeof(name), "reader-%u", readers->thread_count % 1000);
        pthread_setname_np(readers->threads[readers->thread_count++], name);
    }
    pthread_attr_destroy(&attributes);
    if (rc) {
        ks_readers_destroy(readers);
        return ks_fail(err, KS_NO_MEMORY, rc, "cannot start a reader thread");
    }
    *out_readers = readers;
    return KS_OK;
}

void ks_readers_destroy(struct ks_readers *readers)
{
    if (!readers)
        return;
    ks_mutex_lock(&readers->mu);
    readers->is_stopping = true;
    ks_cond_broadcast(&readers->cond);
    ks_mutex_unlock(&readers->mu);
    for (unsigned i = 0; i < readers->thread_count; i++)
        pthread_join(readers->threads[i], NULL);
    ks_cond_fini(&readers->cond);
    ks_mutex_fini(&readers->mu);
    ks_free(readers);
}

enum ks_status ks_readers_submit(
    struct ks_readers *readers, struct ks_job *job, struct ks_error *err)
{
    KS_LOCK_SCOPE(&readers->mu);
    if (readers->job_count >= KS_READERS_QUEUE_MAX)
        return ks_fail(err, KS_THROTTLED, 0, "too many reads wait for the disk, try again later");
    ks_list_push(&readers->jobs, &job->link);
    readers->job_count++;
    ks_cond_signal(&readers->cond);
    return KS_OK;
}
