// Instructions of compute capability 9.0 for warp groups: asynchronous products from shared memory, copies of whole
// tiles by the copy engine (TMA), and the barriers on which these complete.
#pragma once
#include "common.cuh"

// A tile of rows of 128 bytes with the 128-byte exchange, beginning at a multiple of 1,024 bytes: start >> 4, the
// stride of eight rows (1,024 bytes) >> 4 at bit 32, the exchange at bit 62.
__device__ __forceinline__ u64 descriptor(u32 shared) {
  return (u64)((shared & 0x3ffff) >> 4) | (1ull << 16) | (64ull << 32) | (1ull << 62);
}
__device__ __forceinline__ void warpGroupFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void warpGroupCommit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N>
__device__ __forceinline__ void warpGroupWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

__device__ __forceinline__ void barrierInit(u32 barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}
__device__ __forceinline__ void barrierExpect(u32 barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
__device__ __forceinline__ void barrierArrive(u32 barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ __forceinline__ bool barrierTry(u32 barrier, u32 phase) {
  u32 done;
  asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
               : "=r"(done)
               : "r"(barrier), "r"(phase)
               : "memory");
  return done;
}
__device__ __forceinline__ void barrierWait(u32 barrier, u32 phase) {
  while (!barrierTry(barrier, phase)) {
  }
}
// A box of the matrix that `map` describes, from column x and row y.
__device__ __forceinline__ void copyTile(u32 to, const void* map, int x, int y, u32 barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
          to),
      "l"(map), "r"(barrier), "r"(x), "r"(y)
      : "memory");
}

// All workgroups of a cluster arrive, and see each other's shared memory after.
__device__ __forceinline__ void clusterBarrier() {
  asm volatile("barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// 16 bytes of another workgroup's shared memory, by its rank in the cluster.
__device__ __forceinline__ float4 clusterLoad16(u32 own, u32 rank) {
  float4 v;
  asm volatile("{ .reg .u32 a; mapa.shared::cluster.u32 a, %4, %5; ld.shared::cluster.v4.f32 {%0,%1,%2,%3}, [a]; }"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(own), "r"(rank)
               : "memory");
  return v;
}

// The registers of a warp group's sums, as the instructions name them and as the compiler hands them over.
#define LIST_4 "%0, %1, %2, %3"
#define LIST_8 LIST_4 ", %4, %5, %6, %7"
#define LIST_16 LIST_8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define LIST_32 LIST_16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define LIST_48 LIST_32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define LIST_64 LIST_48 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define LIST_96 LIST_64 \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define LIST_128 LIST_96 \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define SUMS_AT(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SUMS_4 SUMS_AT(0)
#define SUMS_8 SUMS_4, SUMS_AT(4)
#define SUMS_16 SUMS_8, SUMS_AT(8), SUMS_AT(12)
#define SUMS_32 SUMS_16, SUMS_AT(16), SUMS_AT(20), SUMS_AT(24), SUMS_AT(28)
#define SUMS_48 SUMS_32, SUMS_AT(32), SUMS_AT(36), SUMS_AT(40), SUMS_AT(44)
#define SUMS_64 SUMS_48, SUMS_AT(48), SUMS_AT(52), SUMS_AT(56), SUMS_AT(60)
#define SUMS_96 \
  SUMS_64, SUMS_AT(64), SUMS_AT(68), SUMS_AT(72), SUMS_AT(76), SUMS_AT(80), SUMS_AT(84), SUMS_AT(88), SUMS_AT(92)
#define SUMS_128 \
  SUMS_96, SUMS_AT(96), SUMS_AT(100), SUMS_AT(104), SUMS_AT(108), SUMS_AT(112), SUMS_AT(116), SUMS_AT(120), SUMS_AT(124)

// d += A · Bᵀ for 64 rows of A, N rows of B and 16 columns, both in shared memory; d[4 j + …] as mma.sync's C. R is N / 2,
// R1 the number behind it.
template <class E, int N>
struct WarpGroup;
#define WARP_GROUP_OF(CLASS, TYPE, N, R, R1)                                                                         \
  template <>                                                                                                        \
  struct WarpGroup<CLASS, N> {                                                                                       \
    static __device__ __forceinline__ void product(float (&d)[R], u64 a, u64 b) {                                    \
      asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " {" LIST_##R "}, %" #R ", %" #R1 \
                   ", 1, 1, 1, 0, 0;"                                                                                \
                   : SUMS_##R                                                                                        \
                   : "l"(a), "l"(b));                                                                                \
    }                                                                                                                \
  };
#define WARP_GROUP(N, R, R1) WARP_GROUP_OF(Bf16, "bf16", N, R, R1) WARP_GROUP_OF(F16, "f16", N, R, R1)
WARP_GROUP(8, 4, 5)
WARP_GROUP(16, 8, 9)
WARP_GROUP(32, 16, 17)
WARP_GROUP(64, 32, 33)
WARP_GROUP(96, 48, 49)
WARP_GROUP(128, 64, 65)
WARP_GROUP(192, 96, 97)
WARP_GROUP(256, 128, 129)
