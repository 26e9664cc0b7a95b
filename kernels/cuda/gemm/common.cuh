// What the tiled kernels share: number formats, asynchronous copies, matrix instructions of compute capability 8.0.
// No header of the toolkit is needed: 16-bit floats are words, instructions are inline PTX.
#pragma once
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned long long u64;

// A 16-bit float: how it is converted and multiplied. Sums are float32 always.
struct Bf16 {
  static __device__ __forceinline__ u32 pack(float low, float high) {
    u32 r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
  }
  static __device__ __forceinline__ u32 packUnit(float low, float high) { return pack(low, high); }
  static __device__ __forceinline__ float low(u32 v) { return __uint_as_float(v << 16); }
  static __device__ __forceinline__ float high(u32 v) { return __uint_as_float(v & 0xffff0000u); }
  static __device__ __forceinline__ void mma(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
};
struct F16 {
  // Numbers beyond its range become its largest.
  static __device__ __forceinline__ u32 pack(float low, float high) {
    u32 r;
    low = fminf(fmaxf(low, -65504.0f), 65504.0f), high = fminf(fmaxf(high, -65504.0f), 65504.0f);
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
  }
  // Numbers that are known to be within its range.
  static __device__ __forceinline__ u32 packUnit(float low, float high) {
    u32 r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
  }
  static __device__ __forceinline__ float half(u16 v) {
    float r;
    asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(v));
    return r;
  }
  static __device__ __forceinline__ float low(u32 v) { return half((u16)v); }
  static __device__ __forceinline__ float high(u32 v) { return half((u16)(v >> 16)); }
  static __device__ __forceinline__ void mma(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
};

// Programmatic dependent launch (9.0): what the kernels in front of this one wrote is there after `afterEarlier`, and
// the next one may begin after `letLaterBegin`. Without the launch attribute, neither does anything.
__device__ __forceinline__ void afterEarlier() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void letLaterBegin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

__device__ __forceinline__ u32 sharedAddress(const void* p) {
  u32 a;
  asm("{ .reg .u64 t; cvta.to.shared.u64 t, %1; cvt.u32.u64 %0, t; }" : "=r"(a) : "l"(p));
  return a;
}
// Copies `bytes` (0 … 16) of 16 bytes and fills up with zeros.
__device__ __forceinline__ void copy16(u32 to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes));
}
__device__ __forceinline__ void copy8(u32 to, const void* from, int bytes) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(to), "l"(from), "r"(bytes));
}
__device__ __forceinline__ void copy4(u32 to, const void* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(from));
}
__device__ __forceinline__ void copiesCommit() { asm volatile("cp.async.commit_group;"); }
template <int N>
__device__ __forceinline__ void copiesWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
__device__ __forceinline__ void loadMatrix(u32 (&r)[4], u32 from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(from)
               : "memory");
}
__device__ __forceinline__ void loadTransposed(u32 (&r)[4], u32 from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(from)
               : "memory");
}
__device__ __forceinline__ uint4 sharedLoad16(u32 from) {
  uint4 v;
  asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(from)
               : "memory");
  return v;
}
__device__ __forceinline__ void sharedLoad8(u32 from, u32& x, u32& y) {
  asm volatile("ld.shared.v2.b32 {%0,%1}, [%2];" : "=r"(x), "=r"(y) : "r"(from) : "memory");
}
__device__ __forceinline__ u32 sharedLoad4(u32 from) {
  u32 v;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(v) : "r"(from) : "memory");
  return v;
}
__device__ __forceinline__ u16 sharedLoad2(u32 from) {
  u16 v;
  asm volatile("ld.shared.b16 %0, [%1];" : "=h"(v) : "r"(from) : "memory");
  return v;
}
__device__ __forceinline__ void sharedStore16(u32 to, uint4 v) {
  asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
__device__ __forceinline__ void sharedStore4(u32 to, u32 v) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(v) : "memory");
}
__device__ __forceinline__ void sharedStore8(u32 to, float a, float b) {
  asm volatile("st.shared.v2.f32 [%0], {%1,%2};" ::"r"(to), "f"(a), "f"(b) : "memory");
}
// Adds to memory without waiting for what is there (9.0). Where each number is added to once, the result is the same as
// by reading and writing.
__device__ __forceinline__ void addFour(float* to, float4 v) {
#if __CUDA_ARCH__ >= 900
  asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w)
               : "memory");
#endif
}
__device__ __forceinline__ float exp2Fast(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
// x / (1 + e^-x)
__device__ __forceinline__ float silu(float x) { return __fdividef(x, 1.0f + exp2Fast(-1.4426950408889634f * x)); }
__device__ __forceinline__ int minimum(int a, int b) { return a < b ? a : b; }
__device__ __forceinline__ int maximum(int a, int b) { return a > b ? a : b; }
// 16-byte piece of a row of 128 bytes, exchanged so that eight rows fall into eight different banks.
__device__ __forceinline__ u32 place128(int row, int piece) { return row * 128 + ((piece ^ (row & 7)) << 4); }
// Eight int8 numbers times a float16 scale. Byte b + 128 stands in the low bits of 0x64__ (float16: 1,024 + b + 128)
// or of 0x4b0000__ (float32: 2^23 + b + 128), so that a subtraction converts it; conversion instructions are slow.
template <class E>
__device__ __forceinline__ uint4 expanded(u32 x, u32 y, u16 scale);
template <>
__device__ __forceinline__ uint4 expanded<F16>(u32 x, u32 y, u16 scale) {
  x ^= 0x80808080u, y ^= 0x80808080u;
  const u32 scales = scale | (u32)scale << 16;
  auto two = [&](u32 word, u32 which) {
    u32 r;
    asm("sub.f16x2 %0, %1, %2;" : "=r"(r) : "r"(__byte_perm(word, 0x64646464u, which)), "r"(0x64806480u));
    asm("mul.f16x2 %0, %1, %2;" : "=r"(r) : "r"(r), "r"(scales));
    return r;
  };
  return make_uint4(two(x, 0x4140), two(x, 0x4342), two(y, 0x4140), two(y, 0x4342));
}
template <>
__device__ __forceinline__ uint4 expanded<Bf16>(u32 x, u32 y, u16 scale) {
  x ^= 0x80808080u, y ^= 0x80808080u;
  const float factor = F16::half(scale);
  auto one = [&](u32 word, u32 which) {
    return (__uint_as_float(__byte_perm(word, 0x4b000000u, which)) - 8388736.0f) * factor;
  };
  auto two = [&](u32 word, u32 low, u32 high) { return Bf16::pack(one(word, low), one(word, high)); };
  return make_uint4(two(x, 0x7440, 0x7441), two(x, 0x7442, 0x7443), two(y, 0x7440, 0x7441), two(y, 0x7442, 0x7443));
}
