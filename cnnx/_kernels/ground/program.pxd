# What a kernel does once shapes are checked, with all that it needs to know in a structure, its job.
ctypedef int (*job_function)(const void *job, const void *unused) except -1 nogil
# What fails gives -1, and nobody looks for the error: without the interpreter, no thread can.
ctypedef int (*quiet_function)(const void *job, const void *unused) noexcept nogil


cdef int perform(
    job_function run, const void *job, Py_ssize_t size, const void ***arrays, int count, object kept,
) except -1
