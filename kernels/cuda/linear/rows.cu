// Products of few rows (1 to 8) with large matrices, and of the rows of experts: whatever a multiprocessor reads is one
// long stream through shared memory.
//
// A block stays, and goes through items: 16 weight rows (paired: 8 gate rows and their up rows) for up to 8 rows of
// one expert. Its warps take the pieces of its items in turn, across the ends of items: a piece is 128 bytes of each of
// the sixteen rows, which a warp fetches to slots of its own (cp.async) as soon as it has used them. So weights are on
// their way while sums meet, an expert's rows of the input are brought once for its items, and experts of any number
// take as many blocks as run at once. Weight rows are the rows of mma.sync's first operand, rows of the input the columns of
// the second. int8 numbers become bfloat16 exactly: with m the lower seven bits and s the sign, the bfloat16 0x4300 | m
// is 128 + m, 0x4300 | 128 · s is 128 or 256, and their difference the number. Rows of q8 may begin at half of sixteen
// bytes: then whole sixteens around them are fetched, and rows stand in an order that keeps such apart from others, so
// that lanes of one phase meet no bank twice.
//
// Grid: as many blocks as run at once. Bound by reading the weights.

#include "warp.cuh"

template <int D> DEVICE void multiply(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  if (D == F16)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  else
    mma(c, a0, a1, a2, a3, b0, b1);
}
DEVICE void copy8(u32 to, const void* from, int count) {
  asm volatile("cp.async.ca.shared.global.L2::128B [%0], [%1], 8, %2;" ::"r"(to), "l"(from), "r"(count));
}
// a + b, pairs of bfloat16.
DEVICE u32 addBf16(u32 a, u32 b) {
  u32 sum;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(0x3f803f80u), "r"(b));
  return sum;
}
// Four int8 numbers as two pairs of bfloat16.
DEVICE uint2 int8Pairs(u32 word) {
  const u32 low = word & 0x7f7f7f7fu, sign = word & 0x80808080u;
  return make_uint2(addBf16(__byte_perm(low, 0x43434343u, 0x4140), __byte_perm(sign, 0xc3c3c3c3u, 0x4140)),
                    addBf16(__byte_perm(low, 0x43434343u, 0x4342), __byte_perm(sign, 0xc3c3c3c3u, 0x4342)));
}

struct Arguments {
  const void* x;            // rows of K 16-bit numbers, or float32 with a norm
  const float* normWeight;  // [K], for NORM
  float epsilon;
  const u8* w;              // [N, K], or [2 N, K] paired, or as many of them as there are experts
  const float* bias;        // [N] or [2 N], or as many of them as there are experts, or null
  void* y;                  // rows of N, `stride` apart
  int yType, M, N, K;       // M: rows; of experts, most rows of a tile
  int stride;
  int epilogue;             // STORE or ADD
  const u32* tiles;         // null, or their number and (expert, first, rows) triples
  const u32* order;         // pairs in the order of their experts
  int perToken;             // the row of x of a pair is pair / perToken
  int known;                // the kernel in front of this one has not written the tiles
  Gate gate;                // for PAIRED
  int slots;                // of a warp, 2 to 4
};

// A piece: its columns, and bytes of a slot, with four scales of each row behind the numbers.
template <int D> struct Slot {
  static const int COLUMNS = D == Q8 ? 128 : 64, PITCH = D == Q8 ? 160 : 128, SCALES_AT = 16 * PITCH;
  static const int BYTES = SCALES_AT + (D == Q8 ? 128 : 0);
};
// Runs of 256 columns whose squares are added up apart.
const int SQUARES = 32;
// Rows of the input at most: the columns of an mma.
const int ROWS = 8;

