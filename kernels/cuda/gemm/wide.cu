// Products on wgmma (compute capability 9.0): prompts.
//
// Grid: at most one workgroup per place on the device, each takes every gridDim.x-th tile of 128 activation rows × BN
// weight rows (and split of K); tiles that run together lie in bands of BAND × all columns, so that they share
// operands in the second-level cache. Workgroup: two warp groups multiply 64 rows each, a ninth warp has the copy
// engine (TMA) bring steps of 64 columns into STAGES buffers and runs ahead into the next tile. A buffer is handed
// over by a pair of barriers (full, free). Memory: operands row-major, seen through tensor maps with boxes of 64
// columns and 128 (input) or BN / 2 (weight) rows and the 128-byte exchange; columns behind K read as zeros. Sums are
// staged in shared memory by each warp for itself, so that rows are stored in runs of CHUNK bytes. Bound by wgmma and
// the card's power. (Clusters of two that share the weight's tiles by multicast were no faster.)
// After CUTLASS's warp-specialised persistent kernels (NVIDIA 2022).
#include "product.cuh"
#include "wgmma.cuh"

struct __align__(64) TensorMap { u64 words[16]; };

template <class E, int BN, int STAGES>
struct Wide {
  static const int BM = 128, CHUNK = 128, BAND = 16, stageBytes = (BM + BN) * 128, STRIDE = CHUNK + 16;
  static const int stagedBytes = 16 * STRIDE;  // of a warp

