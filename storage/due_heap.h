/*
 * What is due when: a binary heap of nodes that live inside what they stand for. Threads: the
 * owner's mutex.
 */
#ifndef KS_STORAGE_DUE_HEAP_H
#define KS_STORAGE_DUE_HEAP_H

#include "base/defs.h"

struct ks_due {
    uint64_t unix_ms;
    uint32_t place; /* in the heap, from 1; 0: not in it */
};

struct ks_due_heap {
    struct ks_due **nodes; /* nodes[0] is due first */
    uint32_t count;
    uint32_t capacity;
};

void ks_due_heap_fini(struct ks_due_heap *heap); /* forgets the nodes */
/* Puts the node in, or moves it. False: no memory, it is not in. */
bool ks_due_heap_put(struct ks_due_heap *heap, struct ks_due *node, uint64_t unix_ms) KS_MUST_USE;
void ks_due_heap_remove(struct ks_due_heap *heap, struct ks_due *node); /* not in it: fine */
struct ks_due *ks_due_heap_first(const struct ks_due_heap *heap);       /* NULL: empty */

#endif
