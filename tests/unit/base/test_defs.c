#include "base/defs.h"
#include "base/list.h"
#include "tests/unit/ks_check.h"

#include <stdlib.h>

static int closed;

static void counted_close(int *resource)
{
    closed += *resource;
}
KS_DEFINE_CLEANUP(int, counted_close)

START_TEST(a_scope_closes_what_it_still_owns)
{
    int resource = 1;
    {
        KS_CLEANUP(counted_closep) int *kept = &resource;
        KS_CLEANUP(counted_closep) int *given = &resource;
        KS_CLEANUP(counted_closep) int *never = NULL;
        int *receiver = KS_TAKE(given);
        ck_assert_ptr_eq(receiver, &resource);
        ck_assert_ptr_null(given);
        ck_assert_ptr_nonnull(kept);
        ck_assert_ptr_null(never);
    }
    ck_assert_int_eq(closed, 1);
}
END_TEST

START_TEST(a_failed_assertion_aborts_in_every_build)
{
    KS_ASSERT(closed == 12345);
}
END_TEST

START_TEST(round_up_reaches_the_next_multiple)
{
    ck_assert_uint_eq(ks_round_up(0, 4096), 0);
    ck_assert_uint_eq(ks_round_up(1, 4096), 4096);
    ck_assert_uint_eq(ks_round_up(4096, 4096), 4096);
    ck_assert_uint_eq(ks_round_up(4097, 4096), 8192);
}
END_TEST

struct item {
    int number;
    struct ks_list link;
};

static void expect_items(struct ks_list *head, const int *numbers, size_t count)
{
    size_t at = 0;
    KS_LIST_FOR_EACH(node, head)
    {
        ck_assert_uint_lt(at, count);
        ck_assert_int_eq(KS_CONTAINER_OF(node, struct item, link)->number, numbers[at]);
        at++;
    }
    ck_assert_uint_eq(at, count);
}

START_TEST(a_list_keeps_its_order)
{
    struct item items[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    struct ks_list list;
    struct ks_list other;
    ks_list_init(&list);
    ks_list_init(&other);
    ck_assert_ptr_null(ks_list_pop(&list));
    for (size_t i = 0; i < 3; i++)
        ks_list_push(&list, &items[i].link);
    ks_list_push(&other, &items[3].link);
    ks_list_remove(&items[1].link);
    ck_assert(!ks_list_is_linked(&items[1].link));
    expect_items(&list, (const int[]){0, 2}, 2);
    ks_list_splice(&list, &other);
    ck_assert(ks_list_is_empty(&other));
    ks_list_splice(&list, &other);
    expect_items(&list, (const int[]){0, 2, 3}, 3);
    ck_assert_ptr_eq(ks_list_pop(&list), &items[0].link);
    expect_items(&list, (const int[]){2, 3}, 2);
}
END_TEST

START_TEST(a_safe_walk_may_remove)
{
    struct item items[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    struct ks_list list;
    ks_list_init(&list);
    for (size_t i = 0; i < 3; i++)
        ks_list_push(&list, &items[i].link);
    KS_LIST_FOR_EACH_SAFE(node, &list)
    {
        if (KS_CONTAINER_OF(node, struct item, link)->number != 1)
            ks_list_remove(node);
    }
    expect_items(&list, (const int[]){1}, 1);
}
END_TEST

START_TEST(a_node_in_two_lists_aborts)
{
    struct item item = {.number = 0};
    struct ks_list list;
    ks_list_init(&list);
    ks_list_push(&list, &item.link);
    ks_list_push(&list, &item.link);
}
END_TEST

KS_SUITE("base/defs and base/list")
{
    KS_TEST(a_scope_closes_what_it_still_owns);
    KS_TEST_ABORTS(a_failed_assertion_aborts_in_every_build);
    KS_TEST(round_up_reaches_the_next_multiple);
    KS_TEST(a_list_keeps_its_order);
    KS_TEST(a_safe_walk_may_remove);
    KS_TEST_ABORTS(a_node_in_two_lists_aborts);
}
