#include "base/alloc.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* The fault of tests. Thread-local, so that a test's fault hits the code it calls and no thread
 * beside it. */
static _Thread_local uint64_t alloc_count;
static _Thread_local uint64_t alloc_fail_at; /* 0: never */
static _Thread_local bool alloc_fail_sticky;

/* malloc(3) and its kin, or what the program brings. Set once, before there are threads. */
static void *(*alloc_allocate)(size_t bytes) = malloc;
static void *(*alloc_resize)(void *block, size_t bytes) = realloc;
static void (*alloc_release)(void *block) = free;

void ks_alloc_use(void *(*allocate)(size_t bytes), void *(*resize)(void *block, size_t bytes),
    void (*release)(void *block))
{
    alloc_allocate = allocate;
    alloc_resize = resize;
    alloc_release = release;
}

static bool alloc_is_refused(void)
{
    alloc_count++;
    if (alloc_fail_at == 0)
        return false;
    return alloc_count == alloc_fail_at || (alloc_fail_sticky && alloc_count > alloc_fail_at);
}

void *ks_malloc(size_t bytes)
{
    KS_ASSERT(bytes > 0);
    return alloc_is_refused() ? NULL : alloc_allocate(bytes);
}

void *ks_zalloc(size_t bytes)
{
    return ks_calloc(1, bytes);
}

void *ks_calloc(size_t count, size_t bytes)
{
    KS_ASSERT(count > 0);
    KS_ASSERT(bytes > 0);
    /* calloc checks this too, but under a sanitizer it aborts instead of failing. */
    if (alloc_is_refused() || count > PTRDIFF_MAX / bytes)
        return NULL;
    if (alloc_allocate == malloc)
        return calloc(count, bytes);
    void *block = alloc_allocate(count * bytes);
    if (block)
        memset(block, 0, count * bytes);
    return block;
}

void *ks_realloc(void *old, size_t bytes)
{
    KS_ASSERT(bytes > 0);
    return alloc_is_refused() ? NULL : alloc_resize(old, bytes);
}

void *ks_aligned_alloc(size_t alignment, size_t bytes)
{
    KS_ASSERT(alignment >= sizeof(void *));
    KS_ASSERT((alignment & (alignment - 1)) == 0);
    KS_ASSERT(bytes > 0);
    KS_ASSERT(alloc_release == free); /* a program's own allocator knows no alignment */
    void *block = NULL;
    if (alloc_is_refused() || posix_memalign(&block, alignment, bytes) != 0)
        return NULL;
    return block;
}

char *ks_strdup(const char *text)
{
    return ks_memdup(text, strlen(text) + 1);
}

void *ks_memdup(const void *data, size_t bytes)
{
    void *copy = ks_malloc(bytes);
    if (copy)
        memcpy(copy, data, bytes);
    return copy;
}

void ks_free(void *block)
{
    alloc_release(block);
}

void ks_alloc_trim(void)
{
    malloc_trim(0);
}

void ks_alloc_fail_nth(uint64_t nth, bool sticky)
{
    alloc_count = 0;
    alloc_fail_at = nth;
    alloc_fail_sticky = sticky;
}

uint64_t ks_alloc_count(void)
{
    return alloc_count;
}
