// How numbers and flags travel between GPUs that see each other's memory, and how a kernel waits without waiting for
// ever. Two numbers travel with a flag each in sixteen bytes, of which eight arrive together: whoever sees the flag has
// the number, and nothing has to be ordered (the idea is NCCL's "LL" protocol).

#pragma once

DEVICE void sendPair(uint4* to, u32 a, u32 b, u32 flag) {
  asm volatile("st.volatile.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(a), "r"(flag), "r"(b), "r"(flag)
               : "memory");
}
DEVICE uint4 readPair(const uint4* from) {
  uint4 v;
  asm volatile("ld.volatile.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from)
               : "memory");
  return v;
}

// What another GPU has written here is in the second cache, not in the first.
DEVICE float4 readArrived(const float4* from) {
  float4 v;
  asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(from)
               : "memory");
  return v;
}

DEVICE void raiseFlag(u32* flag, u32 value) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(flag), "r"(value) : "memory");
}
DEVICE u32 readFlag(const u32* flag) {
  u32 value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
  return value;
}
// After it, all that this thread has written is seen by whoever sees a flag that it raises.
DEVICE void publishWrites() { __threadfence_system(); }

// A word that other kernels, other GPUs or the host change.
DEVICE u32 readWord(const u32* word) { return *(const volatile u32*)word; }
DEVICE void writeWord(u32* word, u32 value) { *(volatile u32*)word = value; }
DEVICE u32 countUp(u32* word) { return atomicAdd(word, 1u); }

DEVICE u64 nanoseconds() {
  u64 now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}
