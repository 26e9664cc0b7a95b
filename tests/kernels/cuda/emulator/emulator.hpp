// What a kernel in CUDA C++ needs to be compiled as C++ and run on the processor: threads of a block are fibers that
// change where they wait for each other, in an order of chance; mma.sync, exchanges of a warp and cp.async do what the hardware's do. Copies
// arrive as late as they may, when their group is waited for, and until then their place holds NaN.

#pragma once
#include <ucontext.h>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n)

struct Index { unsigned x = 0, y = 0, z = 0; };
static Index threadIdx, blockIdx, blockDim, gridDim;
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// The block's shared memory: kernels declare it themselves.
static const size_t sharedSize = 256 * 1024;
alignas(128) unsigned char memory[sharedSize];
static size_t sharedBytes;

template <typename To, typename From> static inline To bitsAs(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
static inline float __uint_as_float(unsigned bits) { return bitsAs<float>(bits); }
static inline unsigned __float_as_uint(float value) { return bitsAs<unsigned>(value); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
#define __expf expf
static inline float __fdividef(float a, float b) { return a / b; }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline int min(int a, int b) { return a < b ? a : b; }
static inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
static inline size_t __cvta_generic_to_shared(const void* at) { return (const unsigned char*)at - memory; }
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned select) {
  const uint64_t bytes = (uint64_t)b << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; i++) result |= (unsigned)(bytes >> 8 * (select >> 4 * i & 7) & 255) << 8 * i;
  return result;
}

namespace emulated {

static inline float fromHalf(unsigned short bits) { return (float)bitsAs<_Float16>(bits); }
static inline unsigned halfPair(float low, float high) {
  return bitsAs<unsigned short>((_Float16)low) | (unsigned)bitsAs<unsigned short>((_Float16)high) << 16;
}
static inline unsigned bf16(float value) {
  const unsigned bits = bitsAs<unsigned>(value);
  return std::isnan(value) ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
static inline unsigned bf16Pair(float low, float high) { return bf16(low) | bf16(high) << 16; }

struct Copy { unsigned to; const void* from; int count, size; };
struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  bool ended = false;
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};
struct Meeting { unsigned arrived = 0, generation = 0; };
struct Warp {
  Meeting meeting;
  float floats[32];
  unsigned operands[32][6];
};
static ucontext_t scheduler;
static std::vector<Fiber> fibers;
static std::vector<Warp> warps;
static Meeting block;
static std::function<void()> kernel;
static unsigned current;
static bool moved;

static void fail(const char* what) {
  fprintf(stderr, "emulator: %s in block %u, thread %u\n", what, blockIdx.x, threadIdx.x);
  abort();
}
static void meet(Meeting& meeting, unsigned members) {
  moved = true;
  if (++meeting.arrived == members) {
    meeting.arrived = 0, meeting.generation++;
    return;
  }
  for (const unsigned generation = meeting.generation; meeting.generation == generation;)
    swapcontext(&fibers[current].context, &scheduler);
}
static Warp& warp() { return warps[threadIdx.x >> 5]; }
static void meetWarp() { meet(warp().meeting, 32); }

static float exchange(float value, unsigned mask) {
  const unsigned lane = threadIdx.x & 31;
  warp().floats[lane] = value;
  meetWarp();
  const float other = warp().floats[lane ^ mask];
  meetWarp();
  return other;
}

static unsigned subtractHalves(unsigned a, unsigned b) {
  return halfPair(fromHalf(a) - fromHalf(b), fromHalf(a >> 16) - fromHalf(b >> 16));
}
static unsigned fmaBf16(unsigned a, unsigned b, unsigned c) {
  const auto at = [](unsigned pair, int high) { return bitsAs<float>(high ? pair & 0xffff0000u : pair << 16); };
  return bf16Pair(at(a, 0) * at(b, 0) + at(c, 0), at(a, 1) * at(b, 1) + at(c, 1));
}

// mma.sync.m16n8k16 with bfloat16, or float16.
template <bool HALF> static void mma(float (&c)[4], unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1) {
  const unsigned lane = threadIdx.x & 31, mine[6] = {a0, a1, a2, a3, b0, b1};
  memcpy(warp().operands[lane], mine, sizeof mine);
  meetWarp();
  const auto number = [](unsigned pair, int high) {
    if (HALF) return fromHalf((unsigned short)(high ? pair >> 16 : pair));
    return bitsAs<float>(high ? pair & 0xffff0000u : pair << 16);
  };
  for (int i = 0; i < 4; i++) {
    const unsigned row = lane / 4 + (i > 1 ? 8 : 0), column = lane % 4 * 2 + (i & 1);
    float sum = c[i];
    for (int k = 0; k < 16; k++) {
      const unsigned pair = k % 8 / 2;
      const float a = number(warp().operands[row % 8 * 4 + pair][(row > 7 ? 1 : 0) + (k > 7 ? 2 : 0)], k & 1);
      const float b = number(warp().operands[column * 4 + pair][k > 7 ? 5 : 4], k & 1);
      sum += a * b;
    }
    c[i] = sum;
  }
  meetWarp();
}

// movmatrix.sync.m8n8.trans.b16.
static unsigned turned(unsigned value) {
  const unsigned lane = threadIdx.x & 31, row = lane / 4, column = lane % 4 * 2;
  warp().operands[lane][0] = value;
  meetWarp();
  const auto at = [&](unsigned r, unsigned c) { return warp().operands[r * 4 + c / 2][0] >> 16 * (c & 1) & 0xffff; };
  const unsigned result = at(column, row) | at(column + 1, row) << 16;
  meetWarp();
  return result;
}

static void copyLater(unsigned to, const void* from, int count, int size) {
  if (to % size != 0 || (uintptr_t)from % size != 0) fail("a copy that is not aligned");
  if (to + size > sharedBytes) fail("a copy beyond shared memory");
  memset(memory + to, 0xff, size);
  fibers[current].open.push_back({to, from, count, size});
}
static void endGroup() { fibers[current].groups.push_back(std::move(fibers[current].open)), fibers[current].open.clear(); }
static void waitGroups(size_t most) {
  auto& groups = fibers[current].groups;
  for (; groups.size() > most; groups.pop_front())
    for (const Copy& copy : groups.front()) {
      memset(memory + copy.to, 0, copy.size);
      memcpy(memory + copy.to, copy.from, copy.count);
    }
}

static void run() {
  kernel();
  fibers[current].ended = moved = true;
  swapcontext(&fibers[current].context, &scheduler);
}
// Runs the blocks of a grid one after the other.
static void launch(unsigned grid, unsigned threads, size_t shared, std::function<void()> body, unsigned rows = 1) {
  kernel = body, sharedBytes = shared, gridDim = {grid, rows, 1}, blockDim = {threads, 1, 1};
  if (shared > sharedSize) fail("too much shared memory");
  for (unsigned b = 0; b < grid * rows; b++) {
    blockIdx = {b % grid, b / grid, 0}, block = {};
    memset(memory, 0xff, sharedSize);
    fibers.clear(), fibers.resize(threads), warps.assign(threads / 32, {});
    for (Fiber& fiber : fibers) {
      const size_t size = 64 * 1024;
      fiber.stack.reset(new char[size]);
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.get(), fiber.context.uc_stack.ss_size = size;
      makecontext(&fiber.context, run, 0);
    }
    // A warp, chosen by chance, goes as far as it can without the others; all are stuck when none moved for long.
    unsigned chance = 1 + b, ended = 0, idle = 0;
    while (ended < threads) {
      chance = chance * 1664525 + 1013904223;
      const unsigned first = (chance >> 16) % (threads / 32) * 32;
      bool any = false;
      do {
        moved = false;
        for (unsigned t = first; t < first + 32; t++) {
          if (fibers[t].ended) continue;
          current = t, threadIdx = {t, 0, 0};
          swapcontext(&scheduler, &fibers[t].context);
          if (fibers[t].ended) ended++;
        }
        any |= moved;
      } while (moved);
      idle = any ? 0 : idle + 1;
      if (idle > 100 * threads) fail("threads wait for each other");
    }
    for (size_t i = shared; i < sharedSize; i++)
      if (memory[i] != 0xff) fail("a store beyond shared memory");
  }
}

}  // namespace emulated

