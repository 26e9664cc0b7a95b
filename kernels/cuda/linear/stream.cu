// Products for one token with weights of four, six and eight bits: a matrix is one long stream through shared memory.
//
// A block stays, and goes through tiles of 16 weight rows (paired: 8 gate rows and their up rows); its warps share the
// sum, and each has slots of 256 columns of the sixteen rows, numbers and scales, that it fills (cp.async) as soon as it
// has used them, across the ends of tiles. So the input is brought, normalised and added up once for all tiles.
//
// One token would leave seven of mma.sync's eight columns without work. Here column n is the token's columns of unit n
// (32 columns, one scale): a lane's 16 bytes of four-bit numbers are a unit, so the four lanes of a row hold four units
// of one product, and the token's operand is zero but where lane and column name the same unit. Sixteen products give
// the sums of a row's eight units apart, with a scale each, which the lane with these sums decodes for itself.
// Σ a · (scale · q + offset) = scale · (Σ a · (128 + q) - 128 · Σ a) + offset · Σ a, and Σ a of each unit is known from
// the start; digits.cuh says how numbers become operands. int8 numbers are taken apart into 16 · high + low - 128.
//
// Grid: as many blocks as run at once, or tiles. Bound by reading the weights.

#include "digits.cuh"

const int WARPS = 8, SQUARES = 32;
const u32 NIBBLES = 0x0f0f0f0fu;

// A slot: 256 columns of sixteen rows. Sixteen bytes of a row stand where lanes of one phase meet no bank twice.
template <int D> struct Slot {
  static const int NUMBERS = D == Q8 ? 256 : 128, UPPER = D == Q6_K ? 64 : 0, SCALES = D == Q4_1 ? 32 : 16;
  static const int OUTER = D == Q4_K || D == Q6_K ? 4 : 0;
  static const int UPPER_AT = 16 * NUMBERS, SCALES_AT = UPPER_AT + 16 * UPPER, OUTER_AT = SCALES_AT + 16 * SCALES;
  static const int BYTES = OUTER_AT + 16 * OUTER;
  static DEVICE int place(int row, int piece) {
    return row * NUMBERS + 16 * (piece ^ (D == Q8 ? row & 1 : (row & 1) << 2));
  }
  static DEVICE int upperPlace(int row, int unit) { return UPPER_AT + 64 * row + 8 * (unit ^ (row & 2) << 1); }
};

struct Arguments {
  const void* x;            // [K] bfloat16, or float32 with a norm
  const float* normWeight;  // [K] or null
  float epsilon;
  const u8* w;              // [N, K], or [2 N, K] paired
  const float* bias;        // [N] or [2 N], or null
  void* y;                  // [N]
  int yType, N, K;          // K is a multiple of 256, N of a tile's features
  int epilogue;
  int slots;                // of a warp, 2 or 3
};

