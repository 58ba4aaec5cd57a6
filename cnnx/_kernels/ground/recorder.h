/* The program that this thread records; none in most threads, at most times. */
#ifndef CNNX_RECORDER_H
#define CNNX_RECORDER_H

#ifdef _MSC_VER
#define THREAD_LOCAL __declspec(thread)
#else
#define THREAD_LOCAL __thread
#endif

static THREAD_LOCAL void *recorder;

/* A mark that several threads may leave. */
#ifdef _MSC_VER
#include <intrin.h>
#define MARK(number) ((void)_InterlockedExchange((number), 1))
#else
#define MARK(number) __atomic_store_n((number), 1, __ATOMIC_RELAXED)
#endif

#endif
