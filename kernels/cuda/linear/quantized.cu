// Products for few tokens (1 to 64) with weights of four, six and eight bits: the weights are streamed from memory once,
// become operands of mma.sync exactly, and are scaled behind it.
//
// A block makes 16 or 32 output features (paired: 16 gate rows and their up rows) for 8, 16 or 32 tokens; its warps share
// the sum. A piece is 128 columns of sixteen weight rows, which a warp fetches to slots of its own in shared memory
// (cp.async), as many as make a small matrix come as a whole. A unit is 32 columns, two mma, whose sixteen rows are
// features and whose eight columns are tokens. The trick: a number q below 128 in the lower digits of the bfloat16
// 0x4300 is 128 + q, exactly, so that four numbers become an operand by two byte permutations;
// Σ a · (scale · q + offset) = scale · Σ a · (128 + q) + (offset − 128 · scale) · Σ a, and Σ a is one more product, with
// ones, for all features together. int8 numbers are taken apart into 16 · high + low − 128. Inputs are bfloat16, sums
// float32; with X_NORM the input is the float32 residual stream, as in skinny.cu.
//
// Grid: (features / 16 or 32 · tokens / 32, 1), or with experts (features / 16, tiles of up to 16 rows); rows then go
// through `order`. Bound by reading the weights. Permutations instead of conversions: Kim et al. 2022, "Who says
// elephants can't run" (arXiv 2211.10017), there for float16.

#include "digits.cuh"

DEVICE void copy8(u32 to, const void* from, bool inside) {
  asm volatile("cp.async.ca.shared.global.L2::128B [%0], [%1], 8, %2;" ::"r"(to), "l"(from), "r"(inside ? 8 : 0));
}

// Where the tokens' rows are read from: global memory; shared memory, which they are copied to; or there, normalised.
enum Input { X_GLOBAL = 0, X_SHARED = 1, X_NORM = 2 };

