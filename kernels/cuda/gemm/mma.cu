// Tiled products on mma.sync (compute capability 8.0 and later): few rows, prompts, experts, weights of four to eight bits.
//
// Grid: (tiles along the weight's rows, tiles along the activations' rows, splits of K). Workgroup: a warp computes
// WM activation rows × WN weight rows. Memory: both operands row-major; steps of 64 columns are staged by cp.async in
// STAGES buffers of rows of 128 bytes whose 16-byte pieces are exchanged, and read with ldmatrix; quantized weights are
// staged as they are and expanded to the activations' type one step ahead of their use. Splits leave float32 partial
// sums; the last workgroup of a tile to arrive adds them up in the order of the splits, so that the result is always
// the same. Bound by the weights' bytes for few rows, by mma.sync and shared memory for many. After CUTLASS's
// multistage pipeline (NVIDIA, 2020) and Stream-K's fix-up (Osama et al. 2023, arXiv 2301.03598).
#include "planes.cuh"
#include "product.cuh"

enum Weight { WHOLE = 0, INT8 = 1, PLANES = 2 };

template <class E, int BM, int BN, int WM, int WN, int STAGES, int WEIGHT>
struct Tile {
  static const int threads = (BM / WM) * (BN / WN) * 32, MI = WM / 16, NI = WN / 8;
  static const bool Q8 = WEIGHT == INT8, EXPANDED = WEIGHT != WHOLE;
  static const int bytesA = BM * 128, bytesB = Q8 ? BN * 64 : WEIGHT == PLANES ? BN * (PLANES_LOW + PLANES_HIGH) : BN * 128;
  static const int bytesScale = Q8 ? BN * 4 : WEIGHT == PLANES ? BN * PLANES_SCALES : 0;
  static const int stageBytes = bytesA + bytesB + bytesScale;
  static const int stagedStride = BN + 8;             // floats: eight rows of pairs fall into different banks
  static const int expandedAt = STAGES * stageBytes;  // two buffers of expanded weights

