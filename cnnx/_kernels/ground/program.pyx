"""Programs: what kernels have to do, noted once, and done on one batch after the other in a single call.

A kernel's door checks shapes and describes what is to be done, a job: a structure with sizes, the addresses of arrays,
and the function that does it. `perform` has it done at once; or, in a thread that records a program, notes it.
A program has its jobs done on other arrays of the same shapes. Addresses in them that lay in the batch, or in the working
memory, become those in the batch that is given, and in memory of this call, so that several threads may run a program.
All other addresses, such as those of weights, stay as they are.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.exc cimport PyErr_Occurred
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from numpy import empty

from cnnx._kernels.ground.finite cimport differences
from cnnx._kernels.ground.instruction_sets cimport in_use, instruction_set
from cnnx._kernels.ground.parallel cimport allocate, for_each_task, release, threads_for_product

cdef extern from "recorder.h" nogil:
    void *recorder  # a Program, which is alive while it records
    void MARK(long *number)

cdef enum:
    ALIGNMENT = 64          # of jobs and arrays in memory, in bytes
    IN_BATCH = 1            # where an address lies
    IN_MEMORY = 2


cdef struct noted_job:
    job_function run
    Py_ssize_t start        # among the bytes of all jobs


cdef struct address:
    Py_ssize_t place        # among the bytes of all jobs
    const char *pointer     # as it was noted
    int where
    Py_ssize_t offset       # from the beginning of that


cdef struct program_code:
    noted_job *noted
    Py_ssize_t count
    char *jobs
    Py_ssize_t jobs_size
    address *addresses
    Py_ssize_t address_count
    address result
    Py_ssize_t batch_size, memory_size, result_size     # in bytes


# As a quiet function.
ctypedef void *(*quiet_allocation)(Py_ssize_t bytes) noexcept nogil


cdef Py_ssize_t aligned(Py_ssize_t bytes) noexcept nogil:
    return (bytes + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


cdef int perform(
    job_function run, const void *job, Py_ssize_t size, const void ***arrays, int count, object kept,
) except -1:
    """Do a job now, or note it. In the job, the addresses of `count` arrays are at `arrays`.

    `kept` is what must stay alive for what is noted: arrays that the kernel's caller may have made for this call.
    """
    if recorder != NULL:
        (<Program>recorder).note(run, job, size, arrays, count, kept)
        return 0
    with nogil:
        run(job, NULL)
    return 0


cdef void *grown(void *memory, Py_ssize_t bytes) except NULL:
    cdef void *larger = realloc(memory, bytes)
    if larger == NULL:
        raise MemoryError(f"a program of kernels: {bytes} bytes")
    return larger


cdef bint take_place(address *a, const char *first, Py_ssize_t bytes, int where, Py_ssize_t offset) noexcept nogil:
    """Whether an address lies in an array; an empty one has none."""
    if not first <= a.pointer < first + bytes:
        return False
    a.where, a.offset = where, offset + (a.pointer - first)
    return True


cdef class Program:
    """Recorded in a ``with`` statement, in which kernels do nothing; then `bind` says what their arrays were."""

    cdef program_code code
    cdef list kept
    cdef tuple shape
    cdef object dtype
    cdef char type  # of the batch's numbers
    cdef const instruction_set *made_for

    def __cinit__(self):
        self.kept, self.made_for = [], in_use()

    def __dealloc__(self):
        free(self.code.noted)
        free(self.code.jobs)
        free(self.code.addresses)

    def __enter__(self):
        global recorder
        recorder = <void *>self
        return self

    def __exit__(self, *error):
        global recorder
        recorder = NULL

    cdef int note(
        self, job_function run, const void *job, Py_ssize_t size, const void ***arrays, int count,
        object kept,
    ) except -1:
        cdef program_code *c = &self.code
        cdef Py_ssize_t start = c.jobs_size, n = c.address_count
        cdef int i
        c.noted = <noted_job *>grown(c.noted, (c.count + 1) * sizeof(noted_job))
        c.jobs = <char *>grown(c.jobs, start + aligned(size))
        c.addresses = <address *>grown(c.addresses, (n + count) * sizeof(address))
        c.noted[c.count] = noted_job(run, start)
        memcpy(c.jobs + start, job, size)
        for i in range(count):
            c.addresses[n + i] = address(
                start + (<const char *>arrays[i] - <const char *>job), <const char *>arrays[i][0], 0, 0)
        c.count, c.jobs_size, c.address_count = c.count + 1, start + aligned(size), n + count
        self.kept.append(kept)
        return 0

    cdef int locate(self, address *a, x, tuple memories) except -1:
        """Find where an address lies; 0 is nowhere."""
        cdef Py_buffer buffer
        cdef Py_ssize_t i, start = 0
        cdef bint found
        a.where = 0
        for i in range(-1, len(memories)):
            PyObject_GetBuffer(x if i < 0 else memories[i], &buffer, PyBUF_SIMPLE)
            found = take_place(a, <const char *>buffer.buf, buffer.len, IN_BATCH if i < 0 else IN_MEMORY, start)
            start += 0 if i < 0 else aligned(buffer.len)
            PyBuffer_Release(&buffer)
            if found:
                break
        return 0

    def bind(self, x, tuple memories, y):
        """Say that jobs were noted with the batch `x`, that working arrays lay in `memories`, and that `y` was the result.
        """
        cdef program_code *c = &self.code
        cdef Py_ssize_t i, moved = 0
        cdef Py_buffer buffer
        for i in range(c.address_count):
            self.locate(&c.addresses[i], x, memories)
            if c.addresses[i].where:
                c.addresses[moved] = c.addresses[i]
                moved += 1
        c.address_count = moved
        PyObject_GetBuffer(y, &buffer, PyBUF_SIMPLE)
        c.result = address(0, <const char *>buffer.buf, 0, 0)
        PyBuffer_Release(&buffer)
        self.locate(&c.result, x, memories)
        self.shape, self.dtype = y.shape, y.dtype
        c.batch_size, c.result_size, self.type = x.nbytes, y.nbytes, ord(x.dtype.char)
        c.memory_size = sum([aligned(memory.nbytes) for memory in memories])
        if not c.result.where:
            raise ValueError("program: the result lies neither in the batch nor in the working memory")

    @property
    def up_to_date(self):
        """Whether kernels would note the same now; with another instruction set they would not."""
        return in_use() == self.made_for

    def run(self, x, bint finite=False):
        """The result for another batch of the same size, in a new array.

        None if the batch is no array of such numbers in C order, if `finite` and not all of them are, or if kernels
        would note something else now, as they do with another instruction set.
        """
        cdef Py_buffer batch
        if in_use() != self.made_for:
            return None
        try:
            PyObject_GetBuffer(x, &batch, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        except (BufferError, ValueError):
            return None
        try:
            return self.result_of(&batch) if self.takes(&batch, finite) else None
        finally:
            PyBuffer_Release(&batch)

    cdef bint takes(self, const Py_buffer *batch, bint finite) noexcept:
        """Whether a batch is like the one that the program was recorded with, and its numbers are finite if need be."""
        if (
            batch.len != self.code.batch_size or batch.format[0] != self.type or batch.format[1] != 0
            or <uintptr_t>batch.buf % batch.itemsize
        ):
            return False
        if not finite:
            return True
        if self.type == c"f":
            return differences(<const float *>batch.buf, batch.len // batch.itemsize) == 0
        return differences(<const double *>batch.buf, batch.len // batch.itemsize) == 0

    cdef result_of(self, const Py_buffer *batch):
        cdef Py_buffer result
        cdef int status
        y = empty(self.shape, self.dtype)
        PyObject_GetBuffer(y, &result, PyBUF_WRITABLE)
        try:
            with nogil:
                status = run_jobs(&self.code, <const char *>batch.buf, <char *>result.buf)
            check(status)
        finally:
            PyBuffer_Release(&result)
        return y

    def run_parts(self, x, Program rest, double operations):
        """The results of a batch of several parts, each like the one that was recorded, and after them the `rest`, if any.

        Threads share the parts, of so many operations together.
        """
        cdef Py_buffer batch, result
        cdef parts p
        cdef Py_ssize_t left = x.nbytes - (0 if rest is None else rest.code.batch_size)
        p.whole, p.rest, p.failed = &self.code, NULL if rest is None else &rest.code, 0
        p.count = left // self.code.batch_size
        if left != p.count * self.code.batch_size:
            raise ValueError(f"program: expected parts of {self.code.batch_size} bytes, got {left}")
        y = empty((len(x), *self.shape[1:]), self.dtype)
        PyObject_GetBuffer(x, &batch, PyBUF_C_CONTIGUOUS)
        try:
            PyObject_GetBuffer(y, &result, PyBUF_WRITABLE)
            try:
                p.batch, p.result = <const char *>batch.buf, <char *>result.buf
                with nogil:
                    share_parts(&p, operations)
                check(-p.failed)
            finally:
                PyBuffer_Release(&result)
        finally:
            PyBuffer_Release(&batch)
        return y


cdef int run_jobs(const program_code *code, const char *batch, char *result) noexcept nogil:
    """-1 where a job has failed. Its error may be lost, as this may be a helper's thread."""
    cdef char *memory = <char *>(<quiet_allocation>allocate)(code.memory_size + code.jobs_size)
    cdef char *jobs = memory + code.memory_size
    cdef const address *a
    cdef Py_ssize_t i
    cdef int status = 0
    if memory == NULL:
        return -1
    memcpy(jobs, code.jobs, code.jobs_size)
    for i in range(code.address_count):
        a = &code.addresses[i]
        (<const char **>(jobs + a.place))[0] = (batch if a.where == IN_BATCH else memory) + a.offset
    for i in range(code.count):
        status = (<quiet_function>code.noted[i].run)(jobs + code.noted[i].start, NULL)
        if status == -1:
            break
    if status != -1:
        memcpy(result, (batch if code.result.where == IN_BATCH else memory) + code.result.offset, code.result_size)
    release(memory)
    return status


cdef int check(int status) except -1:
    """Raise what has made a job fail."""
    if status == -1 and PyErr_Occurred() == NULL:
        raise MemoryError("a program of kernels")
    return status


cdef struct parts:
    const program_code *whole
    const program_code *rest    # of the last part, or NULL
    Py_ssize_t count            # of the others
    const char *batch
    char *result
    long failed


cdef void run_part(const void *job, Py_ssize_t part, float *unused) noexcept nogil:
    cdef parts *p = <parts *>job
    cdef const program_code *code = p.whole if part < p.count else p.rest
    if p.failed:  # a second error would come upon the first
        return
    if run_jobs(code, p.batch + part * p.whole.batch_size, p.result + part * p.whole.result_size) == -1:
        MARK(&p.failed)


cdef void share_parts(parts *p, double operations) noexcept nogil:
    cdef Py_ssize_t count = p.count + (p.rest != NULL)
    for_each_task[float](run_part, p, count, threads_for_product(count, operations), NULL, 0)