struct Arguments {
  const void* x;            // [M, K] bfloat16, or float32 with a norm
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

// A slot of sixteen rows: their numbers, PITCH bytes apart against bank conflicts, then upper bits, HIGH bytes apart.
template <int D> struct Slot {
  static const int PITCH = D == Q8 ? 160 : 80, HIGH = 48, HIGH_AT = 16 * PITCH;
  static const int BYTES = HIGH_AT + (D == Q6_K ? 16 * HIGH : 0);
};
// Runs of 256 columns whose squares are added up apart; most warps of a block.
const int SQUARES = 32, WARPS = 8;
const u32 ONES = 0x3f803f80u, NIBBLES = 0x0f0f0f0fu;

// Dynamic shared memory: with X_NORM sums of squares, [8 rows][SQUARES] floats, and the rows' scales, [8]; the input's
// rows (unless X_GLOBAL), [M] of K bfloat16 and 64 bytes; the weights' scales as stored, [16 · NT] rows; each warp's scales
// of a piece, [NT][4 units][8] rows g and g + 8 (Q6_K: two of them); the slots, [warps][SLOTS][NT], and in their place at
// the end sums, [warps][NT · MT · 4][32] floats.
template <int D, int NT, bool PAIRED, int X, int MT> DEVICE void quantized(const Arguments& p) {
  typedef Slot<D> S;
  const int SLOTS = NT == 2 ? 2 : D == Q8 || D == Q6_K ? 3 : 4, GROUPS = D == Q6_K ? 2 : 1;
  if (X != X_SHARED) letNextStart();
  extern __shared__ __align__(128) u8 memory[];
  const int t = threadIdx.x, lane = t & 31, warp = t >> 5, warps = blockDim.x >> 5, g = lane >> 2, q = lane & 3;
  const int K = p.K, N = p.N;
  const size_t rowBytes = matrixRowBytes(D, K);
  // Rows of q8 may begin at half of sixteen bytes.
  const bool aligned = D != Q8 || rowBytes % 16 == 0;
  const u8* w = p.w;
  int M = p.M, m0 = 0, block = blockIdx.x;
  const u32* order = nullptr;
  if (p.tiles) {
    waitForPrevious();
    if (blockIdx.y >= p.tiles[0]) return;
    const u32* tile = p.tiles + 1 + 3 * blockIdx.y;
    w += (size_t)tile[0] * (PAIRED ? 2 * N : N) * rowBytes, order = p.order + tile[1], M = tile[2];
  } else if (MT == 4) {
    // Blocks with the same weights are neighbours.
    const int parts = (M + 31) / 32;
    m0 = block % parts * 32, block /= parts, M = min(M - m0, 32);
  }
  const int n0 = block * (PAIRED ? 8 * NT : 16 * NT);
  // The weight row at place r of the block; beyond the end, the last one. Paired, the second half is the up rows.
  const auto weightRow = [&](int r) {
    const int half = 8 * NT, n = min(n0 + (PAIRED ? r % half : r), N - 1);
    return w + (size_t)(PAIRED && r >= half ? n + N : n) * rowBytes;
  };
  const int scaleStart = scalesAt(D, K), scaleBytes = (int)rowBytes - scaleStart, scalePitch = (scaleBytes + 15) / 16 * 16;
  float* const squares = (float*)memory;
  float* const rowScales = squares + 8 * SQUARES;
  u8* const input = memory + (X == X_NORM ? 4 * 8 * (SQUARES + 1) : 0);
  const int pitch = 2 * K + 64;
  u8* const stored = input + (X == X_GLOBAL ? 0 : p.M * pitch);
  u8* const decoded = stored + 16 * NT * scalePitch;
  u8* const slots = decoded + warps * NT * 512 * GROUPS;
  u8* const own = slots + warp * SLOTS * NT * S::BYTES;
  float4* const ownScales = (float4*)(decoded + warp * NT * 512 * GROUPS);
  const u32 ownAt = (u32)__cvta_generic_to_shared(own);

  const u8* rows[2 * NT];
#pragma unroll
  for (int j = 0; j < 2 * NT; j++) rows[j] = weightRow(j * 8 + g);
  const auto load = [&](int k, int slot) {
#pragma unroll
    for (int j = 0; j < 2 * NT; j++) {
      const u32 to = ownAt + (slot * NT + j / 2) * S::BYTES, r = j % 2 * 8 + g;
      if (D == Q8) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
          const int at = k + 64 * h + 16 * q;
          const u8* from = at < K ? rows[j] + at : rows[j];
          const u32 place = to + r * S::PITCH + 64 * h + 16 * q;
          if (aligned) copy16(place, from, at < K);
          else copy8(place, from, at < K), copy8(place + 8, from + 8, at < K);
        }
      } else {
        const int at = k + 32 * q;
        copy16(to + r * S::PITCH + 16 * q, at < K ? rows[j] + at / 2 : rows[j], at < K);
      }
      if (D == Q6_K && q < 2)
        copy16(to + S::HIGH_AT + r * S::HIGH + 16 * q, rows[j] + K / 2 + k / 4 + 16 * q, true);
    }
  };
  // In the first group of copies.
  {
    const u32 to = (u32)__cvta_generic_to_shared(stored);
    const bool whole = scaleStart % 16 == 0 && rowBytes % 16 == 0;
    const int unit = whole ? 16 : 4, each = whole ? scalePitch / 16 : scaleBytes / 4;
    for (int i = t; i < 16 * NT * each; i += blockDim.x) {
      const int r = i / each, at = (i - r * each) * unit;
      const u8* from = weightRow(r) + scaleStart + at;
      if (whole) copy16(to + r * scalePitch + at, from, true);
      else copy4(to + r * scalePitch + at, from);
    }
  }
  // A warp takes every `warps`-th piece.
  const int stride = warps * 128, begin = warp * 128;
