/* Intrusive doubly linked list with a head. A node is in one list or in none (next == NULL). */
#ifndef KS_BASE_LIST_H
#define KS_BASE_LIST_H

#include "base/defs.h"

struct ks_list {
    struct ks_list *next;
    struct ks_list *prev;
};

static inline void ks_list_init(struct ks_list *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool ks_list_is_empty(const struct ks_list *head)
{
    return head->next == head;
}

static inline bool ks_list_is_linked(const struct ks_list *node)
{
    return node->next != NULL;
}

static inline void ks_list_push(struct ks_list *head, struct ks_list *node)
{
    KS_ASSERT(!ks_list_is_linked(node));
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void ks_list_remove(struct ks_list *node)
{
    KS_ASSERT(ks_list_is_linked(node));
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = NULL;
    node->prev = NULL;
}

/* Removes and returns the first node, NULL when empty. */
static inline struct ks_list *ks_list_pop(struct ks_list *head)
{
    if (ks_list_is_empty(head))
        return NULL;
    struct ks_list *node = head->next;
    ks_list_remove(node);
    return node;
}

/* Moves all nodes of from to the end of to; from is empty afterwards. */
static inline void ks_list_splice(struct ks_list *to, struct ks_list *from)
{
    if (ks_list_is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    ks_list_init(from);
}

#define KS_LIST_FOR_EACH(node, head)                                                               \
    for (struct ks_list *node = (head)->next; node != (head); node = node->next)
/* The body may remove node. */
#define KS_LIST_FOR_EACH_SAFE(node, head)                                                          \
    for (struct ks_list *node = (head)->next, *ks_next_ = node->next; node != (head);              \
         node = ks_next_, ks_next_ = node->next)

#endif
