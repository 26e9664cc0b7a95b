// Products for few tokens (1 to 64) on the matrix units: the weights are streamed from memory to the operands of
// mma.sync, once, whatever the number of tokens.
//
// A block makes 8 or 16 output features (of a paired matrix 8 or 16 gate rows and their up rows); its warps share the
// sum. A piece is 32 columns: each lane takes 16 bytes of one weight row (8 columns) and the same columns of its token
// rows. Which column stands where in an operand does not matter as long as both operands agree, so no exchange is needed
// before the end, where the warps' sums meet. A thread's weights are on their way before the input is there (cp.async
// into slots of its own, so no barrier): as many as make a small matrix come as a whole, while the kernel in front of
// this one ends. With X_NORM the input is the float32 residual stream: the block multiplies it by the norm's weight,
// rounds it, and scales its results by the root of the mean square.
//
// Grid: (features / 8 or 16, 1), or with experts (…, tiles of up to 16 rows); rows then go through `order`.
// Bound by reading the weights.

#include "kernel.cuh"

template <int D> DEVICE void mma(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  if (D == F16) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  } else {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
}

// Where the tokens' rows are read from: global memory; shared memory, which they are copied to; or there, normalised.
enum Input { X_GLOBAL = 0, X_SHARED = 1, X_NORM = 2 };

struct SkinnyArguments {
  const void* x;            // [M, K], 16-bit of the weights' kind, or float32 with a norm
  const float* normWeight;  // [K], for X_NORM
  float epsilon;
  const u8* w;              // [N, K], or [2 N, K] paired, or as many of them as there are experts
  const float* bias;        // [N] or [2 N], or null
  void* y;                  // [M, N], rows `stride` apart
  int yType, M, N, K;
  int stride;               // of the rows of y
  int epilogue;
  const u32* tiles;         // null, or their number and (expert, first, rows) triples
  const u32* order;         // pairs in the order of their experts
  int perToken;             // the row of x of a pair is pair / perToken
};

DEVICE void copy16(u32 to, const void* from, bool inside) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(inside ? 16 : 0));
}
DEVICE uint4 shared16(u32 from) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(from));
  return v;
}

// Dynamic shared memory: with X_NORM sums of squares, [16 rows][SQUARES] floats, and the rows' scales, [16]; the input's rows
// (unless X_GLOBAL), [M] of K halves and 64 bytes; the slots, [SLOTS · NT][threads] of 16 bytes, and in their place at the
// end sums, [warps][MT · NT · 4][32] floats.
const int SQUARES = 32, WARPS = 8;