#pragma unroll
  for (int s = 0; s < SLOTS; s++) {
    if (begin + s * stride < K) load(begin + s * stride, s);
    endGroup();
  }
  if (!p.tiles) waitForPrevious();

  if (X == X_SHARED) {
    const int octets = K / 8;
#pragma unroll 4
    for (int i = t; i < M * octets; i += blockDim.x) {
      const int m = i / octets, k = (i - m * octets) * 8;
      *(uint4*)(input + m * pitch + 2 * k) = *(const uint4*)((const u16*)p.x + (size_t)m * K + k);
    }
  }
  if (X == X_NORM) {
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
    // Read behind the barriers at the end.
    if (t < M) {
      float sum = 0;
      for (int run = 0; run < runs; run++) sum += squares[t * SQUARES + run];
      rowScales[t] = rsqrtf(sum / K + p.epsilon);
    }
  }
  if (X == X_SHARED) letNextStart();
  waitGroups<SLOTS - 1>();
  __syncthreads();

  // Where this lane's columns of its tokens' rows begin: 8q … 8q + 7 of a unit (Q6_K: 4q … 4q + 3, and 16 further).
  const u8* rowOfX[MT];
#pragma unroll
  for (int i = 0; i < MT; i++) {
    const int m = min(i * 8 + g, M - 1);
    rowOfX[i] = (X != X_GLOBAL ? input + m * pitch
                               : (const u8*)p.x + 2 * (size_t)(order ? order[m] / p.perToken : m0 + m) * K) +
                (D == Q6_K ? 8 : 16) * q;
  }
  // The operands of a unit; zeros behind the end.
  const auto fetch = [&](int k, uint4 (&b)[MT]) {
#pragma unroll
    for (int i = 0; i < MT; i++) {
      b[i] = make_uint4(0, 0, 0, 0);
      if (k + (D == Q6_K ? 0 : 8 * q) >= K) continue;
      const u8* from = rowOfX[i] + 2 * k;
      if (D == Q6_K) {
        const uint2 first = *(const uint2*)from, second = *(const uint2*)(from + 32);
        b[i] = make_uint4(first.x, first.y, second.x, second.y);
      } else {
        b[i] = *(const uint4*)from;
      }
    }
  };
  float c[NT][MT][4] = {};
  int slot = 0;
  // From global memory operands are fetched a piece ahead, or where they are many, a unit.
  const int AHEAD = X == X_GLOBAL ? MT == 4 ? 1 : 4 : 0;
  uint4 ahead[AHEAD == 0 ? 1 : AHEAD][MT];
#pragma unroll
  for (int u = 0; u < AHEAD; u++) fetch(begin + 32 * u, ahead[u]);