  static __device__ __forceinline__ void run(const Product& p) {
    extern __shared__ __align__(128) unsigned char memory[];
    const u32 base = sharedAddress(memory);
    const int t = threadIdx.x, lane = t & 31, warp = t >> 5, wm = warp / (BN / WN), wn = warp % (BN / WN);
    letLaterBegin();
    // Who they belong to is written by a kernel in front; where they are no experts', weights may be asked for at once.
    if (!EXPANDED || p.tiles) afterEarlier();
    TileRows rows;
    if (!tileRows(p, blockIdx.y, BM, rows)) return;
    const int n0 = blockIdx.x * BN, K = p.K;
    const int steps = (K + 63) / 64, each = (steps + p.splits - 1) / p.splits;
    const int begin = minimum(blockIdx.z * each, steps), end = minimum(begin + each, steps);

    // Where a thread's pieces come from: 16 bytes of an activation row, 16 (int8: 8) of a weight row.
    const int countA = (BM * 8 + threads - 1) / threads, countB = (BN * 8 + threads - 1) / threads;
    const int piece = t & 7;
    const u16* fromA[countA];
    const unsigned char* fromB[countB];
    // Planes: half of the lower bits of a row's step each, and a row's upper bits and scales.
    const int halves = (BN * 2 + threads - 1) / threads;
    const unsigned char *fromLow[halves], *ofRow = nullptr;
#pragma unroll
    for (int i = 0; i < countA; i++) {
      int row = rows.first + minimum((t + i * threads) >> 3, rows.count - 1);
      if (p.perToken > 0) row = (int)p.order[row] / p.perToken;
      fromA[i] = p.input + (size_t)row * K + piece * 8;
    }
#pragma unroll
    for (int i = 0; i < countB; i++) {
      const size_t row = rows.weightRow + weightRowOf(p, n0, minimum((t + i * threads) >> 3, BN - 1), WN);
      fromB[i] = p.weight + row * p.weightStride + piece * (Q8 ? 8 : 16);
    }
    if (WEIGHT == PLANES) {
#pragma unroll
      for (int i = 0; i < halves; i++)
        fromLow[i] = p.weight + (size_t)(rows.weightRow + weightRowOf(p, n0, minimum((t + i * threads) >> 1, BN - 1), WN)) * p.weightStride;
      ofRow = p.weight + (size_t)(rows.weightRow + weightRowOf(p, n0, minimum(t, BN - 1), WN)) * p.weightStride;
    }
    const unsigned char* fromScale = nullptr;
    if (Q8 && t < BN)
      fromScale = p.weight + (size_t)(rows.weightRow + weightRowOf(p, n0, t, WN)) * p.weightStride + K;

    auto loadInput = [&](int step, int stage) {
      const u32 a = base + stage * stageBytes;
      const bool inside = step * 64 + piece * 8 < K;
#pragma unroll
      for (int i = 0; i < countA; i++)
        if (BM * 8 % threads == 0 || t + i * threads < BM * 8)
          copy16(a + place128((t + i * threads) >> 3, piece), inside ? fromA[i] + step * 64 : p.input,
                 inside ? 16 : 0);
    };
    auto loadWeights = [&](int step, int stage) {
      const u32 b = base + stage * stageBytes + bytesA;
      const bool inside = step * 64 + piece * 8 < K;
      if (WEIGHT == PLANES) {
#pragma unroll
        for (int i = 0; i < halves; i++) {
          const int at = t + i * threads, half = at & 1;
          const bool within = step * 64 + half * 32 < K;
          if (at < BN * 2)
            copy16(b + at * 16, within ? fromLow[i] + step * 32 + half * 16 : p.weight, within ? 16 : 0);
        }
        if (t < BN) {
          if (p.format == PLANES_Q6_K) copy16(b + BN * PLANES_LOW + t * 16, ofRow + K / 2 + step * 16, 16);
          copyScales(b + bytesB + t * 8, ofRow + (p.format == PLANES_Q6_K ? K / 4 * 3 : K / 2), p.format, K, step);
        }
        return;
      }
#pragma unroll
      for (int i = 0; i < countB; i++)
        if (BN * 8 % threads == 0 || t + i * threads < BN * 8) {
          if (Q8)
            copy8(b + (t + i * threads) * 8, inside ? fromB[i] + step * 64 : p.weight, inside ? 8 : 0);
          else
            copy16(b + place128((t + i * threads) >> 3, piece), inside ? fromB[i] + step * 128 : p.weight,
                   inside ? 16 : 0);
        }
      if (Q8 && t < BN) copy4(b + bytesB + t * 4, fromScale + step * 4);
    };
    // Expands a staged step of weights: number · scale of its block. All pieces are asked for before the first is used.
    auto expand = [&](int stage, int to, int step) {
      const u32 b = base + stage * stageBytes + bytesA, out = base + expandedAt + to * (BN * 128);
      const bool all = BN * 8 % threads == 0;
      u32 x[countB], y[countB], low[countB];
      u16 half[countB];
#pragma unroll
      for (int i = 0; i < countB; i++) {
        const int at = t + i * threads;
        if (!all && at >= BN * 8) continue;
        if (WEIGHT == PLANES) {
          low[i] = sharedLoad4(b + at * 4);
          half[i] = sharedLoad2(b + BN * PLANES_LOW + at * 2);
          sharedLoad8(b + bytesB + (at >> 3) * 8, x[i], y[i]);
        } else {
          sharedLoad8(b + at * 8, x[i], y[i]);
          half[i] = sharedLoad2(b + bytesB + (at >> 3) * 4 + (piece >> 2) * 2);
        }
      }
#pragma unroll
      for (int i = 0; i < countB; i++) {
        const int at = t + i * threads;
        if (!all && at >= BN * 8) continue;
        sharedStore16(out + place128(at >> 3, piece),
                      WEIGHT == PLANES ? expandedPlanes<E>(p.format, low[i], half[i], make_uint2(x[i], y[i]), piece, step)
                                       : expanded<E>(x[i], y[i], half[i]));
      }
    };

    float c[MI][NI][4] = {};
    for (int s = 0; s < STAGES - 1; s++)
      if (begin + s < end) loadWeights(begin + s, s);
    afterEarlier();
    for (int s = 0; s < STAGES - 1; s++) {
      if (begin + s < end) loadInput(begin + s, s);
      copiesCommit();
    }
    if (EXPANDED) {
      copiesWait<STAGES - 2>();
      __syncthreads();
      if (begin < end) expand(0, 0, begin);
    }
    int stage = 0;
    for (int step = begin; step < end; step++) {
      // Weights to be expanded are one step further on their way.
      copiesWait<EXPANDED ? STAGES - 3 : STAGES - 2>();
      __syncthreads();
      const int free = stage == 0 ? STAGES - 1 : stage - 1;
      if (step + STAGES - 1 < end) loadInput(step + STAGES - 1, free), loadWeights(step + STAGES - 1, free);
      copiesCommit();
      if (EXPANDED && step + 1 < end) expand(stage + 1 == STAGES ? 0 : stage + 1, (step + 1 - begin) & 1, step + 1);
      const u32 a0 = base + stage * stageBytes;
      const u32 b0 = EXPANDED ? base + expandedAt + ((step - begin) & 1) * (BN * 128) : a0 + bytesA;
#pragma unroll
      for (int kk = 0; kk < 4; kk++) {
        u32 a[MI][4], b[(NI + 1) / 2][4];
#pragma unroll
        for (int i = 0; i < MI; i++)
          loadMatrix(a[i], a0 + place128(wm * WM + i * 16 + (lane & 15), kk * 2 + (lane >> 4)));
#pragma unroll
        for (int j = 0; j < NI / 2; j++)
          loadMatrix(b[j],
                     b0 + place128(wn * WN + j * 16 + (lane & 7) + ((lane >> 4) << 3), kk * 2 + ((lane >> 3) & 1)));
#pragma unroll
        for (int i = 0; i < MI; i++)
#pragma unroll
          for (int j = 0; j < NI; j++) E::mma(c[i][j], a[i], b[j >> 1][(j & 1) * 2], b[j >> 1][(j & 1) * 2 + 1]);
      }
      stage = stage + 1 == STAGES ? 0 : stage + 1;
    }
    copiesWait<0>();
    __syncthreads();
    // The sums go through shared memory, so that rows are stored (and partial sums left) in one run.
    float* staged = (float*)memory;
#pragma unroll
    for (int i = 0; i < MI; i++)
#pragma unroll
      for (int j = 0; j < NI; j++) {
        float* to = staged + (wm * WM + i * 16 + (lane >> 2)) * stagedStride + wn * WN + j * 8 + (lane & 3) * 2;
        *(float2*)to = make_float2(c[i][j][0], c[i][j][1]);
        *(float2*)(to + 8 * stagedStride) = make_float2(c[i][j][2], c[i][j][3]);
      }
    __syncthreads();
    if (p.splits > 1 && !addSplits(p, staged, rows.count)) return;
    if (p.mode == SILU_MUL)
      storeStaged<E, BN, WN, true>(p, rows, 0, BM, n0, staged, stagedStride, t, threads);
    else
      storeStaged<E, BN, WN, false>(p, rows, 0, BM, n0, staged, stagedStride, t, threads);
  }

