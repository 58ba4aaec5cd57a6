"""How many threads a kernel uses, and its working memory.

Work is always cut by the shapes alone and sums are added in a fixed order, so the number of threads
changes the time a kernel takes and no bit of its result.
"""

from os import getpid

from cython.parallel cimport prange, threadid

from cnnx._kernels.ground.floating cimport floating


cdef extern from "kept_memory.h" nogil:
    void *take_memory(size_t bytes)
    void give_memory(void *memory)


cdef extern from "shares.h" nogil:
    ctypedef struct shares:
        pass
    void deal(shares *s, Py_ssize_t tasks, int threads)
    Py_ssize_t take(shares *s, int thread)


cdef enum:
    TURNS = 16  # of a thread, at most: enough that one which has other work leaves some to the others

cdef enum:
    MOST_THREADS = 4096     # as in threads.py; each may have working memory of its own

cdef int _threads = 1
cdef object _process = getpid()

# Below this many operations a second thread costs more than it saves: a few microseconds to wake it, and milliseconds
# where another process has its processor. A product does several times as many in the same time.
cdef double WORTH_A_THREAD = 50_000
cdef double PRODUCT_WORTH_A_THREAD = 400_000


def set_threads(count):
    """Let every kernel use up to `count` threads; in a forked process, one.

    A fork takes along what the runtime knows of its threads, but no thread: it would wait for them for ever.
    """
    global _threads
    if not 1 <= count <= MOST_THREADS:
        raise ValueError(f"threads: expected 1 to {MOST_THREADS}, got {count}")
    if count > 1 and getpid() != _process:
        raise RuntimeError(
            f"threads: expected 1 in a process that was forked after cnnx was imported, got {count}: a fork has none "
            "of its parent's threads. Processes started by 'spawn' or 'forkserver' may use several")
    _threads = count


cdef int threads_for(Py_ssize_t tasks, double operations) noexcept nogil:
    return <int>max(1.0, min(<double>min(tasks, _threads), operations / WORTH_A_THREAD))


cdef Py_ssize_t tasks_for_product(Py_ssize_t most, double operations) noexcept nogil:
    """Into how many tasks it is worth cutting a product."""
    return <Py_ssize_t>max(1.0, min(<double>most, operations / PRODUCT_WORTH_A_THREAD))


cdef int threads_for_product(Py_ssize_t tasks, double operations) noexcept nogil:
    return <int>min(tasks_for_product(tasks, operations), _threads)


cdef void *allocate(Py_ssize_t bytes) except NULL nogil:
    """Working memory with any content, which begins with a cache line."""
    cdef void *memory = take_memory(bytes) if bytes >= 0 else NULL
    if memory == NULL:
        with gil:
            raise MemoryError(f"a kernel's working memory: {bytes} bytes")
    return memory


cdef void release(void *memory) noexcept nogil:
    give_memory(memory)


cdef void for_each_task(
    void (*run)(const void *job, Py_ssize_t task, floating *memory) noexcept nogil, const void *job,
    Py_ssize_t tasks, int threads, floating *memory, Py_ssize_t private,
) noexcept nogil:
    """`run` every task of a job, which nobody changes; each thread has `private` elements of the memory to itself."""
    cdef Py_ssize_t task, turn, turns, together
    cdef shares dealt
    if threads == 1:
        # Without the region of a single thread, which takes as long as a small layer.
        for task in range(tasks):
            run(job, task, memory)
        return
    # A turn takes a fraction of a microsecond, as long as a row of a small image: of many tasks several are one turn.
    together = (tasks + TURNS * threads - 1) // (TURNS * threads)
    turns = (tasks + together - 1) // together
    deal(&dealt, turns, threads)
    for turn in prange(turns, num_threads=threads, schedule="dynamic"):
        run_together(run, job, take(&dealt, threadid()), together, tasks, memory + threadid() * private)


cdef void run_together(
    void (*run)(const void *job, Py_ssize_t task, floating *memory) noexcept nogil, const void *job, Py_ssize_t turn,
    Py_ssize_t together, Py_ssize_t tasks, floating *memory,
) noexcept nogil:
    cdef Py_ssize_t task
    for task in range(turn * together, min((turn + 1) * together, tasks)):
        run(job, task, memory)