#pragma unroll 1
  for (int k0 = begin; k0 < K; k0 += stride) {
    waitGroups<SLOTS - 1>();
    // This lane makes the scales of rows g and g + 8 in unit q.
    {
      const int k = min(k0 + 32 * q, K - 1);
#pragma unroll
      for (int j = 0; j < NT; j++) {
        const u8* first = stored + (j * 16 + g) * scalePitch;
        const u8* second = first + 8 * scalePitch;
        float4* to = ownScales + ((j * 4 + q) * 8 + g) * GROUPS;
        if (D == Q8) {
          const float a = fromF16(*(const u16*)(first + 2 * (k >> 5))), b = fromF16(*(const u16*)(second + 2 * (k >> 5)));
          *to = make_float4(a, -2304 * a, b, -2304 * b);
        } else {
#pragma unroll
          for (int h = 0; h < GROUPS; h++) {
            const Scale a = scaleAt<D>(first, K, k + 16 * h), b = scaleAt<D>(second, K, k + 16 * h);
            to[h] = make_float4(a.scale, a.offset - 128 * a.scale, b.scale, b.offset - 128 * b.scale);
          }
        }
      }
    }
    __syncwarp();
#pragma unroll
    for (int u = 0; u < 4; u++) {
      uint4 b[MT];
      if (AHEAD == 0) {
        fetch(k0 + 32 * u, b);
      } else {
#pragma unroll
        for (int i = 0; i < MT; i++) b[i] = ahead[u % (AHEAD == 0 ? 1 : AHEAD)][i];
        if (AHEAD == 1) fetch(u < 3 ? k0 + 32 * (u + 1) : k0 + stride, ahead[0]);
        else fetch(k0 + stride + 32 * u, ahead[u % (AHEAD == 0 ? 1 : AHEAD)]);
      }
      float sums[GROUPS][MT][4] = {};
#pragma unroll
      for (int i = 0; i < MT; i++) {
        mma(sums[0][i], ONES, ONES, ONES, ONES, b[i].x, b[i].y);
        mma(sums[GROUPS - 1][i], ONES, ONES, ONES, ONES, b[i].z, b[i].w);
      }
#pragma unroll
      for (int j = 0; j < NT; j++) {
        const u8* from = own + (slot * NT + j) * S::BYTES;
        const float4* scale = ownScales + ((j * 4 + u) * 8 + g) * GROUPS;
        const float4 s = scale[0];
        if (D == Q6_K) {
          const float4 s1 = scale[1];
          const u8* low = from + g * S::PITCH + 16 * u + (q >> 1) * 4;
          const u8* up = from + S::HIGH_AT + g * S::HIGH + 8 * u + q;
          const int shift = 4 * (q & 1);
          const auto six = [&](int r, int half) {
            return sixBits(*(const u32*)(low + r * 8 * S::PITCH + 8 * half) >> shift, up[r * 8 * S::HIGH + 4 * half]);
          };
          const Four first = operands(six(0, 0), six(1, 0)), second = operands(six(0, 1), six(1, 1));
#pragma unroll
          for (int i = 0; i < MT; i++) {
            float d[4] = {}, e[4] = {};
            mma(d, first, b[i].x, b[i].y);
            mma(e, second, b[i].z, b[i].w);
#pragma unroll
            for (int r = 0; r < 4; r++) {
              float& to = c[j][i][r];
              to = fmaf(d[r], r < 2 ? s.x : s.z, fmaf(sums[0][i][r], r < 2 ? s.y : s.w, to));
              to = fmaf(e[r], r < 2 ? s1.x : s1.z, fmaf(sums[GROUPS - 1][i][r], r < 2 ? s1.y : s1.w, to));
            }
          }
        } else if (D == Q8) {
          const u8* at = from + g * S::PITCH + 32 * u + 8 * q;
          uint2 x = *(const uint2*)at, y = *(const uint2*)(at + 8 * S::PITCH);
          x.x ^= 0x80808080u, x.y ^= 0x80808080u, y.x ^= 0x80808080u, y.y ^= 0x80808080u;
          const Four low0 = operands(x.x & NIBBLES, y.x & NIBBLES), low1 = operands(x.y & NIBBLES, y.y & NIBBLES);
          const Four high0 = operands(x.x >> 4 & NIBBLES, y.x >> 4 & NIBBLES),
                     high1 = operands(x.y >> 4 & NIBBLES, y.y >> 4 & NIBBLES);
#pragma unroll
          for (int i = 0; i < MT; i++) {
            float d[4] = {}, e[4] = {};
            mma(d, low0, b[i].x, b[i].y);
            mma(e, high0, b[i].x, b[i].y);
            mma(d, low1, b[i].z, b[i].w);
            mma(e, high1, b[i].z, b[i].w);
#pragma unroll
            for (int r = 0; r < 4; r++)
              c[j][i][r] = fmaf(fmaf(16.0f, e[r], d[r]), r < 2 ? s.x : s.z,
                                fmaf(sums[0][i][r], r < 2 ? s.y : s.w, c[j][i][r]));
          }
        } else {
          const u8* at = from + g * S::PITCH + 16 * u + 4 * q;
          const u32 x = *(const u32*)at, y = *(const u32*)(at + 8 * S::PITCH);
          const Four first = operands(x & NIBBLES, y & NIBBLES), second = operands(x >> 4 & NIBBLES, y >> 4 & NIBBLES);
#pragma unroll
          for (int i = 0; i < MT; i++) {
            float d[4] = {};
            mma(d, first, b[i].x, b[i].y);
            mma(d, second, b[i].z, b[i].w);
#pragma unroll
            for (int r = 0; r < 4; r++)
              c[j][i][r] = fmaf(d[r], r < 2 ? s.x : s.z, fmaf(sums[0][i][r], r < 2 ? s.y : s.w, c[j][i][r]));
          }
        }
      }
    }
    __syncwarp();
    if (k0 + SLOTS * stride < K) load(k0 + SLOTS * stride, slot);
    endGroup();
    slot = slot + 1 == SLOTS ? 0 : slot + 1;
  }

  const int regs = NT * MT * 4;
  float* const meeting = (float*)slots;
  __syncthreads();
