// The two products of attention as instructions of compute capability 9.0; see wgmma.cuh.
#pragma once
#include "wgmma.cuh"

// d (+)= A · Bᵀ, both in shared memory; `add` 0 begins anew.
template <class E, int N>
struct Score;
#define SCORE_OF(CLASS, TYPE, N, R, R1, R2)                                                                         \
  template <>                                                                                                       \
  struct Score<CLASS, N> {                                                                                          \
    static __device__ __forceinline__ void product(float (&d)[R], u64 a, u64 b, int add) {                          \
      asm volatile("{ .reg .pred p; setp.ne.b32 p, %" #R2 ", 0; wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE \
                   "." TYPE " {" LIST_##R "}, %" #R ", %" #R1 ", p, 1, 1, 0, 0; }"                                  \
                   : SUMS_##R                                                                                       \
                   : "l"(a), "l"(b), "r"(add));                                                                     \
    }                                                                                                               \
  };
#define SCORE(N, R, R1, R2) SCORE_OF(Bf16, "bf16", N, R, R1, R2) SCORE_OF(F16, "f16", N, R, R1, R2)
SCORE(96, 48, 49, 50)
SCORE(128, 64, 65, 66)

// d += A · B, A in registers as mma.sync has it, B in shared memory, rows of N numbers.
template <class E, int N>
struct Weighted;
#define WEIGHTED_OF(CLASS, TYPE, N, R, R1, R2, R3, R4)                                                        \
  template <>                                                                                                 \
  struct Weighted<CLASS, N> {                                                                                 \
    static __device__ __forceinline__ void product(float (&d)[R], const u32 (&a)[4], u64 b) {                 \
      asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " {" LIST_##R "}, {%" #R   \
                   ", %" #R1 ", %" #R2 ", %" #R3 "}, %" #R4 ", 1, 1, 1, 1;"                                   \
                   : SUMS_##R                                                                                 \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                     \
    }                                                                                                         \
  };
#define WEIGHTED(N, R, R1, R2, R3, R4) \
  WEIGHTED_OF(Bf16, "bf16", N, R, R1, R2, R3, R4) WEIGHTED_OF(F16, "f16", N, R, R1, R2, R3, R4)
WEIGHTED(64, 32, 33, 34, 35, 36)
WEIGHTED(128, 64, 65, 66, 67, 68)
