// Products for few tokens (1 to 64) on the matrix units: the weights are streamed from memory straight into the
// operands of mma.sync, once, whatever the number of tokens.
//
// A block makes 8 or 16 output features; its warps share the sum. A piece is 32 columns: each lane loads 16 bytes of
// one weight row (8 columns) and the same columns of its token rows. Which column stands where in an operand does not
// matter as long as both operands agree, so no exchange and no shared memory is needed before the end, where the
// warps' sums meet. Of a paired matrix a block holds eight gate rows and their up rows. With X_NORM the input is the
// float32 residual stream, multiplied by the norm's weight on the way; its mean square falls off along the way too,
// and scales the result. Weights of q8 become bf16 numbers; each block of 32 columns is one piece, whose sum is scaled.
//
// Grid: (features / 8 or 16, 1), or with experts (…, tiles of up to 16 rows); rows then go through `order`.
// Bound by reading the weights.

#include "common.cuh"

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

// Weights are read once: past the first cache, so that the tokens' rows stay there.
DEVICE uint4 stream16(const void* from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
      : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
  return v;
}
DEVICE uint2 stream8(const void* from) {
  uint2 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from));
  return v;
}

// Byte j of a word, as a float: the byte plus 128 becomes the low digits of 2^23.
DEVICE float byteNumber(u32 flipped, int j) {
  return __uint_as_float(__byte_perm(flipped, 0x4b000000u, 0x7440 + j)) - 8388736.0f;
}
DEVICE uint4 bf16OfBytes(uint2 v) {
  const u32 a = v.x ^ 0x80808080u, b = v.y ^ 0x80808080u;
  return make_uint4(packBf16(byteNumber(a, 0), byteNumber(a, 1)), packBf16(byteNumber(a, 2), byteNumber(a, 3)),
                    packBf16(byteNumber(b, 0), byteNumber(b, 1)), packBf16(byteNumber(b, 2), byteNumber(b, 3)));
}

enum Input { X_HALF = 0, X_NORM = 1 };

