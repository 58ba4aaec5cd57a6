/* Threads that help a kernel, and that it does not wait for if they come too late.
 *
 * A barrier waits for every thread, even for one that finds nothing left to do: where another process has its
 * processor, that is milliseconds for each kernel, longer than the kernel itself takes. Here a job is offered to each
 * helper, and what nobody has taken is withdrawn when the caller is done with all tasks that it could find. It waits for
 * those alone that are in the middle of a task.
 *
 * That wait is in vain where it is longer than the job would have taken without help. Then the caller works alone, twenty
 * times as long as it has waited, before it asks for help again: beside other processes that want the processors, a
 * twentieth of the time is lost.
 *
 * To wake a helper that sleeps takes longer than a small job, and it comes too late. So small jobs are helped by those that
 * are awake alone; but where many of them follow each other without a pause, one of these wakes the helpers for the others.
 *
 * There is one set of helpers in a process. A second thread that computes at the same time does its work alone. After a
 * fork the child has no helpers, and starts its own when it needs them. A helper that cannot be started is done without.
 */
#ifndef CNNX_HELPERS_H
#define CNNX_HELPERS_H

#include <stdlib.h>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#endif

/* Whoever reads a number sees what was written before the number was. */
#ifdef _MSC_VER
#include <intrin.h>
typedef volatile long shared_number;
#define SWAP_NUMBER(number, with) _InterlockedExchange((number), (with))
#define CHANGE_NUMBER(number, from, to) (_InterlockedCompareExchange((number), (to), (from)) == (from))
#define READ_NUMBER(number) _InterlockedCompareExchange((number), 0, 0)
#else
typedef int shared_number;
#define SWAP_NUMBER(number, with) __atomic_exchange_n((number), (with), __ATOMIC_ACQ_REL)
#define READ_NUMBER(number) __atomic_load_n((number), __ATOMIC_ACQUIRE)
static inline int change_number(shared_number *number, int from, int to)
{
    return __atomic_compare_exchange_n(number, &from, to, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
#define CHANGE_NUMBER(number, from, to) change_number((number), (from), (to))
#endif

/* How a thread rounds, and whether it flushes subnormal numbers to zero: helpers do it as their caller does. */
#if defined(_M_X64) || defined(__x86_64__)
#include <immintrin.h>
typedef unsigned int arithmetic;
#define RELAX() _mm_pause()
#define OWN_ARITHMETIC() _mm_getcsr()
#define SET_ARITHMETIC(a) _mm_setcsr(a)
#elif defined(__aarch64__) && !defined(_MSC_VER)
typedef unsigned long long arithmetic;
#define RELAX() __asm__ volatile("yield")
static inline arithmetic own_arithmetic(void)
{
    arithmetic a;
    __asm__ volatile("mrs %0, fpcr" : "=r"(a));
    return a;
}
#define OWN_ARITHMETIC() own_arithmetic()
#define SET_ARITHMETIC(a) __asm__ volatile("msr fpcr, %0" : : "r"(a))
#else
typedef int arithmetic;
#define RELAX() ((void)0)
#define OWN_ARITHMETIC() 0
#define SET_ARITHMETIC(a) ((void)(a))
#endif

#ifdef _WIN32
#define GIVE_WAY() SwitchToThread()
#else
#define GIVE_WAY() sched_yield()
#endif

#define MOST_HELPERS 4095 /* with the caller, as many as threads.py allows */

/* How long one that waits looks again and again, in nanoseconds, before it sleeps: long enough to span what lies between
 * two kernels that need help, for a thread that has to be woken comes too late. Where other processes want the processors,
 * as a wait in vain has shown a short time ago, it leaves them to these sooner. */
#define WATCHING 300000
#define WATCHING_IN_A_CROWD 50000
#define CROWDED 20000000LL /* for so long after such a wait */
#define LOOKS 50 /* before the processor is offered to others */
#define ALONE 20 /* how many times as long as it has waited in vain a caller works alone */

enum {
    READY,   /* looks for an offer */
    ASLEEP,  /* waits for one, and has to be woken */
    OFFERED, /* may begin */
    WORKING, /* must be waited for */
    AWAITED  /* and its caller sleeps until it is done */
};

typedef void (*work_function)(const void *job, int thread);

/* Whoever sleeps, the helper or its caller, sleeps on the helper's condition; they never do at the same time. */
typedef struct {
    char apart[128];
    shared_number state;
    int thread;
#ifdef _WIN32
    SRWLOCK lock;
    CONDITION_VARIABLE changed;
#else
    pthread_mutex_t lock;
    pthread_cond_t changed;
#endif
    char apart_too[128];
} helper;

static struct {
    shared_number taken; /* by a caller; what follows is its own */
    shared_number started;
    int forks_are_noticed;
    shared_number missed, missed_at; /* see may_help; the time in microseconds */
    shared_number crowded;
    long long alone_until, crowded_until;
    work_function work;
    const void *job;
    arithmetic callers;
    helper *each[MOST_HELPERS];
} helpers;

#ifdef _WIN32

static inline long long now(void)
{
    LARGE_INTEGER ticks, per_second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&per_second);
    return (long long)((double)ticks.QuadPart / (double)per_second.QuadPart * 1e9);
}

/* Sleep while the state is this one. */
static void sleep_while(helper *h, int state)
{
    AcquireSRWLockExclusive(&h->lock);
    while (READ_NUMBER(&h->state) == state)
        SleepConditionVariableSRW(&h->changed, &h->lock, INFINITE, 0);
    ReleaseSRWLockExclusive(&h->lock);
}

static void wake(helper *h)
{
    AcquireSRWLockExclusive(&h->lock);
    WakeConditionVariable(&h->changed);
    ReleaseSRWLockExclusive(&h->lock);
}

#else

static inline long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Sleep while the state is this one. */
static void sleep_while(helper *h, int state)
{
    pthread_mutex_lock(&h->lock);
    while (READ_NUMBER(&h->state) == state)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

static void wake(helper *h)
{
    pthread_mutex_lock(&h->lock);
    pthread_cond_signal(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

#endif

/* Look until the state is this one, or another one than this if `other`, but not for long; whether it is. A helper may
 * lie on its caller's own processor: whoever has nothing to do gives way. */
static int watch(helper *h, int state, int other)
{
    const long long until = now() + (READ_NUMBER(&helpers.crowded) ? WATCHING_IN_A_CROWD : WATCHING);
    do {
        for (int i = 0; i < LOOKS; i++) {
            if ((READ_NUMBER(&h->state) == state) != other)
                return 1;
            RELAX();
        }
        GIVE_WAY();
    } while (now() < until);
    return 0;
}

static void help_without_end(helper *h)
{
    for (;;) {
        if (!watch(h, OFFERED, 0) && CHANGE_NUMBER(&h->state, READY, ASLEEP))
            sleep_while(h, ASLEEP);
        if (!CHANGE_NUMBER(&h->state, OFFERED, WORKING))
            continue; /* withdrawn */
        SET_ARITHMETIC(helpers.callers);
        helpers.work(helpers.job, h->thread);
        if (SWAP_NUMBER(&h->state, READY) == AWAITED)
            wake(h);
    }
}

#ifdef _WIN32

static DWORD WINAPI run_helper(void *h)
{
    help_without_end((helper *)h);
    return 0;
}

static int start_thread(helper *h)
{
    InitializeSRWLock(&h->lock);
    InitializeConditionVariable(&h->changed);
    const HANDLE thread = CreateThread(NULL, 0, run_helper, h, 0, NULL);
    return thread && CloseHandle(thread);
}

static void notice_forks(void) {}

#else

static void *run_helper(void *h)
{
    help_without_end((helper *)h);
    return NULL;
}

/* Signals are for the threads of the program. */
static int start_thread(helper *h)
{
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    if (pthread_attr_init(&attributes))
        return 0;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, (size_t)1 << 20);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&thread, &attributes, run_helper, h);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return !failed;
}

/* None of the threads is in the child, not even the one that may have taken the helpers. */
static void forget_helpers(void)
{
    SWAP_NUMBER(&helpers.started, 0);
    SWAP_NUMBER(&helpers.taken, 0);
}

static void notice_forks(void)
{
    if (!helpers.forks_are_noticed)
        helpers.forks_are_noticed = !pthread_atfork(NULL, NULL, forget_helpers);
}

#endif

/* Have so many helpers, or as many as there can be; their number. */
static int start_helpers(int count)
{
    notice_forks();
    while (helpers.started < count && helpers.started < MOST_HELPERS) {
        helper *h = (helper *)calloc(1, sizeof(helper));
        if (!h)
            break;
        h->state = READY;
        h->thread = helpers.started + 1;
        if (!start_thread(h)) {
            free(h);
            break;
        }
        helpers.each[helpers.started] = h;
        SWAP_NUMBER(&helpers.started, helpers.started + 1);
    }
    return helpers.started < count ? helpers.started : count;
}

/* Whether helpers are free, and the last of `count` is awake, or shall be woken: for a job that is worth it, as are small ones together,
 * each of which began soon after the one before. What a job is worth is in the caller's units. */
static int may_help(int count, int worth, int worth_waking)
{
    const int started = READ_NUMBER(&helpers.started);
    if (READ_NUMBER(&helpers.taken))
        return 0;
    if (worth >= worth_waking || (started >= count && READ_NUMBER(&helpers.each[count - 1]->state) != ASLEEP))
        return 1;
    const unsigned int time = (unsigned int)(now() / 1000);
    const unsigned int since = time - (unsigned int)SWAP_NUMBER(&helpers.missed_at, (int)time);
    const int missed = worth + (since > WATCHING / 1000 ? 0 : READ_NUMBER(&helpers.missed));
    SWAP_NUMBER(&helpers.missed, missed < worth_waking ? missed : 0);
    return missed >= worth_waking;
}

static inline void offer(helper *h)
{
    if (SWAP_NUMBER(&h->state, OFFERED) == ASLEEP)
        wake(h);
}

/* Take an offer back, or wait until the helper is done. */
static inline void withdraw(helper *h)
{
    if (CHANGE_NUMBER(&h->state, OFFERED, READY))
        return;
    if (!watch(h, WORKING, 1) && CHANGE_NUMBER(&h->state, WORKING, AWAITED))
        sleep_while(h, AWAITED);
}

static void work_with_helpers(work_function work, const void *job, int count, long long begun)
{
    helpers.work = work;
    helpers.job = job;
    helpers.callers = OWN_ARITHMETIC();
    for (int i = 0; i < count; i++)
        offer(helpers.each[i]);
    work(job, 0);
    const long long done = now();
    for (int i = 0; i < count; i++)
        withdraw(helpers.each[i]);
    const long long end = now();
    if (end - done > count * (done - begun)) {
        helpers.alone_until = end + ALONE * (end - done);
        helpers.crowded_until = helpers.alone_until + CROWDED;
        SWAP_NUMBER(&helpers.crowded, 1);
    } else if (end > helpers.crowded_until && READ_NUMBER(&helpers.crowded)) {
        SWAP_NUMBER(&helpers.crowded, 0);
    }
}

/* Have `work` called by this thread, as number 0, and by up to `threads` - 1 helpers, each with its own number. Whoever
 * calls it looks for tasks that nobody has begun, so that one alone does all of them. */
static void work_together(work_function work, const void *job, int threads)
{
    if (SWAP_NUMBER(&helpers.taken, 1)) {
        work(job, 0);
        return;
    }
    const long long begun = now();
    const int count = begun < helpers.alone_until ? 0 : start_helpers(threads - 1);
    if (count)
        work_with_helpers(work, job, count, begun);
    SWAP_NUMBER(&helpers.taken, 0);
    if (!count)
        work(job, 0);
}

#endif