// Dynamic shared memory: 64 bytes of zeros, sums of squares, [SQUARES] floats; the warps' sums of two tiles,
// [2][WARPS][16] floats; the input, [K] bfloat16, and the sums of its units (Q6_K: halves of units), floats; the slots.
template <int D, bool PAIRED, bool NORM> DEVICE void stream(const Arguments& p) {
  typedef Slot<D> S;
  const int FEATURES = PAIRED ? 8 : 16, GROUP = D == Q6_K ? 16 : 32;
  if (NORM) letNextStart();
  extern __shared__ __align__(128) u8 memory[];
  const int t = threadIdx.x, lane = t & 31, warp = t >> 5, warps = blockDim.x >> 5, g = lane >> 2, q = lane & 3;
  const int K = p.K, N = p.N, steps = K / 256, tiles = N / FEATURES, slots = p.slots;
  const u32 rowBytes = matrixRowBytes(D, K), scaleStart = scalesAt(D, K), outerStart = scaleStart + K / 16;
  float* const squares = (float*)(memory + 64);
  float* const meeting = squares + SQUARES;
  u8* const input = (u8*)(meeting + 2 * WARPS * 16);
  float* const unitSums = (float*)(input + 2 * K);
  u8* const own = (u8*)(unitSums + K / GROUP) + warp * slots * S::BYTES;
  const u32 ownAt = (u32)__cvta_generic_to_shared(own);

  const auto load = [&](int tile, int step, int slot) {
    const u8* from = p.w + (size_t)tile * FEATURES * rowBytes;
    const u32 to = ownAt + slot * S::BYTES;
    const auto row = [&](int r) { return from + (size_t)(PAIRED && r >= 8 ? N + r - 8 : r) * rowBytes; };
    const int PIECES = S::NUMBERS / 16;
#pragma unroll
    for (int j = 0; j < PIECES / 2; j++) {
      const int r = (j * 32 + lane) / PIECES, piece = lane % PIECES;
      copy16(to + S::place(r, piece), row(r) + S::NUMBERS * step + 16 * piece);
    }
    if (D == Q6_K) {
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const int r = j * 8 + lane / 4, unit = lane % 4 * 2;
        copy16(to + S::upperPlace(r, unit), row(r) + K / 2 + 64 * step + 8 * unit);
      }
    }
    if (lane < S::SCALES) {
      const int r = lane * 16 / S::SCALES, at = lane * 16 % S::SCALES;
      copy16(to + S::SCALES_AT + lane * 16, row(r) + scaleStart + S::SCALES * step + at);
    }
    // Six bits: the word that has the step's float16.
    if (S::OUTER && lane >= 16)
      copy4(to + S::OUTER_AT + 4 * (lane - 16), row(lane - 16) + outerStart + (D == Q4_K ? 4 * step : 2 * step & ~3));
  };
  // A warp takes every `warps`-th step of a tile; all warps go as often round, the last time maybe without a step.
  const int rounds = (steps + warps - 1) / warps;
  int nextTile = blockIdx.x, nextRound = 0;
  const auto loadNext = [&](int slot) {
    const int step = nextRound * warps + warp;
    if (nextTile < tiles && step < steps) load(nextTile, step, slot);
    endGroup();
    if (++nextRound == rounds) nextRound = 0, nextTile += gridDim.x;
  };
  for (int s = 0; s < slots; s++) loadNext(s);
  waitForPrevious();

  if (t < 16) ((u32*)memory)[t] = 0;
  // Eight numbers of the input, as bfloat16; their sum, with those of the other lanes of the unit.
  const auto bring = [&](int k, uint4 v) {
    *(uint4*)(input + 2 * k) = v;
    float sum = (lowBf16(v.x) + highBf16(v.x)) + (lowBf16(v.y) + highBf16(v.y)) +
                ((lowBf16(v.z) + highBf16(v.z)) + (lowBf16(v.w) + highBf16(v.w)));
#pragma unroll
    for (int mask = 1; mask < GROUP / 8; mask *= 2) sum += __shfl_xor_sync(~0u, sum, mask);
    if (k % GROUP == 0) unitSums[k / GROUP] = sum;
  };
  for (int run = warp; run < steps; run += warps) {
    const int k = run * 256 + lane * 8;
    if (NORM) {
      float v[8], norm[8], sum = 0;
      load8(p.x, F32, k, v);
      load8(p.normWeight, F32, k, norm);
#pragma unroll
      for (int e = 0; e < 8; e++) sum += v[e] * v[e], v[e] *= norm[e];
      bring(k, make_uint4(packBf16(v[0], v[1]), packBf16(v[2], v[3]), packBf16(v[4], v[5]), packBf16(v[6], v[7])));
      sum = warpSum(sum);
      if (lane == 0) squares[run] = sum;
    } else {
      bring(k, *(const uint4*)((const u16*)p.x + k));
    }
  }
  if (!NORM) letNextStart();
  __syncthreads();
  float scale = 1;
  if (NORM && t < FEATURES) {
    float sum = 0;
    for (int run = 0; run < steps; run++) sum += squares[run];
    scale = rsqrtf(sum / K + p.epsilon);
  }
  // This lane's part of the token's operand in the lower and the upper four units: zeros but where it is its column's.
  const u8* const unitInput = input + 64 * g;
  const bool mine[2] = {g == q, g == q + 4};

  int slot = 0, half = 0;
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int n = tile * FEATURES + t;
    const float before = t < FEATURES && p.epilogue == ADD ? loadNumber(p.y, p.yType, n) : 0.0f;
    float c[2] = {};
