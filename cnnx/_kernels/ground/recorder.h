/* The program that this thread records; none in most threads, at most times. */
#ifndef CNNX_RECORDER_H
#define CNNX_RECORDER_H

#ifdef _MSC_VER
#define THREAD_LOCAL __declspec(thread)
#else
#define THREAD_LOCAL __thread
#endif

static THREAD_LOCAL void *recorder;

#endif