template <int D, int MT, int NT, bool PAIRED, int X> DEVICE void skinny(const SkinnyArguments& p) {
  const int SLOTS = NT == 1 ? 12 : NT == 2 ? 8 : 4, PIECE = 16;
  // With a short input its loads come first: those of the next kernel's weights would stand in their way.
  if (X != X_SHARED) letNextStart();
  extern __shared__ __align__(128) u8 memory[];
  const int t = threadIdx.x, lane = t & 31, warp = t >> 5, warps = blockDim.x >> 5, g = lane >> 2, q = lane & 3;
  const int K = p.K, N = p.N, n0 = blockIdx.x * (PAIRED ? 4 * NT : 8 * NT);
  const size_t rowBytes = matrixRowBytes(D, K);
  const u8* w = p.w;
  int M = p.M;
  const u32* order = nullptr;
  if (p.tiles) {
    waitForPrevious();
    if (blockIdx.y >= p.tiles[0]) return;
    const u32* tile = p.tiles + 1 + 3 * blockIdx.y;
    w += (size_t)tile[0] * (PAIRED ? 2 * N : N) * rowBytes, order = p.order + tile[1], M = tile[2];
  }
  // The weight row of each of this lane's operands; beyond the end, the last one. Paired, tile j + NT / 2 is the up rows
  // of tile j.
  const u8* rowOfWeights[NT];
#pragma unroll
  for (int j = 0; j < NT; j++) {
    const int tile = PAIRED ? j % (NT / 2) : j, n = min(n0 + tile * 8 + g, N - 1);
    rowOfWeights[j] = w + (PAIRED && j >= NT / 2 ? n + N : n) * rowBytes;
  }
  // A warp takes every `warps`-th piece.
  const int stride = warps * 32, begin = warp * 32 + q * 8;
  float* const squares = (float*)memory;
  float* const scales = squares + 16 * SQUARES;
  u8* const input = memory + (X == X_NORM ? 4 * 16 * (SQUARES + 1) : 0);
  const int pitch = 2 * K + 64;
  // Room is kept for all rows of a tile of experts, however many it has.
  float* const meeting = (float*)(input + (X == X_GLOBAL ? 0 : p.M * pitch));
  const float perColumn = 1.0f / K;
  const u32 slots = (u32)__cvta_generic_to_shared(meeting) + t * PIECE, slotBytes = blockDim.x * PIECE;
  const auto load = [&](int k, int slot) {
#pragma unroll
    for (int j = 0; j < NT; j++) {
      const u32 to = slots + (slot * NT + j) * slotBytes;
      copy16(to, rowOfWeights[j] + (k < K ? 2 * (size_t)k : 0), k < K);
    }
  };
#pragma unroll
  for (int s = 0; s < SLOTS; s++) {
    if (begin - q * 8 + s * stride < K) load(begin + s * stride, s);
    asm volatile("cp.async.commit_group;");
  }
  if (!p.tiles) waitForPrevious();
  // What this thread's first result is added to is on its way during the product.
  const int tiles = PAIRED ? NT / 2 : NT;
  const auto rowOf = [&](int v) { return (v >> 7) / tiles * 16 + ((v >> 6) & 1) * 8 + ((v & 31) >> 2); };
  const auto featureOf = [&](int v) { return n0 + (v >> 7) % tiles * 8 + 2 * (v & 3) + ((v >> 5) & 1); };
  const auto placeOf = [&](int m, int n) { return (size_t)(order ? order[m] : m) * p.stride + n; };
  const bool adds = p.epilogue == ADD && t < MT * tiles * 128 && rowOf(t) < M && featureOf(t) < N;
  const float firstBefore = adds ? loadNumber(p.y, p.yType, placeOf(rowOf(t), featureOf(t))) : 0.0f;

  if (X == X_SHARED) {
    const int octets = K / 8;
#pragma unroll 4
    for (int i = t; i < M * octets; i += blockDim.x) {
      const int m = i / octets, k = (i - m * octets) * 8;
      const size_t row = order ? order[m] / p.perToken : m;
      *(uint4*)(input + m * pitch + 2 * k) = *(const uint4*)((const u16*)p.x + row * K + k);
    }
    __syncthreads();
  }
  if (X == X_NORM) {
    // A row's squares are added up by runs of 256 columns, whatever the number of rows.
    const int runs = (K + 255) / 256;
#pragma unroll 4
    for (int i = warp; i < M * runs; i += warps) {
      const int m = i / runs, run = i - m * runs, k = run * 256 + lane * 8;
      float sum = 0;
      if (k < K) {
        float v[8], norm[8];
        load8(p.x, F32, (size_t)m * K + k, v);
        load8(p.normWeight, F32, k, norm);
#pragma unroll
        for (int e = 0; e < 8; e++) sum += v[e] * v[e], v[e] *= norm[e];
        *(uint4*)(input + m * pitch + 2 * k) =
            make_uint4(packBf16(v[0], v[1]), packBf16(v[2], v[3]), packBf16(v[4], v[5]), packBf16(v[6], v[7]));
      }
      sum = warpSum(sum);
      if (lane == 0) squares[m * SQUARES + run] = sum;
    }
    __syncthreads();
    // Read behind the next barriers.
    if (t < M) {
      float sum = 0;
      for (int run = 0; run < runs; run++) sum += squares[t * SQUARES + run];
      scales[t] = rsqrtf(sum * perColumn + p.epsilon);
    }
  }
  if (X == X_SHARED) letNextStart();
  // Where the row of x of each of this lane's operands begins.
  const u8* rowOfX[MT][2];
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int m = min(i * 16 + h * 8 + g, M - 1);
      rowOfX[i][h] = X != X_GLOBAL ? input + m * pitch
                                   : (const u8*)p.x + 2 * (size_t)(order ? order[m] / p.perToken : m) * K;
    }
  const bool high = MT > 1 || M > 8;
  // Pieces take turns with two sets of sums where there is room: a product waits for the one before it on the same sums.
  const int SETS = MT == 1 ? 2 : 1;
  float c[MT][NT][4] = {}, odd[SETS == 2 ? MT : 1][NT][4] = {};
  // The tokens' operands of a piece; from global memory they are fetched a piece ahead.
  uint4 ahead[MT][2];
  const auto fetch = [&](int k) {
#pragma unroll
    for (int i = 0; i < MT; i++) {
      ahead[i][0] = ahead[i][1] = make_uint4(0, 0, 0, 0);
      if (k < K) ahead[i][0] = *(const uint4*)(rowOfX[i][0] + 2 * k);
      if (k < K && high) ahead[i][1] = *(const uint4*)(rowOfX[i][1] + 2 * k);
    }
  };
  if (X == X_GLOBAL) fetch(begin);
  // Adds a piece's products.
  const auto multiply = [&](int k, const uint4 (&b)[NT], float (&c)[MT][NT][4]) {
    if (X != X_GLOBAL) fetch(k);
    uint4 now[MT][2];
#pragma unroll
    for (int i = 0; i < MT; i++) now[i][0] = ahead[i][0], now[i][1] = ahead[i][1];
    if (X == X_GLOBAL) fetch(k + stride);
#pragma unroll
    for (int i = 0; i < MT; i++) {
      const uint4 (&a)[2] = now[i];
#pragma unroll
      for (int j = 0; j < NT; j++) {
        mma<D>(c[i][j], a[0].x, a[1].x, a[0].y, a[1].y, b[j].x, b[j].y);
        mma<D>(c[i][j], a[0].z, a[1].z, a[0].w, a[1].w, b[j].z, b[j].w);
      }
    }
  };
  int slot = 0;
  const auto take = [&](uint4 (&b)[NT], int at) {
#pragma unroll
    for (int j = 0; j < NT; j++) b[j] = shared16(slots + (at * NT + j) * slotBytes);
  };
  const auto refill = [&](int k, int at) {
    const int next = k + SLOTS * stride;
    if (next - q * 8 < K) load(next, at);
    asm volatile("cp.async.commit_group;");
  };
  if (SETS == 2) {
    // Two pieces at a time; the number of slots is even.
    for (int k = begin; k - q * 8 < K; k += 2 * stride) {
      asm volatile("cp.async.wait_group %0;" ::"n"(SLOTS - 2));
      uint4 b[NT], d[NT];
      take(b, slot);
      take(d, slot + 1);
      multiply(k, b, c);
      if (k + stride - q * 8 < K) multiply(k + stride, d, (float (&)[MT][NT][4])odd);
      refill(k, slot);
      refill(k + stride, slot + 1);
      slot = slot + 2 == SLOTS ? 0 : slot + 2;
    }
  } else {
#pragma unroll 4
    for (int k = begin; k - q * 8 < K; k += stride) {
      asm volatile("cp.async.wait_group %0;" ::"n"(SLOTS - 1));
      uint4 b[NT];
      take(b, slot);
      multiply(k, b, c);
      refill(k, slot);
      slot = slot + 1 == SLOTS ? 0 : slot + 1;
    }
  }

  const int regs = MT * NT * 4;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int j = 0; j < NT; j++)