#pragma unroll 1
    for (int round = 0; round < rounds; round++) {
      if (slots == 2) waitGroups<1>();
      else waitGroups<2>();
      __syncwarp();
      const int step = round * warps + warp;
      if (step < steps) {
        const u8* at = own + slot * S::BYTES;
        float d[4] = {}, e[4] = {};
#pragma unroll
        for (int h = 0; h < 2; h++) {
          const int unit = 4 * h + q;
          const u8* xs = mine[h] ? unitInput + 512 * step : memory;
          if (D == Q8) {
#pragma unroll
            for (int part = 0; part < 2; part++) {
              const u8* numbers = at + S::place(g, 2 * unit + part);
              const uint4 x = *(const uint4*)numbers, y = *(const uint4*)(numbers + 8 * S::NUMBERS);
              const u32 rows[4] = {x.x, x.y, x.z, x.w}, others[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
              for (int j = 0; j < 4; j++) {
                const uint2 b = *(const uint2*)(xs + 32 * part + 8 * j);
                const u32 row = rows[j] ^ 0x80808080u, other = others[j] ^ 0x80808080u;
                mma(d, operands(row & NIBBLES, other & NIBBLES), b.x, b.y);
                mma(e, operands(row >> 4 & NIBBLES, other >> 4 & NIBBLES), b.x, b.y);
              }
            }
          } else {
            const u8* numbers = at + S::place(g, unit);
            const uint4 x = *(const uint4*)numbers, y = *(const uint4*)(numbers + 8 * S::NUMBERS);
            const u32 rows[4] = {x.x, x.y, x.z, x.w}, others[4] = {y.x, y.y, y.z, y.w};
            uint2 u = make_uint2(0, 0), v = u;
            if (D == Q6_K) u = *(const uint2*)(at + S::upperPlace(g, unit)), v = *(const uint2*)(at + S::upperPlace(g + 8, unit));
#pragma unroll
            for (int j = 0; j < 4; j++) {
              const uint4 b = *(const uint4*)(xs + 16 * j);
              u32 row = rows[j], other = others[j], rowHigh = row >> 4, otherHigh = other >> 4;
              if (D == Q6_K) {
                const u32 up = (j < 2 ? u.x : u.y) >> 16 * (j & 1), otherUp = (j < 2 ? v.x : v.y) >> 16 * (j & 1);
                row = sixBits(row, up & 255), other = sixBits(other, otherUp & 255);
                rowHigh = sixBits(rowHigh, up >> 8 & 255), otherHigh = sixBits(otherHigh, otherUp >> 8 & 255);
              } else {
                row &= NIBBLES, other &= NIBBLES, rowHigh &= NIBBLES, otherHigh &= NIBBLES;
              }
              // Two chains of sums; of six bits, the two halves of units.
              float (&sums)[4] = j < 2 ? d : e;
              mma(sums, operands(row, other), b.x, b.y);
              mma(sums, operands(rowHigh, otherHigh), b.z, b.w);
            }
          }
        }
        // Units 2q and 2q + 1 of rows g and g + 8.
        const u8* scales = at + S::SCALES_AT + S::SCALES * g;
        const float* const sums = unitSums + 256 / GROUP * step;
        const float2 s = ((const float2*)sums)[GROUP == 16 ? 2 * q : q];
        const float2 s2 = GROUP == 16 ? ((const float2*)sums)[2 * q + 1] : s;
#pragma unroll
        for (int r = 0; r < 2; r++, scales += 8 * S::SCALES) {
          const float d0 = d[2 * r], d1 = d[2 * r + 1], e0 = e[2 * r], e1 = e[2 * r + 1];
          if (D == Q4_1) {
            const uint2 pairs = ((const uint2*)scales)[q];
            c[r] += lowF16(pairs.x) * (d0 + e0 - 128 * s.x) + highF16(pairs.x) * s.x;
            c[r] += lowF16(pairs.y) * (d1 + e1 - 128 * s.y) + highF16(pairs.y) * s.y;
            continue;
          }
          const u32 word = ((const u32*)scales)[q];
          const u32 outer = S::OUTER ? *(const u32*)(at + S::OUTER_AT + 4 * (g + 8 * r)) : 0;
          if (D == Q8) c[r] += lowF16(word) * (16 * e0 + d0 - 2304 * s.x) + highF16(word) * (16 * e1 + d1 - 2304 * s.y);
          if (D == Q4_0) c[r] += lowF16(word) * (d0 + e0 - 136 * s.x) + highF16(word) * (d1 + e1 - 136 * s.y);
          if (D == Q4_K) {
            c[r] += lowF16(outer) * (byteAsFloat(word, 0) * (d0 + e0 - 128 * s.x) +
                                     byteAsFloat(word, 2) * (d1 + e1 - 128 * s.y));
            c[r] -= highF16(outer) * (byteAsFloat(word, 1) * s.x + byteAsFloat(word, 3) * s.y);
          }
          if (D == Q6_K) {
            const u32 flipped = word ^ 0x80808080u;
            c[r] += fromF16((u16)(step & 1 ? outer >> 16 : outer)) *
                    ((signedByte(flipped, 0) * (d0 - 160 * s.x) + signedByte(flipped, 1) * (e0 - 160 * s.y)) +
                     (signedByte(flipped, 2) * (d1 - 160 * s2.x) + signedByte(flipped, 3) * (e1 - 160 * s2.y)));
          }
        }
      }
      __syncwarp();
      loadNext(slot);
      slot = slot + 1 == slots ? 0 : slot + 1;
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
      c[r] += __shfl_xor_sync(~0u, c[r], 1);
      c[r] += __shfl_xor_sync(~0u, c[r], 2);
      if (q == 0) meeting[(half * WARPS + warp) * 16 + 8 * r + g] = c[r];
    }
    // Two tiles on, all warps have passed the next barrier, and so have been read here.
    __syncthreads();
    if (t < FEATURES) {
      float value = 0, up = 0;
      for (int s = 0; s < warps; s++) {
        value += meeting[(half * WARPS + s) * 16 + t];
        if (PAIRED) up += meeting[(half * WARPS + s) * 16 + 8 + t];
      }
      value = value * scale + (p.bias ? p.bias[n] : 0.0f);
      if (PAIRED) value = silu(value) * (up * scale + (p.bias ? p.bias[N + n] : 0.0f));
      storeNumber(p.y, p.yType, n, before + value);
    }
    half ^= 1;
  }
}

// KIND, the weights' format, is chosen where this file is compiled.
#define STREAM(name, PAIRED, NORM)                                                                                   \
  KERNEL __launch_bounds__(256, 3) name(const void* x, const float* normWeight, float epsilon, const u8* w,           \
                                        const float* bias, void* y, int yType, int N, int K, int epilogue, int slots) { \
    stream<KIND, PAIRED, NORM>({x, normWeight, epsilon, w, bias, y, yType, N, K, epilogue, slots});                  \
  }
STREAM(stream_norm, false, true)
STREAM(stream_norm_pair, true, true)
STREAM(stream_plain, false, false)
