// What kernels that stream weights from memory to the matrix units have in common: products of a warp, and copies to
// shared memory that run beside the code.

#pragma once

#include "kernel.cuh"

// c += a · b: 16 × 16 by 16 × 8 bfloat16, sums float32.
DEVICE void mma(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
DEVICE void copy16(u32 to, const void* from, bool inside = true) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(inside ? 16 : 0));
}
DEVICE void copy4(u32 to, const void* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(from));
}
DEVICE void endGroup() { asm volatile("cp.async.commit_group;"); }
template <int N> DEVICE void waitGroups() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
