// Products of few rows on wgmma (compute capability 9.0): the weights are what streams.
//
// Grid: (splits · tiles of ROWS weight rows, tiles of TOKENS activation rows), in clusters of `splits` workgroups
// that share the sums of a tile. Workgroup: ROWS / 64 warp groups multiply, one warp has the copy engine bring steps
// of 64 columns into STAGES buffers. Operands are exchanged: weight rows are the 64 rows of A, tokens the columns of
// B, so that 16 tokens cost no more than they must. Sums meet in shared memory: each workgroup of the cluster adds up
// its share of the tokens over all, in rank order, and stores it. The first weights are asked for before the kernels
// in front of this one are done (programmatic dependent launch), which hides its start. Memory and tensor maps as in
// wide.cu, with boxes of TOKENS and ROWS / 2 rows. Bound by reading the weights.
#include "product.cuh"
#include "wgmma.cuh"

struct __align__(64) TensorMap { u64 words[16]; };

template <class E, int ROWS, int TOKENS, int STAGES, int MOST>
struct Narrow {
  static const int groups = ROWS / 64, threads = groups * 128 + 32, stageBytes = (ROWS + TOKENS) * 128;
  static const int wanted = (TOKENS * ROWS / 4 + 2 * threads - 1) / (2 * threads), BATCH = wanted < MOST ? wanted : MOST;
  static const int STRIDE = ROWS + 4;  // floats; eight rows of fragments fall into different banks

