// Products on wgmma (compute capability 9.0): prompts.
//
// Grid: at most one workgroup per place on the device, each takes every gridDim.x-th tile of 128 activation rows × BN
// weight rows (and split of K); tiles that run together lie in bands of 8 × all columns, so that they share operands in
// the second-level cache. Workgroup: two warp groups multiply 64 rows each, a ninth warp has the copy engine (TMA) bring
// steps of 64 columns into STAGES buffers and runs ahead into the next tile. A buffer is handed over by a pair of
// barriers (full, free). Memory: operands row-major, seen through tensor maps with boxes of 64 columns and 128 (input) or
// BN / 2 (weight) rows and the 128-byte exchange; columns behind K read as zeros. Sums are staged in shared memory by
// each warp for itself, 32 columns at a time (64 where there is room), so that rows are stored in runs of 64 bytes or more. Bound by wgmma.
// After CUTLASS's warp-specialised persistent kernels (NVIDIA 2022).
#include "product.cuh"
#include "wgmma.cuh"

struct __align__(64) TensorMap {
  u64 words[16];
};

template <class E, int BN, int STAGES, int CHUNK>
struct Wide {
  static const int BM = 128, threads = 288, stageBytes = (BM + BN) * 128, stagedStride = CHUNK + 8;
  static const int stagedBytes = 8 * stagedStride * 4;  // of a warp

  static __device__ __forceinline__ void run(const TensorMap& input, const TensorMap& weight, const Product& p) {
    extern __shared__ __align__(1024) unsigned char memory[];
    __shared__ __align__(8) u64 barriers[2 * STAGES];
    __shared__ u32 arrived;
    const u32 base = (sharedAddress(memory) + 1023) & ~1023u, full = sharedAddress(barriers), free = full + 8 * STAGES;
    const int t = threadIdx.x, lane = t & 31, warp = t >> 5;
    if (t == 0) {
      for (int s = 0; s < STAGES; s++) barrierInit(full + 8 * s, 1), barrierInit(free + 8 * s, 8);
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    const int tilesN = (p.N + BN - 1) / BN, tilesM = p.tiles == nullptr ? (p.T + BM - 1) / BM : (int)p.tiles[0];
    const int total = tilesM * tilesN * p.splits, steps = (p.K + 63) / 64, each = (steps + p.splits - 1) / p.splits;
    int stage = 0;
    u32 phase = 0;
    // Work item → tile and its share of the steps.
    auto item = [&](int w, int& m, int& n, int& begin, int& end) {
      const int tile = w / p.splits, split = w % p.splits, band = tile / (8 * tilesN), in = tile % (8 * tilesN);
      const int rows = minimum(8, tilesM - band * 8);
      m = band * 8 + in % rows, n = in / rows;
      begin = minimum(split * each, steps), end = minimum(begin + each, steps);
    };
    if (warp == 8) {
      if (lane != 0) return;
      for (int w = blockIdx.x; w < total; w += gridDim.x) {
        int m, n, begin, end;
        item(w, m, n, begin, end);
        TileRows rows;
        tileRows(p, m, BM, rows);
        // Half of the weight's rows at a time: gate rows and up rows of the same results for SiLU · mul.
        const int y0 = rows.weightRow + (p.mode == SILU_MUL ? n * (BN / 2) : n * BN);
        const int y1 = y0 + (p.mode == SILU_MUL ? p.N / 2 : BN / 2);
        for (int step = begin; step < end; step++) {
          barrierWait(free + 8 * stage, phase ^ 1);
          const u32 to = base + stage * stageBytes, barrier = full + 8 * stage;
          barrierExpect(barrier, stageBytes);
          copyTile(to, &input, step * 64, rows.first, barrier);
          copyTile(to + BM * 128, &weight, step * 64, y0, barrier);
          copyTile(to + BM * 128 + BN * 64, &weight, step * 64, y1, barrier);
          if (++stage == STAGES) stage = 0, phase ^= 1;
        }
      }
      return;
    }
    const int group = warp >> 2;
    float* staged = (float*)(memory + (base - sharedAddress(memory)) + STAGES * stageBytes + warp * stagedBytes);
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
        for (int kk = 0; kk < 4; kk++) WarpGroup<E, BN>::product(d, descriptor(a + kk * 32), descriptor(b + kk * 32));
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
      if (p.splits > 1 && !addSplits(p, w / p.splits, w % p.splits, d, arrived)) continue;
      TileRows rows;
      tileRows(p, m, BM, rows);
      store(p, rows, group * 64 + (warp & 3) * 16, n, d, staged);
    }
  }

  // Sums of a warp: 16 rows × BN columns. Staged by 8 rows and CHUNK columns (or CHUNK / 2 gate columns and the up columns
  // of the same results).
  static __device__ __forceinline__ void store(const Product& p, const TileRows& rows, int r0, int n, float (&d)[BN / 2],
                                               float* staged) {
    const int lane = threadIdx.x & 31;
    float* to = staged + (lane >> 2) * stagedStride + (lane & 3) * 2;
    if (r0 >= rows.count) return;
#pragma unroll
    for (int c = 0; c < BN / CHUNK; c++) {
#pragma unroll
      for (int h = 0; h < 2; h++) {
        if (p.mode == SILU_MUL) {
#pragma unroll
          for (int j = 0; j < CHUNK / 8; j++) {
            const int k = (j < CHUNK / 16 ? c * (CHUNK / 16) + j : BN / 16 + c * (CHUNK / 16) + j - CHUNK / 16) * 4 + h * 2;
            *(float2*)(to + j * 8) = make_float2(d[k], d[k + 1]);
          }
        } else {
#pragma unroll
          for (int j = 0; j < CHUNK / 8; j++) {
            const int k = (c * (CHUNK / 8) + j) * 4 + h * 2;
            *(float2*)(to + j * 8) = make_float2(d[k], d[k + 1]);
          }
        }
        __syncwarp();
        storeStaged<E, CHUNK, CHUNK>(p, rows, r0 + h * 8, 8, n * BN + c * CHUNK, staged, stagedStride, lane, 32);
        __syncwarp();
      }
    }
  }

  // As in mma.cu, with the sums in registers; by the 256 threads that multiply.
  static __device__ __forceinline__ bool addSplits(const Product& p, int tile, int split, float (&d)[BN / 2], u32& arrived) {
    const int t = threadIdx.x;
    float4* all = (float4*)p.partials + (size_t)tile * p.splits * (BM * BN / 4) + t;
    float4* own = all + split * (BM * BN / 4);
#pragma unroll
    for (int i = 0; i < BN / 8; i++) __stcg(own + i * 256, make_float4(d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]));
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

#define WIDE(BN, STAGES, BLOCKS)                                                                                    \
  extern "C" __global__ void __launch_bounds__(288, BLOCKS)                                                          \
      wide_128x##BN##_##STAGES(const __grid_constant__ TensorMap input, const __grid_constant__ TensorMap weight,    \
                               const __grid_constant__ Product p) {                                                  \
    Wide<ELEMENT, BN, STAGES, BLOCKS == 1 ? 64 : 32>::run(input, weight, p);                                                                \
  }
// See choose.ts, which names the same.
WIDE(256, 4, 1)
WIDE(192, 4, 1)
WIDE(128, 3, 2)
WIDE(128, 6, 1)
