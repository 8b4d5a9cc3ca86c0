/*
 * Allocation. NULL on failure, always handled by the caller; zero bytes is an assertion failure.
 * Tests can make the n-th allocation fail (ks_alloc_fail_nth), so that every error path runs.
 */
#ifndef KS_BASE_ALLOC_H
#define KS_BASE_ALLOC_H

#include "base/defs.h"

void *ks_malloc(size_t bytes) KS_MUST_USE;
void *ks_zalloc(size_t bytes) KS_MUST_USE;
void *ks_calloc(size_t count, size_t bytes) KS_MUST_USE;
/* On failure the old block stays valid. */
void *ks_realloc(void *old, size_t bytes) KS_MUST_USE;
/* alignment: a power of two, at least sizeof(void *). Freed by ks_free. Not after ks_alloc_use. */
void *ks_aligned_alloc(size_t alignment, size_t bytes) KS_MUST_USE;
char *ks_strdup(const char *text) KS_MUST_USE;
void *ks_memdup(const void *data, size_t bytes) KS_MUST_USE;
void ks_free(void *block); /* NULL is fine */

static inline void ks_freep(void *pointer_to_pointer)
{
    ks_free(*(void **)pointer_to_pointer);
}
#define KS_AUTO_FREE KS_CLEANUP(ks_freep)

/* Gives free memory inside the heap back to the kernel; other threads' allocations wait meanwhile.
 */
void ks_alloc_trim(void);

/* Other functions than malloc, realloc and free from now on: before the first allocation, and
 * before there are threads. */
void ks_alloc_use(void *(*allocate)(size_t bytes), void *(*resize)(void *block, size_t bytes),
    void (*release)(void *block));

/* Tests only: the n-th allocation from now (1 = the next) of this thread fails, and all later ones
 * if sticky; 0 = off. */
void ks_alloc_fail_nth(uint64_t nth, bool sticky);
/* Allocations made by this thread since ks_alloc_fail_nth was last called. */
uint64_t ks_alloc_count(void);

#endif