static inline void __syncthreads() { emulated::meet(emulated::block, blockDim.x); }
static inline void __syncwarp() { emulated::meetWarp(); }
static inline float __shfl_xor_sync(unsigned, float value, unsigned mask) { return emulated::exchange(value, mask); }
static inline unsigned __shfl_xor_sync(unsigned, unsigned value, unsigned mask) {
  return bitsAs<unsigned>(emulated::exchange(bitsAs<float>(value), mask));
}
static inline unsigned __shfl_up_sync(unsigned, unsigned value, unsigned step) {
  const unsigned lane = threadIdx.x & 31;
  emulated::warp().operands[lane][0] = value;
  emulated::meetWarp();
  const unsigned other = emulated::warp().operands[lane >= step ? lane - step : lane][0];
  emulated::meetWarp();
  return other;
}
static inline unsigned __reduce_max_sync(unsigned, unsigned value) {
  for (unsigned mask = 16; mask; mask >>= 1) {
    const unsigned other = __shfl_xor_sync(~0u, value, mask);
    if (other > value) value = other;
  }
  return value;
}
static inline unsigned __shfl_sync(unsigned, unsigned value, unsigned from) {
  emulated::warp().operands[threadIdx.x & 31][0] = value;
  emulated::meetWarp();
  const unsigned other = emulated::warp().operands[from & 31][0];
  emulated::meetWarp();
  return other;
}
static inline float __shfl_sync(unsigned mask, float value, unsigned from) {
  return bitsAs<float>(__shfl_sync(mask, bitsAs<unsigned>(value), from));
}
static inline unsigned __ballot_sync(unsigned, bool value) {
  const unsigned lane = threadIdx.x & 31;
  emulated::warp().operands[lane][0] = value;
  emulated::meetWarp();
  unsigned all = 0;
  for (unsigned i = 0; i < 32; i++) all |= emulated::warp().operands[i][0] << i;
  emulated::meetWarp();
  return all;
}
static inline int __ffs(int value) { return __builtin_ffs(value); }
template <typename T> static inline T __ldg(const T* from) { return *from; }
template <typename T> static inline T __ldcg(const T* from) { return *from; }
static inline void __threadfence() {}
static inline unsigned atomicAdd(unsigned* to, unsigned value) {
  const unsigned before = *to;
  *to += value;
  return before;
}