struct SkinnyArguments {
  const void* x;            // [M, K], 16-bit of the weights' kind (bf16 for q8), or float32 with a norm
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

template <int D, int MT, int NT, bool PAIRED, int X> DEVICE void skinny(const SkinnyArguments& p) {
  letNextStart();
  extern __shared__ float meeting[]; // [warps][MT · NT · 4][32], then [warps][16] sums of squares
  const int UNROLL = NT == 1 && D != Q8 ? 8 : 4;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5, g = lane >> 2, q = lane & 3;
  const int K = p.K, N = p.N, n0 = blockIdx.x * (PAIRED ? 8 : 8 * NT);
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
  // The row of x, and of the weights, that each of this lane's operands takes; beyond the end, the last one.
  const u8* rowOfWeights[NT];
#pragma unroll
  for (int j = 0; j < NT; j++) {
    const int n = PAIRED ? min(n0 + g, N - 1) + j * N : min(n0 + j * 8 + g, N - 1);
    rowOfWeights[j] = w + n * rowBytes;
  }
  // All loads of a round are under way before the first is used; those of the first before the input is there.
  uint4 b[UNROLL][NT];
  u32 scales[UNROLL][NT];
  const int stride = warps * 32;
  const auto loadWeights = [&](int k0) {
#pragma unroll
    for (int u = 0; u < UNROLL; u++) {
      const int k = k0 + u * stride;
#pragma unroll
      for (int j = 0; j < NT; j++) {
        b[u][j] = make_uint4(0, 0, 0, 0), scales[u][j] = 0;
        if (D == Q8) {
          if (k < K) {
            const uint2 bytes = stream8(rowOfWeights[j] + k);
            b[u][j].x = bytes.x, b[u][j].y = bytes.y;
          }
          if (k - q * 8 < K) scales[u][j] = *(const u16*)(rowOfWeights[j] + K + 2 * (k >> 5));
        } else if (k < K) {
          b[u][j] = stream16(rowOfWeights[j] + 2 * (size_t)k);
        }
      }
    }
  };
  const int begin = warp * 32 + q * 8;
  loadWeights(begin);
  if (!p.tiles) waitForPrevious();
  size_t rowOfX[MT][2];
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int m = min(i * 16 + h * 8 + g, M - 1);
      rowOfX[i][h] = (size_t)(order ? order[m] / p.perToken : m) * K;
    }
  const bool high = M > 8;
  float c[MT][NT][4] = {}, squares[2] = {};
  for (int k0 = begin; k0 - q * 8 < K; k0 += UNROLL * stride) {
    if (k0 != begin) loadWeights(k0);
#pragma unroll
    for (int u = 0; u < UNROLL; u++) {
      const int k = k0 + u * stride;
      if (k - q * 8 >= K) break;
      float norm[8];
      if (X == X_NORM && k < K) load8(p.normWeight, F32, k, norm);
      if (D == Q8) {
#pragma unroll
        for (int j = 0; j < NT; j++) b[u][j] = bf16OfBytes(make_uint2(b[u][j].x, b[u][j].y));
      }
#pragma unroll
      for (int i = 0; i < MT; i++) {
        uint4 a[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
          a[h] = make_uint4(0, 0, 0, 0);
          if (k >= K || (h == 1 && MT == 1 && !high)) continue;
          if (X == X_NORM) {
            float v[8];
            load8(p.x, F32, rowOfX[i][h] + k, v);
#pragma unroll
            for (int e = 0; e < 8; e++) squares[h] += v[e] * v[e], v[e] *= norm[e];
            a[h] = make_uint4(packBf16(v[0], v[1]), packBf16(v[2], v[3]), packBf16(v[4], v[5]), packBf16(v[6], v[7]));
          } else {
            a[h] = *(const uint4*)((const u16*)p.x + rowOfX[i][h] + k);
          }
        }
#pragma unroll
        for (int j = 0; j < NT; j++) {
          const uint4 v = b[u][j];
          if (D == Q8) {
            float d[4] = {};
            mma<D>(d, a[0].x, a[1].x, a[0].y, a[1].y, v.x, v.y);
            mma<D>(d, a[0].z, a[1].z, a[0].w, a[1].w, v.z, v.w);
            // This lane's columns are 2q and 2q + 1; lane 4n has the scale of column n.
            const float s0 = fromF16((u16)__shfl_sync(~0u, scales[u][j], 8 * q));
            const float s1 = fromF16((u16)__shfl_sync(~0u, scales[u][j], 8 * q + 4));
            c[i][j][0] += d[0] * s0, c[i][j][1] += d[1] * s1, c[i][j][2] += d[2] * s0, c[i][j][3] += d[3] * s1;
          } else {
            mma<D>(c[i][j], a[0].x, a[1].x, a[0].y, a[1].y, v.x, v.y);
            mma<D>(c[i][j], a[0].z, a[1].z, a[0].w, a[1].w, v.z, v.w);
          }
        }
      }
    }
  }
  const int regs = MT * NT * 4;
  float* sums = meeting + warps * regs * 32;
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int j = 0; j < NT; j++)
#pragma unroll
      for (int r = 0; r < 4; r++) meeting[(warp * regs + (i * NT + j) * 4 + r) * 32 + lane] = c[i][j][r];
  if (X == X_NORM) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      squares[h] += __shfl_xor_sync(~0u, squares[h], 1);
      squares[h] += __shfl_xor_sync(~0u, squares[h], 2);
      if (q == 0) sums[warp * 16 + h * 8 + g] = squares[h];
    }
  }
  __syncthreads();
  // Value v of the block: row m = i·16 + half·8 + g, feature n = j·8 + 2q + (r & 1); paired, only the gates' are gone
  // through.
  const int halves = PAIRED ? 1 : NT;
  for (int v = threadIdx.x; v < MT * halves * 128; v += blockDim.x) {
    const int at = v & 31, r = (v >> 5) & 3, j = PAIRED ? 0 : (v >> 7) % NT, i = PAIRED ? v >> 7 : (v >> 7) / NT;
    const int m = i * 16 + (r >> 1) * 8 + (at >> 2), n = n0 + j * 8 + 2 * (at & 3) + (r & 1);
    if (m >= M || n >= N) continue;
    const int reg = (i * NT + j) * 4 + r;
    float value = 0, up = 0, square = 0;
    for (int s = 0; s < warps; s++) {
      value += meeting[(s * regs + reg) * 32 + at];
      if (PAIRED) up += meeting[(s * regs + reg + 4) * 32 + at];
      if (X == X_NORM) square += sums[s * 16 + (m & 15)];
    }
    const float scale = X == X_NORM ? rsqrtf(square / K + p.epsilon) : 1.0f;
    value = value * scale + (p.bias ? p.bias[n] : 0.0f);
    if (PAIRED) value = silu(value) * (up * scale + (p.bias ? p.bias[N + n] : 0.0f));
    const size_t to = (size_t)(order ? order[m] : m) * p.stride + n;
    if (p.epilogue == ADD) value += loadNumber(p.y, p.yType, to);
    storeNumber(p.y, p.yType, to, value);
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
SKINNY(skinny_n8, 1, false, X_HALF)
SKINNY(skinny_n16, 2, false, X_HALF)
SKINNY(skinny_pair, 2, true, X_HALF)
#ifdef NORM
SKINNY(skinny_norm_n8, 1, false, X_NORM)
SKINNY(skinny_norm_n16, 2, false, X_NORM)
SKINNY(skinny_norm_pair, 2, true, X_NORM)
#endif