  static __device__ __forceinline__ void run(const TensorMap& input, const TensorMap& weight, const Product& p) {
    extern __shared__ __align__(1024) unsigned char memory[];
    __shared__ __align__(8) u64 barriers[2 * STAGES];
    const u32 base = (sharedAddress(memory) + 1023) & ~1023u, full = sharedAddress(barriers),
              free = full + 8 * STAGES;
    const int t = threadIdx.x, lane = t & 31, warp = t >> 5;
    const int splits = p.splits, rank = blockIdx.x % splits, tile = blockIdx.x / splits, n0 = tile * ROWS;
    if (t == 0) {
      for (int s = 0; s < STAGES; s++) barrierInit(full + 8 * s, 1), barrierInit(free + 8 * s, groups * 4);
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    letLaterBegin();
    const int steps = (p.K + 63) / 64, each = (steps + splits - 1) / splits;
    const int begin = minimum(rank * each, steps), count = minimum(each, steps - begin);
    const TileRows rows = {(int)blockIdx.y * TOKENS, minimum(TOKENS, p.T - (int)blockIdx.y * TOKENS), 0};
    if (warp == groups * 4) {
      if (lane == 0) {
        const int y0 = p.mode == SILU_MUL ? tile * (ROWS / 2) : n0,
                  y1 = y0 + (p.mode == SILU_MUL ? p.N / 2 : ROWS / 2);
        auto weights = [&](int i, int stage) {
          const u32 to = base + stage * stageBytes;
          barrierExpect(full + 8 * stage, stageBytes);
          copyTile(to, &weight, (begin + i) * 64, y0, full + 8 * stage);
          copyTile(to + ROWS * 64, &weight, (begin + i) * 64, y1, full + 8 * stage);
        };
        const int ahead = minimum(STAGES, count);
        for (int i = 0; i < ahead; i++) weights(i, i);
        afterEarlier();
        for (int i = 0; i < ahead; i++)
          copyTile(base + i * stageBytes + ROWS * 128, &input, (begin + i) * 64, rows.first, full + 8 * i);
        int stage = 0;
        u32 phase = 0;
        for (int i = STAGES; i < count; i++) {
          barrierWait(free + 8 * stage, phase);
          weights(i, stage);
          copyTile(base + stage * stageBytes + ROWS * 128, &input, (begin + i) * 64, rows.first, full + 8 * stage);
          if (++stage == STAGES) stage = 0, phase ^= 1;
        }
      }
      __syncwarp();
    }
    float d[TOKENS / 2];
    const int group = warp >> 2;
    if (warp < groups * 4) {
#pragma unroll
      for (int i = 0; i < TOKENS / 2; i++) d[i] = 0;
      int stage = 0, before = 0;
      u32 phase = 0;
      for (int i = 0; i < count; i++) {
        barrierWait(full + 8 * stage, phase);
        const u32 a = base + stage * stageBytes + group * 64 * 128, b = base + stage * stageBytes + ROWS * 128;
        warpGroupFence();
#pragma unroll
        for (int kk = 0; kk < 4; kk++)
          WarpGroup<E, TOKENS>::product(d, descriptor(a + kk * 32), descriptor(b + kk * 32));
        warpGroupCommit();
        warpGroupWait<1>();
        if (i > 0 && lane == 0) barrierArrive(free + 8 * before);
        before = stage;
        if (++stage == STAGES) stage = 0, phase ^= 1;
      }
      warpGroupWait<0>();
#pragma unroll
      for (int i = 0; i < TOKENS / 2; i++) asm volatile("" : "+f"(d[i])::"memory");
    }
    afterEarlier();
    // All buffers have been read: the sums take their place, [token][row].
    __syncthreads();
    float* staged = (float*)(memory + (base - sharedAddress(memory)));
    if (warp < groups * 4) {
#pragma unroll
      for (int j = 0; j < TOKENS / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
          staged[(j * 8 + (lane & 3) * 2 + (e & 1)) * STRIDE + warp * 16 + (e >> 1) * 8 + (lane >> 2)] = d[4 * j + e];
    }
    int first = 0, tokens = rows.count;
    if (splits > 1) {
      const int share = (rows.count + splits - 1) / splits;
      first = rank * share, tokens = maximum(0, minimum(share, rows.count - first));
      clusterBarrier();
      // BATCH places at a time, everything asked for before the first is used.
      const int places = tokens * (ROWS / 4);
      for (int i0 = t; i0 < places; i0 += BATCH * threads) {
        float4 v[BATCH][8];
        u32 at[BATCH];
#pragma unroll
        for (int u = 0; u < BATCH; u++) {
          const int i = minimum(i0 + u * threads, places - 1);
          at[u] = ((first + i / (ROWS / 4)) * STRIDE + i % (ROWS / 4) * 4) * 4;
#pragma unroll
          for (int s = 0; s < 8; s++)
            if (s < splits && i0 + u * threads < places) v[u][s] = clusterLoad16(base + at[u], s);
        }
#pragma unroll
        for (int u = 0; u < BATCH; u++) {
          if (i0 + u * threads >= places) break;
          float4 sum = v[u][0];
#pragma unroll
          for (int s = 1; s < 8; s++)
            if (s < splits)
              sum.x += v[u][s].x, sum.y += v[u][s].y, sum.z += v[u][s].z, sum.w += v[u][s].w;
          *(float4*)((char*)staged + at[u]) = sum;  // read by its own workgroup only
        }
      }
    }
    __syncthreads();
    if (p.mode == SILU_MUL)
      storeStaged<E, ROWS, ROWS, true>(p, rows, first, tokens, n0, staged + first * STRIDE, STRIDE, t, threads);
    else
      storeStaged<E, ROWS, ROWS, false>(p, rows, first, tokens, n0, staged + first * STRIDE, STRIDE, t, threads);
    // Others may still be reading this workgroup's sums.
    if (splits > 1) clusterBarrier();
  }
};

#define NARROW(ROWS, TOKENS, STAGES, BLOCKS)                                                                   \
  extern "C" __global__ void __launch_bounds__(ROWS * 2 + 32, BLOCKS)                                          \
      narrow_##ROWS##x##TOKENS##_##STAGES(const __grid_constant__ TensorMap input,                             \
                                          const __grid_constant__ TensorMap weight,                            \
                                          const __grid_constant__ Product p) {                                 \
    Narrow<ELEMENT, ROWS, TOKENS, STAGES, (ROWS <= 128 ? 4 : BLOCKS > 1 ? 1 : 2)>::run(input, weight, p);      \
  }
// See tiles.ts, which names the same.
NARROW(64, 8, 11, 2)
NARROW(64, 16, 10, 2)
NARROW(64, 32, 8, 2)
NARROW(64, 64, 6, 2)
NARROW(128, 64, 8, 1)
NARROW(192, 64, 6, 1)
NARROW(192, 64, 3, 2)
NARROW(128, 96, 7, 1)
NARROW(128, 128, 6, 1)
NARROW(64, 192, 6, 1)
NARROW(192, 192, 4, 1)