#pragma unroll
  for (int j = 0; j < NT; j++)
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
      for (int r = 0; r < 4; r++) meeting[(warp * regs + (j * MT + i) * 4 + r) * 32 + lane] = c[j][i][r];
  __syncthreads();
  // Value v of the block: token i · 8 + 2q + (r & 1), feature j · 16 + g, or 8 further for r > 1; paired, only the gates'
  // are gone through.
  const int tiles = PAIRED ? NT / 2 : NT;
  for (int v = t; v < tiles * MT * 128; v += blockDim.x) {
    const int at = v & 31, r = (v >> 5) & 3, i = (v >> 7) % MT, j = (v >> 7) / MT;
    const int m = i * 8 + 2 * (at & 3) + (r & 1), n = n0 + j * 16 + (at >> 2) + 8 * (r >> 1);
    if (m >= M || n >= N) continue;
    const size_t to = (size_t)(order ? order[m] : m0 + m) * p.stride + n;
    const float before = p.epilogue == ADD ? loadNumber(p.y, p.yType, to) : 0.0f;
    const int reg = (j * MT + i) * 4 + r;
    float value = 0, up = 0;
#pragma unroll
    for (int s = 0; s < WARPS; s++) {
      if (s >= warps) break;
      value += meeting[(s * regs + reg) * 32 + at];
      if (PAIRED) up += meeting[(s * regs + reg + tiles * MT * 4) * 32 + at];
    }
    const float scale = X == X_NORM ? rowScales[m] : 1.0f;
    value = value * scale + (p.bias ? p.bias[n] : 0.0f);
    if (PAIRED) value = silu(value) * (up * scale + (p.bias ? p.bias[N + n] : 0.0f));
    storeNumber(p.y, p.yType, to, before + value);
  }
}

// KIND, the weights' format, is chosen where this file is compiled. BLOCKS should fit a multiprocessor at a time.
#define QUANTIZED(name, NT, PAIRED, X, MT, BLOCKS)                                                                    \
  KERNEL __launch_bounds__(256, BLOCKS) name(const void* x, const float* normWeight, float epsilon, const u8* w,     \
                                             const float* bias, void* y, int yType, int M, int N, int K, int stride, \
                                             int epilogue, const u32* tiles, const u32* order, int perToken) {       \
    quantized<KIND, NT, PAIRED, X, MT>(                                                                              \
        {x, normWeight, epsilon, w, bias, y, yType, M, N, K, stride, epilogue, tiles, order, perToken});             \
  }
QUANTIZED(norm_n16, 1, false, X_NORM, 1, 3)
QUANTIZED(norm_pair16, 2, true, X_NORM, 1, 3)
QUANTIZED(shared_n16, 1, false, X_SHARED, 1, 3)
QUANTIZED(shared_n32, 2, false, X_SHARED, 1, 3)
QUANTIZED(global8_n16, 1, false, X_GLOBAL, 1, 3)
QUANTIZED(global8_pair16, 2, true, X_GLOBAL, 1, 3)
QUANTIZED(global16_n16, 1, false, X_GLOBAL, 2, 2)
QUANTIZED(global16_pair16, 2, true, X_GLOBAL, 2, 2)
QUANTIZED(global32_n32, 2, false, X_GLOBAL, 4, 2)
QUANTIZED(global32_pair16, 2, true, X_GLOBAL, 4, 2)
