/* Working memory that is kept from call to call: freed, it would go back to the system and be fetched again page by
 * page, which can take longer than the work. Slots are shared by all threads, and taken and filled by exchanging
 * pointers; a thread that ends leaves nothing behind. */
#ifndef CNNX_KEPT_MEMORY_H
#define CNNX_KEPT_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* AddressSanitizer is told what of a block may be used: what a kernel asked for, and nothing while it is kept. */
#ifdef CNNX_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#define FORBID(memory, bytes) ASAN_POISON_MEMORY_REGION((memory), (bytes))
#define PERMIT(memory, bytes) ASAN_UNPOISON_MEMORY_REGION((memory), (bytes))
#else
#define FORBID(memory, bytes) ((void)0)
#define PERMIT(memory, bytes) ((void)0)
#endif

#define KEPT_BLOCKS 4
#define LARGEST_KEPT ((size_t)1 << 26)
#define CACHE_LINE ((size_t)64)

/* Just below the memory that a kernel sees, which begins with a cache line: a vector across two of them takes two
 * loads. */
typedef struct {
    void *block;
    size_t bytes;
} kept_header;

static void *kept_memory[KEPT_BLOCKS];

#ifdef _MSC_VER
#include <intrin.h>
#define EXCHANGE(slot, memory) _InterlockedExchangePointer((slot), (memory))
#else
#define EXCHANGE(slot, memory) __atomic_exchange_n((slot), (memory), __ATOMIC_ACQ_REL)
#endif

static inline size_t kept_bytes(void *memory)
{
    return ((kept_header *)memory)[-1].bytes;
}

static inline void free_memory(void *memory)
{
    if (memory)
        free(((kept_header *)memory)[-1].block);
}

/* Whether `memory` serves a request better than `other`: the smallest of those that suffice, or else the largest. */
static inline int serves_better(void *memory, void *other, size_t bytes)
{
    if (!other)
        return 1;
    const size_t own = kept_bytes(memory), others = kept_bytes(other);
    return own >= bytes ? others < bytes || own < others : own > others;
}

static void *new_memory(size_t bytes)
{
    char *block = malloc(sizeof(kept_header) + CACHE_LINE + bytes);
    if (!block)
        return NULL;
    const uintptr_t end = (uintptr_t)block + sizeof(kept_header) + CACHE_LINE - 1;
    kept_header *memory = (kept_header *)(end & ~(uintptr_t)(CACHE_LINE - 1));
    memory[-1].block = block;
    memory[-1].bytes = bytes;
    FORBID(memory, block + sizeof(kept_header) + CACHE_LINE + bytes - (char *)memory);
    PERMIT(memory, bytes);
    return memory;
}

/* Memory of at least so many bytes, or NULL. If nothing that is kept suffices, the largest makes room for the new. */
static void *take_memory(size_t bytes)
{
    void *best = NULL;
    for (int i = 0; i < KEPT_BLOCKS; i++) {
        void *memory = EXCHANGE(&kept_memory[i], NULL);
        if (memory && serves_better(memory, best, bytes)) {
            void *worse = best;
            best = memory;
            memory = worse;
        }
        if (memory)
            free_memory(EXCHANGE(&kept_memory[i], memory));
    }
    if (best && kept_bytes(best) >= bytes) {
        PERMIT(best, bytes);
        return best;
    }
    free_memory(best);
    return new_memory(bytes);
}

static void give_memory(void *memory)
{
    if (kept_bytes(memory) > LARGEST_KEPT) {
        free_memory(memory);
        return;
    }
    FORBID(memory, kept_bytes(memory));
    for (int i = 0; i < KEPT_BLOCKS && memory; i++)
        memory = EXCHANGE(&kept_memory[i], memory);
    free_memory(memory);
}

#endif