  static __device__ __forceinline__ void run(const TensorMap& input, const TensorMap& weight, const Product& p) {
    extern __shared__ __align__(1024) unsigned char memory[];
    __shared__ __align__(8) u64 barriers[2 * STAGES];
    __shared__ u32 arrived;
    const u32 base = (sharedAddress(memory) + 1023) & ~1023u, full = sharedAddress(barriers),
              free = full + 8 * STAGES;
    const int t = threadIdx.x, lane = t & 31, warp = t >> 5;
    if (t == 0) {
      for (int s = 0; s < STAGES; s++) barrierInit(full + 8 * s, 1), barrierInit(free + 8 * s, 8);
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    letLaterBegin();
    // Experts' tiles are listed by a kernel in front.
    const bool ahead = warp == 8 && p.tiles == nullptr;
    if (!ahead) afterEarlier();
    const int tilesN = (p.N + BN - 1) / BN, tilesM = p.tiles == nullptr ? (p.T + BM - 1) / BM : (int)p.tiles[0];
    const int total = tilesM * tilesN * p.splits, steps = (p.K + 63) / 64, each = (steps + p.splits - 1) / p.splits;
    int stage = 0;
    u32 phase = 0;
    // Work item → tile and its share of the steps.
    auto item = [&](int w, int& m, int& n, int& begin, int& end) {
      const int tile = w / p.splits, split = w % p.splits, band = tile / (BAND * tilesN), in = tile % (BAND * tilesN);
      const int rows = minimum(BAND, tilesM - band * BAND);
      m = band * BAND + in % rows, n = in / rows;
      begin = minimum(split * each, steps), end = minimum(begin + each, steps);
    };
    if (warp == 8) {
      if (lane == 0) {
        bool waits = ahead;
        for (int w = blockIdx.x; w < total; w += gridDim.x) {
          int m, n, begin, end;
          item(w, m, n, begin, end);
          TileRows rows;
          tileRows(p, m, BM, rows);
          // Half of the weight's rows at a time: gate rows and up rows of the same results for SiLU · mul.
          const int y0 = rows.weightRow + (p.mode == SILU_MUL ? n * (BN / 2) : n * BN);
          const int y1 = y0 + (p.mode == SILU_MUL ? p.N / 2 : BN / 2);
          auto weights = [&](int step) {
            const u32 to = base + stage * stageBytes + BM * 128, barrier = full + 8 * stage;
            barrierExpect(barrier, stageBytes);
            copyTile(to, &weight, step * 64, y0, barrier);
            copyTile(to + BN * 64, &weight, step * 64, y1, barrier);
          };
          auto inputs = [&](int step) {
            copyTile(base + stage * stageBytes, &input, step * 64, rows.first, full + 8 * stage);
            if (++stage == STAGES) stage = 0, phase ^= 1;
          };
          int step = begin;
          if (waits) {
            // The first weights are asked for before the kernels in front are done.
            const int first = minimum(end, begin + STAGES);
            for (; stage < first - begin; stage++) weights(begin + stage);
            stage = 0;
            afterEarlier();
            waits = false;
            for (; step < first; step++) inputs(step);
          }
          for (; step < end; step++) {
            barrierWait(free + 8 * stage, phase ^ 1);
            weights(step);
            inputs(step);
          }
        }
      }
    } else {
      const int group = warp >> 2;
      const u32 staged = base + STAGES * stageBytes + warp * stagedBytes;
      for (int w = blockIdx.x; w < total; w += gridDim.x) {
        int m, n, begin, end;
        item(w, m, n, begin, end);
        float d[BN / 2];
#pragma unroll
        for (int i = 0; i < BN / 2; i++) d[i] = 0;
        int before = 0;
        for (int step = begin; step < end; step++) {
          barrierWait(full + 8 * stage, phase);
          const u32 a = base + stage * stageBytes + group * 64 * 128, b = base + stage * stageBytes + BM * 128;
          warpGroupFence();
#pragma unroll
          for (int kk = 0; kk < 4; kk++)
            WarpGroup<E, BN>::product(d, descriptor(a + kk * 32), descriptor(b + kk * 32));
          warpGroupCommit();
          // The step before this one is done: its buffer is free.
          warpGroupWait<1>();
          if (step > begin && lane == 0) barrierArrive(free + 8 * before);
          before = stage;
          if (++stage == STAGES) stage = 0, phase ^= 1;
        }
        warpGroupWait<0>();
        if (end > begin && lane == 0) barrierArrive(free + 8 * before);
#pragma unroll
        for (int i = 0; i < BN / 2; i++) asm volatile("" : "+f"(d[i])::"memory");
        TileRows rows;
        tileRows(p, m, BM, rows);
        if (p.splits > 1 && !addSplits(p, w / p.splits, w % p.splits, d, arrived)) continue;
        store(p, rows, group * 64 + (warp & 3) * 16, n, d, staged);
      }
    }
  }

  // Sums of a warp: 16 rows × BN columns, finished in registers, then turned into runs of CHUNK bytes in shared
  // memory.
  static __device__ __forceinline__ void store(const Product& p, const TileRows& rows, int r0, int n,
                                               float (&d)[BN / 2], u32 staged) {
    const int lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
    if (r0 >= rows.count) return;
    const bool paired = p.mode == SILU_MUL;
    const int width = paired ? BN / 2 : BN, n0 = n * width, half = p.N / 2,
              columns = minimum(paired ? half : p.N, n0 + width);
    if (p.rowScale != nullptr) {
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const int place = rows.first + minimum(r0 + h * 8 + g, rows.count - 1);
        const float scale = p.rowScale[place];
#pragma unroll
        for (int j = 0; j < BN / 8; j++) d[4 * j + 2 * h] *= scale, d[4 * j + 2 * h + 1] *= scale;
      }
    }
    if (p.bias != nullptr) {
#pragma unroll
      for (int j = 0; j < BN / 8; j++) {
        const bool up = paired && j >= BN / 16;
        const int c = n0 + (up ? j - BN / 16 : j) * 8 + q * 2;
        const float* b = p.bias + (up ? half : 0);
        const float b0 = c < columns ? b[c] : 0, b1 = c + 1 < columns ? b[c + 1] : 0;
        d[4 * j] += b0, d[4 * j + 1] += b1, d[4 * j + 2] += b0, d[4 * j + 3] += b1;
      }
    }
    if (paired) {
#pragma unroll
      for (int i = 0; i < BN / 4; i++) d[i] = silu(d[i]) * d[BN / 4 + i];
    }
    // Where a lane's pieces of 16 bytes go: PIECES lanes a row.
    const int PIECES = CHUNK / 16, AT_ONCE = 32 / PIECES;
    int out[16 / AT_ONCE];
#pragma unroll
    for (int i = 0; i < 16 / AT_ONCE; i++) {
      const int r = r0 + i * AT_ONCE + lane / PIECES;
      out[i] = r >= rows.count ? -1 : p.scatter ? (int)p.order[rows.first + r] : rows.first + r;
    }
    const u32 to = staged + g * STRIDE, from = staged + (lane / PIECES) * STRIDE + lane % PIECES * 16;
    if (p.mode == STORE || paired) {
      const int COLUMNS = CHUNK / 2;
      const bool aligned = p.outputStride % 8 == 0;
#pragma unroll
      for (int c = 0; c < BN / COLUMNS; c++) {
        if (c * COLUMNS >= width) break;
#pragma unroll
        for (int j = 0; j < COLUMNS / 8; j++) {
          const int k = (c * (COLUMNS / 8) + j) * 4;
          sharedStore4(to + j * 16 + q * 4, E::pack(d[k], d[k + 1]));
          sharedStore4(to + j * 16 + q * 4 + 8 * STRIDE, E::pack(d[k + 2], d[k + 3]));
        }
        __syncwarp();
        const int at = n0 + c * COLUMNS + lane % PIECES * 8;
#pragma unroll
        for (int i = 0; i < 16 / AT_ONCE; i++) {
          const uint4 v = sharedLoad16(from + i * AT_ONCE * STRIDE);
          if (out[i] < 0 || at >= columns) continue;
          u16* o = (u16*)p.output + (size_t)out[i] * p.outputStride + at;
          if (aligned && at + 8 <= columns)
            *(uint4*)o = v;
          else
            storeSome(o, from + i * AT_ONCE * STRIDE, minimum(8, columns - at));
        }
        __syncwarp();
      }
    } else {
      const int COLUMNS = CHUNK / 4;
      const bool aligned = p.outputStride % 4 == 0;
#pragma unroll
      for (int c = 0; c < BN / COLUMNS; c++) {
        const int at = n0 + c * COLUMNS + lane % PIECES * 4;
#pragma unroll
        for (int j = 0; j < COLUMNS / 8; j++) {
          const int k = (c * (COLUMNS / 8) + j) * 4;
          sharedStore8(to + j * 32 + q * 8, d[k], d[k + 1]);
          sharedStore8(to + j * 32 + q * 8 + 8 * STRIDE, d[k + 2], d[k + 3]);
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < 16 / AT_ONCE; i++) {
          const uint4 v = sharedLoad16(from + i * AT_ONCE * STRIDE);
          if (out[i] < 0 || at >= columns) continue;
          float* o = (float*)p.output + (size_t)out[i] * p.outputStride + at;
          if (!aligned || at + 4 > columns)
            storeSomeF32(o, from + i * AT_ONCE * STRIDE, minimum(4, columns - at), p.mode == ADD_F32);
          else if (p.mode == STORE_F32)
            *(uint4*)o = v;
          else
            addFour(o, make_float4(__uint_as_float(v.x), __uint_as_float(v.y), __uint_as_float(v.z),
                                   __uint_as_float(v.w)));
        }
        __syncwarp();
      }
    }
  }
  // The first `count` numbers of 16 bytes, one by one.
  static __device__ __forceinline__ void storeSome(u16* to, u32 from, int count) {
#pragma unroll 1
    for (int e = 0; e < count; e++) {
      u16 v;
      asm volatile("ld.shared.b16 %0, [%1];" : "=h"(v) : "r"(from + 2 * e) : "memory");
      to[e] = v;
    }
  }
  static __device__ __forceinline__ void storeSomeF32(float* to, u32 from, int count, bool add) {
#pragma unroll 1
    for (int e = 0; e < count; e++) {
      float v;
      asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(from + 4 * e) : "memory");
      to[e] = add ? to[e] + v : v;
    }
  }

  // As in mma.cu, with the sums in registers; by the 256 threads that multiply.
  static __device__ __forceinline__ bool addSplits(const Product& p, int tile, int split, float (&d)[BN / 2],
                                                   u32& arrived) {
    const int t = threadIdx.x;
    float4* all = (float4*)p.partials + (size_t)tile * p.splits * (BM * BN / 4) + t;
    float4* own = all + split * (BM * BN / 4);
#pragma unroll
    for (int i = 0; i < BN / 8; i++)
      __stcg(own + i * 256, make_float4(d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]));
    __threadfence();
    asm volatile("bar.sync 1, 256;" ::: "memory");
    if (t == 0) arrived = atomicAdd(p.counters + tile, 1);
    asm volatile("bar.sync 1, 256;" ::: "memory");
    const bool last = arrived == (u32)p.splits - 1;
    asm volatile("bar.sync 1, 256;" ::: "memory");
    if (!last) return false;
    __threadfence();
    if (t == 0) p.counters[tile] = 0;
#pragma unroll
    for (int i = 0; i < BN / 2; i++) d[i] = 0;
    for (int s = 0; s < p.splits; s++) {
#pragma unroll
      for (int i = 0; i < BN / 8; i++) {
        const float4 v = __ldcg(all + s * (BM * BN / 4) + i * 256);
        d[4 * i] += v.x, d[4 * i + 1] += v.y, d[4 * i + 2] += v.z, d[4 * i + 3] += v.w;
      }
    }
    return true;
  }
};

#define WIDE(BN, STAGES)                                                                               \
  extern "C" __global__ void __launch_bounds__(288, 1)                                                 \
      wide_128x##BN(const __grid_constant__ TensorMap input, const __grid_constant__ TensorMap weight, \
                    const __grid_constant__ Product p) {                                               \
    Wide<ELEMENT, BN, STAGES>::run(input, weight, p);                                                  \
  }
// See tiles.ts, which names the same.
WIDE(128, 6)
WIDE(192, 4)
WIDE(256, 4)
