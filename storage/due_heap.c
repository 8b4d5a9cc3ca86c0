#include "storage/due_heap.h"

#include "base/alloc.h"

static void place(struct ks_due_heap *heap, uint32_t index, struct ks_due *node)
{
    heap->nodes[index] = node;
    node->place = index + 1;
}

static void sift_up(struct ks_due_heap *heap, uint32_t index)
{
    struct ks_due *node = heap->nodes[index];
    while (index > 0) {
        uint32_t parent = (index - 1) / 2;
        if (heap->nodes[parent]->unix_ms <= node->unix_ms)
            break;
        place(heap, index, heap->nodes[parent]);
        index = parent;
    }
    place(heap, index, node);
}

static void sift_down(struct ks_due_heap *heap, uint32_t index)
{
    struct ks_due *node = heap->nodes[index];
    for (;;) {
        uint32_t child = 2 * index + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count &&
            heap->nodes[child + 1]->unix_ms < heap->nodes[child]->unix_ms)
            child++;
        if (heap->nodes[child]->unix_ms >= node->unix_ms)
            break;
        place(heap, index, heap->nodes[child]);
        index = child;
    }
    place(heap, index, node);
}

void ks_due_heap_fini(struct ks_due_heap *heap)
{
    for (uint32_t i = 0; i < heap->count; i++)
        heap->nodes[i]->place = 0;
    ks_free(heap->nodes);
    *heap = (struct ks_due_heap){.nodes = NULL};
}

static bool heap_grow(struct ks_due_heap *heap)
{
    if (heap->count < heap->capacity)
        return true;
    uint32_t capacity = heap->capacity ? 2 * heap->capacity : 16;
    struct ks_due **grown = ks_realloc(heap->nodes, capacity * sizeof(struct ks_due *));
    if (!grown)
        return false;
    heap->nodes = grown;
    heap->capacity = capacity;
    return true;
}

bool ks_due_heap_put(struct ks_due_heap *heap, struct ks_due *node, uint64_t unix_ms)
{
    if (node->place == 0) {
        if (!heap_grow(heap))
            return false;
        place(heap, heap->count++, node);
    }
    node->unix_ms = unix_ms;
    sift_up(heap, node->place - 1);
    sift_down(heap, node->place - 1);
    return true;
}

void ks_due_heap_remove(struct ks_due_heap *heap, struct ks_due *node)
{
    if (node->place == 0)
        return;
    uint32_t index = node->place - 1;
    KS_ASSERT(index < heap->count && heap->nodes[index] == node);
    node->place = 0;
    struct ks_due *last = heap->nodes[--heap->count];
    if (last == node)
        return;
    place(heap, index, last);
    sift_up(heap, index);
    sift_down(heap, last->place - 1);
}

struct ks_due *ks_due_heap_first(const struct ks_due_heap *heap)
{
    return heap->count > 0 ? heap->nodes[0] : NULL;
}