  // Leaves this split's sums; the last workgroup to arrive adds up the sums of all and returns true.
  static __device__ __forceinline__ bool addSplits(const Product& p, float* staged, int count) {
    __shared__ u32 arrived;
    const int tile = blockIdx.y * gridDim.x + blockIdx.x, t = threadIdx.x, quads = minimum(count, BM) * (BN / 4);
    float4* all = (float4*)p.partials + (size_t)tile * p.splits * (BM * BN / 4);
    float4* own = all + blockIdx.z * (BM * BN / 4);
    for (int i = t; i < quads; i += threads)
      __stcg(own + i, *(const float4*)(staged + i / (BN / 4) * stagedStride + i % (BN / 4) * 4));
    __threadfence();
    __syncthreads();
    if (t == 0) arrived = atomicAdd(p.counters + tile, 1);
    __syncthreads();
    if (arrived != (u32)p.splits - 1) return false;
    __threadfence();
    if (t == 0) p.counters[tile] = 0;
    const int HELD = (BM * BN / 4 + threads - 1) / threads, MOST = HELD < 8 ? HELD : 8;
    for (int first = t; first < quads; first += MOST * threads) {
      float4 sum[MOST];
#pragma unroll
      for (int i = 0; i < MOST; i++) sum[i] = make_float4(0, 0, 0, 0);
      for (int s = 0; s < p.splits; s++) {
        const float4* from = all + s * (BM * BN / 4);
#pragma unroll
        for (int i = 0; i < MOST; i++) {
          const float4 v = __ldcg(from + minimum(first + i * threads, quads - 1));
          sum[i].x += v.x, sum[i].y += v.y, sum[i].z += v.z, sum[i].w += v.w;
        }
      }
#pragma unroll
      for (int i = 0; i < MOST; i++) {
        const int at = first + i * threads;
        if (at < quads) *(float4*)(staged + at / (BN / 4) * stagedStride + at % (BN / 4) * 4) = sum[i];
      }
    }
    __syncthreads();
    return true;
  }
};

#define PRODUCT(BM, BN, WM, WN, STAGES, BLOCKS)                                    \
  extern "C" __global__ void __launch_bounds__((BM / WM) * (BN / WN) * 32, BLOCKS) \
      product_##BM##x##BN##_##STAGES(const __grid_constant__ Product p) {          \
    Tile<ELEMENT, BM, BN, WM, WN, STAGES, WEIGHTS>::run(p);                      \
  }
// Tiles (see choose.ts, which names the same): activation rows × weight rows.
#if WEIGHTS != 0
PRODUCT(16, 64, 16, 16, 6, 4)
PRODUCT(32, 64, 16, 32, 5, 4)
PRODUCT(64, 64, 32, 32, 4, 3)
PRODUCT(128, 128, 64, 32, 4, 1)
#else
PRODUCT(16, 64, 16, 16, 6, 3)
PRODUCT(32, 64, 16, 32, 5, 3)
PRODUCT(64, 64, 32, 32, 5, 2)
PRODUCT(128, 64, 64, 32, 4, 2)
PRODUCT(128, 128, 64, 32, 3, 2)
#endif