#pragma unroll
      for (int r = 0; r < 4; r++)
        meeting[(warp * regs + (i * NT + j) * 4 + r) * 32 + lane] = c[i][j][r] + (SETS == 2 ? odd[i][j][r] : 0.0f);
  __syncthreads();
  // Value v of the block: row m = i·16 + half·8 + g, feature n = j·8 + 2q + (r & 1); paired, only the gates' are gone
  // through.
  for (int v = t; v < MT * tiles * 128; v += blockDim.x) {
    const int at = v & 31, r = (v >> 5) & 3, j = (v >> 7) % tiles, i = (v >> 7) / tiles;
    const int m = rowOf(v), n = featureOf(v);
    if (m >= M || n >= N) continue;
    const size_t to = placeOf(m, n);
    const float before = v == t ? firstBefore : p.epilogue == ADD ? loadNumber(p.y, p.yType, to) : 0.0f;
    const int reg = (i * NT + j) * 4 + r;
    float value = 0, up = 0;
#pragma unroll
    for (int s = 0; s < WARPS; s++) {
      if (s >= warps) break;
      value += meeting[(s * regs + reg) * 32 + at];
      if (PAIRED) up += meeting[(s * regs + reg + tiles * 4) * 32 + at];
    }
    const float scale = X == X_NORM ? scales[m] : 1.0f;
    value = value * scale + (p.bias ? p.bias[n] : 0.0f);
    if (PAIRED) value = silu(value) * (up * scale + (p.bias ? p.bias[N + n] : 0.0f));
    storeNumber(p.y, p.yType, to, before + value);
  }
}

// KIND (of the weights), ROWS (16, 32 or 64 tokens) and NORM are chosen where this file is compiled.
#define SKINNY(name, NT, PAIRED, X)                                                                                  \
  KERNEL __launch_bounds__(256) name(const void* x, const float* normWeight, float epsilon, const u8* w,            \
                                     const float* bias, void* y, int yType, int M, int N, int K, int stride,        \
                                     int epilogue, const u32* tiles, const u32* order, int perToken) {              \
    skinny<KIND, ROWS / 16, NT, PAIRED, X>(                                                                          \
        {x, normWeight, epsilon, w, bias, y, yType, M, N, K, stride, epilogue, tiles, order, perToken});             \
  }
#define SKINNY_WIDTHS(name, X)           \
  SKINNY(name##_n8, 1, false, X)         \
  SKINNY(name##_n16, 2, false, X)        \
  SKINNY(name##_pair8, 2, true, X)       \
  SKINNY(name##_pair16, 4, true, X)
#if ROWS == 16
SKINNY_WIDTHS(skinny_shared, X_SHARED)
#ifdef NORM
SKINNY_WIDTHS(skinny_norm, X_NORM)
#endif
#endif
SKINNY_WIDTHS(skinny_global, X_GLOBAL)
