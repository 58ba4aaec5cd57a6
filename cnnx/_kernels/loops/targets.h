/* What permits a function the instructions above the baseline. */
#ifndef CNNX_TARGETS_H
#define CNNX_TARGETS_H

#define AVX2_TARGET __attribute__((target("avx2,fma")))

/* Imitated, AVX-512 has its vectors of 64 bytes, in two registers each: to test what is made for it where there is
 * none. */
#ifdef CNNX_IMITATE_AVX512
#define AVX512_TARGET AVX2_TARGET
#else
#define AVX512_TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")))
#endif

#endif
