/* Which task a thread takes next: one of its own share, and when that is done, one of the others'.
 *
 * Tasks are dealt in runs, so that from kernel to kernel a thread comes back to the images it has in its cache; a
 * thread that is slow, or has lost its processor, is helped. A loop makes one turn for each task, and each turn takes
 * one: a thread that finds all shares empty has none to make.
 */
#ifndef CNNX_SHARES_H
#define CNNX_SHARES_H

#include <stddef.h>

#ifdef _MSC_VER
#include <intrin.h>
#define TAKE_ONE(next) _InterlockedExchangeAdd64((next), 1)
#define LOOK_AT(next) (*(volatile long long *)(next))
#else
#define TAKE_ONE(next) __atomic_fetch_add((next), 1, __ATOMIC_RELAXED)
#define LOOK_AT(next) __atomic_load_n((next), __ATOMIC_RELAXED)
#endif

#define MOST_SHARES 16 /* more threads than that have one together */

typedef struct {
    long long next, stop;
    char apart[128 - 2 * sizeof(long long)]; /* a cache line for each, and for the one that is fetched along with it */
} share;

typedef struct {
    int count;
    share each[MOST_SHARES];
} shares;

static inline void deal(shares *s, ptrdiff_t tasks, int threads)
{
    s->count = threads < MOST_SHARES ? threads : MOST_SHARES;
    for (int i = 0; i < s->count; i++) {
        s->each[i].next = tasks * i / s->count;
        s->each[i].stop = tasks * (i + 1) / s->count;
    }
}

static inline ptrdiff_t take(shares *s, int thread)
{
    for (int i = 0; i < s->count; i++) {
        share *own = &s->each[(thread + i) % s->count];
        if (LOOK_AT(&own->next) < own->stop) {
            const long long task = TAKE_ONE(&own->next);
            if (task < own->stop)
                return (ptrdiff_t)task;
        }
    }
    return -1;
}

#endif
