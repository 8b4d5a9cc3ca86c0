/*
 * The few macros every file uses: scope cleanup, "you must look at this result", asserts that stay
 * on in release builds.
 */
#ifndef KS_BASE_DEFS_H
#define KS_BASE_DEFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KS_MUST_USE __attribute__((warn_unused_result))
#define KS_PRINTF(format_index, first_arg) __attribute__((format(printf, format_index, first_arg)))
#define KS_UNUSED __attribute__((unused))
#define KS_NORETURN __attribute__((noreturn))

/* Runs fn(&variable) when the variable leaves its scope. The variable must be initialised where it
 * is declared. */
#define KS_CLEANUP(fn) __attribute__((cleanup(fn)))

/* KS_DEFINE_CLEANUP(struct ks_segment, ks_segment_close) makes ks_segment_closep() for KS_CLEANUP;
 * NULL is skipped. */
#define KS_DEFINE_CLEANUP(type, fn)                                                                \
    static inline KS_UNUSED void fn##p(type **pointer)                                             \
    {                                                                                              \
        if (*pointer)                                                                              \
            fn(*pointer);                                                                          \
    }

/* Yields the pointer and clears the variable, so that its cleanup finds NULL: the value now belongs
 * to the receiver. */
#define KS_TAKE(pointer)                                                                           \
    __extension__({                                                                                \
        __auto_type ks_taken_ = (pointer);                                                         \
        (pointer) = NULL;                                                                          \
        ks_taken_;                                                                                 \
    })

/* Drops a status on purpose; the reason is for the reader. */
#define KS_IGNORE(expr, reason)                                                                    \
    __extension__({                                                                                \
        __auto_type ks_ignored_ = (expr);                                                          \
        (void)ks_ignored_;                                                                         \
    })

/* Inside a loop that watches another thread's write: gives the core's other thread room. */
static inline void ks_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#define KS_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define KS_CONTAINER_OF(pointer, type, member)                                                     \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#define KS_MIN(a, b) ((a) < (b) ? (a) : (b))
#define KS_MAX(a, b) ((a) > (b) ? (a) : (b))

/* What cannot happen. On in every build: stopping beats writing a wrong byte. Never for bytes from
 * disk, wire or config. */
#define KS_ASSERT(condition)                                                                       \
    ((condition) ? (void)0 : ks_assert_failed(#condition, __FILE__, __LINE__, __func__))

KS_NORETURN void ks_assert_failed(
    const char *condition, const char *file, int line, const char *function);

/* value rounded up to a multiple of unit; unit is a power of two. */
static inline uint64_t ks_round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) & ~(unit - 1);
}

static inline uint64_t ks_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t ks_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