// Dynamic shared memory: the warps' sums of two items, [2][warps][4][32] floats; rows of the output of two tiles,
// [2][ROWS]; with NORM sums of squares, [ROWS][SQUARES], and the rows' scales, [ROWS]; the input, [M] rows of K numbers,
// filled up to whole pieces, and 64 bytes; the slots, which begin at a multiple of 128 bytes, as the lines do that are copied
// to them.
template <int D, bool PAIRED, bool NORM> DEVICE void multiplyRows(const Arguments& p) {
  typedef Slot<D> S;
  extern __shared__ __align__(128) u8 memory[];
  const int t = threadIdx.x, lane = t & 31, warp = t >> 5, warps = blockDim.x >> 5, g = lane >> 2, q = lane & 3;
  const int K = p.K, N = p.N, FEATURES = PAIRED ? 8 : 16;
  const u32 itemsOfTile = (N + FEATURES - 1) / FEATURES;
  const int pieces = (K + S::COLUMNS - 1) / S::COLUMNS, pitch = 2 * pieces * S::COLUMNS + 64;
  const u32 rowBytes = matrixRowBytes(D, K);
  float* const meeting = (float*)memory;
  u32* const outRows = (u32*)(meeting + 2 * warps * 128);
  float* const squares = (float*)(outRows + 2 * ROWS);
  float* const rowScales = squares + ROWS * SQUARES;
  u8* const input = (u8*)(squares + (NORM ? ROWS * (SQUARES + 1) : 0));
  u8* const own = memory + (input + p.M * pitch - memory + 127) / 128 * 128 + warp * p.slots * S::BYTES;
  const u32 ownAt = (u32)__cvta_generic_to_shared(own);

  if (p.tiles && !p.known) waitForPrevious();
  const u32 total = (p.tiles ? p.tiles[0] : 1) * itemsOfTile;
  const u32 first = (u64)total * blockIdx.x / gridDim.x, last = (u64)total * (blockIdx.x + 1) / gridDim.x;
  const auto expertOf = [&](u32 tile) { return p.tiles ? p.tiles[1 + 3 * tile] : 0; };
  // Where an item is. Tiles of one expert take turns, of as many items as a block has: then blocks that are beside each
  // other read the same weights at the same time, all but one of them from the cache.
  struct Place {
    u32 item, tile, within, left;
  };
  const auto placeOf = [&](u32 item) -> Place {
    u32 begin = item / itemsOfTile, end = begin + 1;
    // Fewer than ROWS tokens have no expert with two tiles.
    if (p.tiles && p.M == ROWS && item < total) {
      const u32 expert = expertOf(begin), tiles = p.tiles[0];
      while (begin > 0 && expertOf(begin - 1) == expert) begin--;
      while (end < tiles && expertOf(end) == expert) end++;
    }
    const u32 rest = item - begin * itemsOfTile, count = end - begin;
    if (count == 1) return {item, begin, rest, itemsOfTile - rest};
    const u32 turn = total > gridDim.x ? total / gridDim.x : 1, start = rest / (count * turn) * turn;
    const u32 length = min(turn, itemsOfTile - start), inside = rest - start * count;
    return {item, begin + inside / length, start + inside % length, length - inside % length};
  };
  const auto advance = [&](Place& place) {
    if (--place.left > 0) place.item++, place.within++;
    else place = placeOf(place.item + 1);
  };
  // Feature of an item at row r (0 to 7) of a half of a slot: with q8 even ones, then odd ones.
  const auto featureAt = [](int r) { return D == Q8 ? (r << 1 & 7) | r >> 2 : r; };
  const auto rowOf = [&](const u8* matrix, u32 within, int r) {
    const int feature = featureAt(r & 7), half = r >> 3;
    const int n = min((int)within * FEATURES + feature + (PAIRED ? 0 : 8 * half), N - 1);
    return matrix + (u64)(PAIRED && half ? N + n : n) * rowBytes;
  };

  // What is fetched next: a piece of an item, from these rows. Four rows are copied at a time, eight lanes each; with q8
  // the first half of the lanes brings scales, the second what a shifted row has in a ninth sixteen.
  const Place begin = placeOf(first);
  Place next = begin;
  int nextPiece = warp;
  const u8* matrix = p.w;
  const u8* from[4];
  const u8* extra = nullptr;
  u32 shifts = 0;
  const auto enter = [&](bool newTile) {
    if (newTile) matrix = p.w + (u64)expertOf(next.tile) * (PAIRED ? 2 * N : N) * rowBytes;
    shifts = 0;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      from[j] = rowOf(matrix, next.within, 4 * j + (lane >> 3));
      const u32 shift = D == Q8 ? (u64)from[j] & 8 : 0;
      from[j] -= shift, shifts |= shift << 4 * j;
    }
    if (D == Q8) extra = rowOf(matrix, next.within, lane & 15);
  };
  const auto settle = [&]() {
    bool moved = false, newTile = false;
    while (nextPiece >= pieces && next.item < last) {
      const u32 tile = next.tile;
      advance(next);
      nextPiece -= pieces, moved = true, newTile |= next.tile != tile;
    }
    if (moved && next.item < last) enter(newTile);
  };
  const auto loadNext = [&](int slot) {
    if (next.item < last) {
      const u32 to = ownAt + slot * S::BYTES;
      const int c = lane & 7, k = nextPiece * S::COLUMNS;
      if (D == Q8) {
#pragma unroll
        for (int j = 0; j < 4; j++)
          copy16(to + (4 * j + (lane >> 3)) * S::PITCH + 16 * c, from[j] + k + 16 * c, k + 16 * c < K + (int)(shifts >> 4 * j & 8));
        const int r = lane & 15;
        if (lane < 16) {
          copy8(to + S::SCALES_AT + 8 * r, extra + K + 8 * nextPiece, min(8, 2 * ((K - k + 31) / 32)));
        } else if ((u64)extra & 8 && k + 120 < K) {
          copy16(to + r * S::PITCH + 128, extra + k + 120);
        }
      } else {
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const int r = 4 * j + (lane >> 3);
          copy16(to + r * S::PITCH + 16 * (c ^ (r & 1) << 2), from[j] + 2 * k + 16 * c, k + 8 * c < K);
        }
      }
      nextPiece += warps;
      settle();
    }
    endGroup();
  };
  if (first < last) enter(true);
  settle();
  for (int s = 0; s < p.slots; s++) loadNext(s);
  if (!p.tiles || p.known) waitForPrevious();
  letNextStart();

  u32 staged = 0xffffffffu, stagedRow = 0, expert = 0;
  int M = p.M;
  // Brings the rows of a tile; all threads, none of which reads other ones any more.
  const auto stage = [&](u32 tile) {
    const bool had = staged != 0xffffffffu && M == 1;
    staged = tile, expert = expertOf(tile);
    const u32* order = nullptr;
    if (p.tiles) order = p.order + p.tiles[2 + 3 * tile], M = p.tiles[3 + 3 * tile];
    const auto source = [&](int m) { return order ? order[m] / p.perToken : (u32)m; };
    if (t < M) outRows[ROWS * (tile & 1) + t] = order ? order[t] : t;
    const u32 row = source(0);
    if (had && M == 1 && row == stagedRow) return __syncthreads();
    stagedRow = row;
    if (NORM) {
      const int runs = (pieces * S::COLUMNS + 255) / 256;
      for (int i = warp; i < M * runs; i += warps) {
        const int m = i / runs, run = i - m * runs, k = run * 256 + lane * 8;
        float sum = 0;
        uint4 packed = make_uint4(0, 0, 0, 0);
        if (k < K) {
          float v[8], norm[8];
          load8(p.x, F32, (size_t)m * K + k, v);
          load8(p.normWeight, F32, k, norm);
#pragma unroll
          for (int e = 0; e < 8; e++) sum += v[e] * v[e], v[e] *= norm[e];
          packed = make_uint4(packBf16(v[0], v[1]), packBf16(v[2], v[3]), packBf16(v[4], v[5]), packBf16(v[6], v[7]));
        }
        if (k < pieces * S::COLUMNS) *(uint4*)(input + m * pitch + 2 * k) = packed;
        sum = warpSum(sum);
        if (lane == 0) squares[m * SQUARES + run] = sum;
      }
      __syncthreads();
      if (t < M) {
        float sum = 0;
        for (int run = 0; run < runs; run++) sum += squares[t * SQUARES + run];
        rowScales[t] = rsqrtf(sum / K + p.epsilon);
      }
    } else {
      const int octets = pieces * S::COLUMNS / 8;
#pragma unroll 2
      for (int i = t; i < M * octets; i += blockDim.x) {
        const int m = i / octets, k = (i - m * octets) * 8;
        uint4 v = make_uint4(0, 0, 0, 0);
        if (k < K) v = *(const uint4*)((const u16*)p.x + (size_t)source(m) * K + k);
        *(uint4*)(input + m * pitch + 2 * k) = v;
      }
    }
    __syncthreads();
  };

  int piece = warp, slot = 0, half = 0;
  for (Place place = begin; place.item < last; advance(place)) {
    const u32 item = place.item, tile = place.tile, within = place.within;
    if (tile != staged) stage(tile);
    // Where this lane's operands are: rows g and g + 8, from byte `at` of a unit on, and rows of the input.
    const u8* places[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      places[h] = own + (g + 8 * h) * S::PITCH + (D == Q8 ? 8 * q : 0);
      if (D == Q8 && rowBytes & 8) {
        const u8* matrix = p.w + (u64)expert * (PAIRED ? 2 * N : N) * rowBytes;
        places[h] += (u64)rowOf(matrix, within, g + 8 * h) & 8;
      }
    }
    const u8* const rowOfX = input + min(g, M - 1) * pitch + 16 * q;
    // The number that this thread makes of the warps' sums, if there is one for it: of lane v % 32, register v / 32, which
    // is row 2q + (r & 1) of the input, feature g, or of the second half. Items take different warps for it. What it is
    // added to is on its way during the product.
    const u32 v = (t + (item << 7)) & (blockDim.x - 1);
    const int ofLane = v & 31, ofRegister = v >> 5, m = 2 * (ofLane & 3) + (ofRegister & 1);
    const int n = within * FEATURES + featureAt(ofLane >> 2) + (PAIRED ? 0 : 8 * (ofRegister >> 1));
    const bool stores = v < (PAIRED ? 64 : 128) && m < M && n < N;
    size_t to = 0;
    float bias = 0, upBias = 0, before = 0;
    if (stores) {
      to = (size_t)outRows[ROWS * (tile & 1) + m] * p.stride + n;
      if (p.bias) {
        const float* of = p.bias + (size_t)expert * (PAIRED ? 2 * N : N) + n;
        bias = of[0];
        if (PAIRED) upBias = of[N];
      }
      if (p.epilogue == ADD) before = loadNumber(p.y, p.yType, to);
    }
    float c[4] = {};
    for (; piece < pieces; piece += warps) {
      if (p.slots == 2) waitGroups<1>();
      else if (p.slots == 3) waitGroups<2>();
      else waitGroups<3>();
      __syncwarp();
      const int at = slot * S::BYTES;
      if (D == Q8) {
        const uint2 s0 = *(const uint2*)(own + at + S::SCALES_AT + 8 * g);
        const uint2 s1 = *(const uint2*)(own + at + S::SCALES_AT + 8 * (g + 8));
#pragma unroll
        for (int u = 0; u < 4; u++) {
          const uint2 x = *(const uint2*)(places[0] + at + 32 * u), y = *(const uint2*)(places[1] + at + 32 * u);
          const u32 w0 = u < 2 ? s0.x : s0.y, w1 = u < 2 ? s1.x : s1.y;
          const float f0 = u & 1 ? highF16(w0) : lowF16(w0), f1 = u & 1 ? highF16(w1) : lowF16(w1);
          const uint2 x0 = int8Pairs(x.x), x1 = int8Pairs(x.y), y0 = int8Pairs(y.x), y1 = int8Pairs(y.y);
          const uint4 b = *(const uint4*)(rowOfX + 2 * (piece * S::COLUMNS + 32 * u));
          float d[4] = {};
          mma(d, x0.x, y0.x, x0.y, y0.y, b.x, b.y);
          mma(d, x1.x, y1.x, x1.y, y1.y, b.z, b.w);
#pragma unroll
          for (int r = 0; r < 4; r++) c[r] = fmaf(d[r], r < 2 ? f0 : f1, c[r]);
        }
      } else {
#pragma unroll
        for (int u = 0; u < 2; u++) {
          const int chunk = 16 * ((4 * u + q) ^ (g & 1) << 2);
          const uint4 x = *(const uint4*)(places[0] + at + chunk), y = *(const uint4*)(places[1] + at + chunk);
          const uint4 b = *(const uint4*)(rowOfX + 2 * (piece * S::COLUMNS + 32 * u));
          multiply<D>(c, x.x, y.x, x.y, y.y, b.x, b.y);
          multiply<D>(c, x.z, y.z, x.w, y.w, b.z, b.w);
        }
      }
      __syncwarp();
      loadNext(slot);
      slot = slot + 1 == p.slots ? 0 : slot + 1;
    }
    piece -= pieces;
    float* const sums = meeting + half * warps * 128;
#pragma unroll
    for (int r = 0; r < 4; r++) sums[(warp * 4 + r) * 32 + lane] = c[r];
    // Two items on, all warps have passed the next barrier, and so have been read here.
    __syncthreads();
    if (stores) {
      float value = 0, up = 0;
#pragma unroll 1
      for (int s0 = 0; s0 < warps; s0 += 8) {
#pragma unroll
        for (int s = s0; s < s0 + 8; s++) {
          value += sums[(s * 4 + ofRegister) * 32 + ofLane];
          if (PAIRED) up += sums[(s * 4 + ofRegister + 2) * 32 + ofLane];
        }
      }
      const float scale = NORM ? rowScales[m] : 1.0f;
      value = value * scale + bias;
      if (PAIRED) value = gateMul(p.gate, value, up * scale + upBias);
      storeNumber(p.y, p.yType, to, before + value);
    }
    half ^= 1;
  }
}

// KIND, how weights are stored, is chosen where this file is compiled.
#define KERNEL_OF_ROWS(name, PAIRED, NORM)                                                                            \
  KERNEL __launch_bounds__(512, 1) name(const void* x, const float* normWeight, float epsilon, const u8* w,           \
                                        const float* bias, void* y, int yType, int M, int N, int K, int stride,       \
                                        int epilogue, const u32* tiles, const u32* order, int perToken, int known,    \
                                        float alpha, float beta, float limit, float plus, int slots) {                \
    multiplyRows<KIND, PAIRED, NORM>({x, normWeight, epsilon, w, bias, y, yType, M, N, K, stride, epilogue, tiles,    \
                                      order, perToken, known, {alpha, beta, limit, plus}, slots});                    \
  }
KERNEL_OF_ROWS(rows, false, false)
KERNEL_OF_ROWS(rows_pair, true, false)
#ifdef WITH_NORM
KERNEL_OF_ROWS(rows_norm, false, true)
KERNEL_OF_ROWS(rows_norm_pair, true, true)
#endif
