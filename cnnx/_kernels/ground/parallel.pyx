"""How many threads a kernel uses, and its working memory.

Work is always cut by the shapes alone and sums are added in a fixed order, so the number of threads
changes the time a kernel takes and no bit of its result.
"""

from libc.math cimport ceil

from cnnx._kernels.ground.floating cimport floating


cdef extern from "kept_memory.h" nogil:
    void *take_memory(size_t bytes)
    void give_memory(void *memory)


cdef extern from "shares.h" nogil:
    ctypedef struct shares:
        pass
    void deal(shares *s, Py_ssize_t tasks, int threads)
    Py_ssize_t take(shares *s, int thread)


cdef extern from "helpers.h" nogil:
    void work_together(void (*work)(const void *job, int thread) noexcept nogil, const void *job, int threads)
    int may_help(int count, int worth, int worth_waking)


cdef enum:
    TURNS = 16  # of a thread, at most: enough that one which has other work leaves some to the others

cdef enum:
    MOST_THREADS = 4096     # as in threads.py; each may have working memory of its own

cdef int _threads = 1

# Below this many operations a second thread costs more than it saves: a few microseconds to wake it, and milliseconds
# where another process has its processor. A product does several times as many in the same time: one of 460,000 took 3.2 us
# on two threads and 3.8 on one, of 290,000 2.5 and 2.7, and 0.1 us more where the second thread got no processor.
cdef double WORTH_A_THREAD = 50_000
cdef double PRODUCT_WORTH_A_THREAD = 400_000
# A job that is worth so many threads is worth waking helpers that sleep: 8,000,000 operations of a product.
cdef int WORTH_WAKING = 20


def set_threads(count):
    """Let every kernel use up to `count` threads."""
    global _threads
    if not 1 <= count <= MOST_THREADS:
        raise ValueError(f"threads: expected 1 to {MOST_THREADS}, got {count}")
    _threads = count


cdef int threads_for(Py_ssize_t tasks, double operations) noexcept nogil:
    return threads_worth(tasks, operations / WORTH_A_THREAD)


cdef Py_ssize_t tasks_for_product(Py_ssize_t most, double operations) noexcept nogil:
    """Into how many tasks it is worth cutting a product."""
    return <Py_ssize_t>max(1.0, min(<double>most, ceil(operations / PRODUCT_WORTH_A_THREAD)))


cdef int threads_for_product(Py_ssize_t tasks, double operations) noexcept nogil:
    return threads_worth(tasks, ceil(operations / PRODUCT_WORTH_A_THREAD))


cdef int threads_worth(Py_ssize_t tasks, double worth) noexcept nogil:
    """For so many tasks, of a job that is worth so many threads."""
    cdef int threads = <int>max(1.0, min(<double>min(tasks, _threads), worth))
    return threads if threads == 1 or may_help(threads - 1, <int>min(worth, <double>WORTH_WAKING), WORTH_WAKING) else 1


cdef void *allocate(Py_ssize_t bytes) except NULL nogil:
    """Working memory with any content, which begins with a cache line."""
    cdef void *memory = take_memory(bytes) if bytes >= 0 else NULL
    if memory == NULL:
        with gil:
            raise MemoryError(f"a kernel's working memory: {bytes} bytes")
    return memory


cdef void release(void *memory) noexcept nogil:
    give_memory(memory)


ctypedef struct dealing:
    shares *dealt
    void *run
    const void *job
    void *memory
    Py_ssize_t together, tasks, private


cdef void for_each_task(
    void (*run)(const void *job, Py_ssize_t task, floating *memory) noexcept nogil, const void *job,
    Py_ssize_t tasks, int threads, floating *memory, Py_ssize_t private,
) noexcept nogil:
    """`run` every task of a job, which nobody changes; each thread has `private` elements of the memory to itself."""
    cdef Py_ssize_t task
    cdef shares dealt
    cdef dealing d
    if threads == 1:
        # Without the shares and the helpers, which take as long as a small layer.
        for task in range(tasks):
            run(job, task, memory)
        return
    # A turn takes a fraction of a microsecond, as long as a row of a small image: of many tasks several are one turn.
    d.together = (tasks + TURNS * threads - 1) // (TURNS * threads)
    d.dealt, d.run, d.job, d.tasks, d.memory, d.private = &dealt, <void *>run, job, tasks, memory, private
    deal(&dealt, (tasks + d.together - 1) // d.together, threads)
    if floating is float:
        work_together(take_turns_float, &d, threads)
    else:
        work_together(take_turns_double, &d, threads)


cdef void take_turns_float(const void *of, int thread) noexcept nogil:
    cdef const dealing *d = <const dealing *>of
    take_turns(d, thread, <float *>d.memory)


cdef void take_turns_double(const void *of, int thread) noexcept nogil:
    cdef const dealing *d = <const dealing *>of
    take_turns(d, thread, <double *>d.memory)


cdef void take_turns(const dealing *d, int thread, floating *memory) noexcept nogil:
    """A thread's part of a job: turn after turn, until there is none that nobody has begun."""
    cdef void (*run)(const void *job, Py_ssize_t task, floating *memory) noexcept nogil
    cdef Py_ssize_t task, turn
    run = <void (*)(const void *job, Py_ssize_t task, floating *memory) noexcept nogil>d.run
    while True:
        turn = take(d.dealt, thread)
        if turn < 0:
            return
        for task in range(turn * d.together, min((turn + 1) * d.together, d.tasks)):
            run(d.job, task, memory + thread * d.private)
