// Products for many tokens on the matrix units: mma.sync on tiles of 128 tokens × 128 features × 32 columns.
//
// Operands come with cp.async into three buffers in turn, in rows of 64 bytes whose 16-byte pieces are exchanged
// (piece ^ (row >> 1 & 3)), so that the eight rows that ldmatrix reads together lie in different banks. Eight warps,
// each 64 × 32. Any number of tokens, features and (in eights) columns: what lies outside is filled with zeros. Of a
// paired matrix every other eight feature rows are up rows, so that a thread holds gate and up of the same feature.
// Weights of q8 are converted to bf16 on their way into the buffer. Bound by the matrix units and shared memory.

#include "common.cuh"

const int BM = 128, BN = 128, BK = 32, STAGES = 3, THREADS = 256, STAGE_BYTES = (BM + BN) * BK * 2;
// Dynamic shared memory: the larger of three stages and the results, whose rows are padded against bank conflicts.
const int RESULT_STRIDE = BN + 4;

DEVICE void copy16(u32 to, const void* from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(inside ? 16 : 0));
}
DEVICE void ldmatrix4(u32 (&r)[4], u32 from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
      : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from));
}
template <int D> DEVICE void mma(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  if (D == F16) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}
DEVICE u32 place(int row, int piece) { return row * 64 + ((piece ^ ((row >> 1) & 3)) << 4); }

template <int D, bool PAIRED>
DEVICE void product(const u16* x, const u8* w, const float* bias, void* y, int yType, int M, int N, int K, int stride,
                    int epilogue) {
  extern __shared__ __align__(128) u8 buffers[];
  const u32 base = (u32)__cvta_generic_to_shared(buffers);
  const int t = threadIdx.x, lane = t & 31, warp = t >> 5, wm = warp >> 2, wn = warp & 3;
  const int m0 = blockIdx.y * BM, n0 = blockIdx.x * (PAIRED ? BN / 2 : BN), steps = (K + BK - 1) / BK;
  const size_t rowBytes = matrixRowBytes(D, K);
  // Row of the matrix that stands in row i of the tile, or its number of rows where there is none.
  const auto rowOf = [&](int i) {
    if (!PAIRED) return n0 + i;
    const int n = n0 + ((i >> 4) << 3) + (i & 7);
    return n >= N ? 2 * N : n + ((i >> 3) & 1) * N;
  };
  const int rows = PAIRED ? 2 * N : N;
  float c[4][4][4] = {};
  const auto load = [&](int step, int stage) {
    const u32 a = base + stage * STAGE_BYTES, b = a + BM * 64;
#pragma unroll
    for (int i = t; i < BM * 4; i += THREADS) {
      const int row = i >> 2, piece = i & 3, k = step * BK + piece * 8;
      const bool inside = m0 + row < M && k < K;
      copy16(a + place(row, piece), inside ? x + (size_t)(m0 + row) * K + k : x, inside);
    }
#pragma unroll
    for (int i = t; i < BN * 4; i += THREADS) {
      const int row = i >> 2, piece = i & 3, k = step * BK + piece * 8, n = rowOf(row);
      const bool inside = n < rows && k < K;
      if (D == Q8) {
        uint4 v = make_uint4(0, 0, 0, 0);
        if (inside) {
          float f[8];
          weights8<Q8>(w + n * rowBytes, K, k, f);
          v = make_uint4(packBf16(f[0], f[1]), packBf16(f[2], f[3]), packBf16(f[4], f[5]), packBf16(f[6], f[7]));
        }
        *(uint4*)(buffers + stage * STAGE_BYTES + BM * 64 + place(row, piece)) = v;
      } else {
        copy16(b + place(row, piece), inside ? w + n * rowBytes + 2 * (size_t)k : w, inside);
      }
    }
  };
  for (int s = 0; s < STAGES - 1; s++) {
    if (s < steps) load(s, s);
    asm volatile("cp.async.commit_group;");
  }
  for (int step = 0; step < steps; step++) {
    asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2));
    __syncthreads();
    const int next = step + STAGES - 1;
    if (next < steps) load(next, next % STAGES);
    asm volatile("cp.async.commit_group;");
    const u32 sa = base + (step % STAGES) * STAGE_BYTES, sb = sa + BM * 64;
#pragma unroll
    for (int kk = 0; kk < 2; kk++) {
      u32 a[4][4], b[2][4];
#pragma unroll
      for (int i = 0; i < 4; i++) ldmatrix4(a[i], sa + place(wm * 64 + i * 16 + (lane & 15), kk * 2 + (lane >> 4)));
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const int row = wn * 32 + j * 16 + (lane & 7) + ((lane >> 4) << 3);
        ldmatrix4(b[j], sb + place(row, kk * 2 + ((lane >> 3) & 1)));
      }
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) mma<D>(c[i][j], a[i], b[j >> 1][(j & 1) * 2], b[j >> 1][(j & 1) * 2 + 1]);
    }
  }
  // Through shared memory, so that rows are written in order and the epilogue is there once.
  float* results = (float*)buffers;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) {
      float* to = results + (wm * 64 + i * 16 + (lane >> 2)) * RESULT_STRIDE + wn * 32 + j * 8 + (lane & 3) * 2;
      *(float2*)to = make_float2(c[i][j][0], c[i][j][1]);
      *(float2*)(to + 8 * RESULT_STRIDE) = make_float2(c[i][j][2], c[i][j][3]);
    }
  __syncthreads();
  const int width = PAIRED ? BN / 2 : BN;
  for (int i = t; i < BM * width; i += THREADS) {
    const int row = i / width, column = i % width, m = m0 + row, n = n0 + column;
    if (m >= M || n >= N) continue;
    const float* from = results + row * RESULT_STRIDE + (PAIRED ? ((column >> 3) << 4) + (column & 7) : column);
    float value = from[0] + (bias ? bias[n] : 0.0f);
    if (PAIRED) value = silu(value) * (from[8] + (bias ? bias[N + n] : 0.0f));
    const size_t to = (size_t)m * stride + n;
    if (epilogue == ADD) value += loadNumber(y, yType, to);
    storeNumber(y, yType, to, value);
  }
}

// KIND (of the weights) is chosen where this file is compiled.
#define TILED(name, PAIRED)                                                                                          \
  KERNEL __launch_bounds__(THREADS) name(const u16* x, const u8* w, const float* bias, void* y, int yType, int M,    \
                                         int N, int K, int stride, int epilogue) {                                  \
    product<KIND, PAIRED>(x, w, bias, y, yType, M, N, K, stride, epilogue);                                                  \
  }
TILED(tiled, false)
TILED(tiled_pair, true)
