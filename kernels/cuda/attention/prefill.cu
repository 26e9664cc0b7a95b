// Attention of prompts over paged keys and values: FlashAttention-2 (Dao 2023, arXiv 2307.08691) on mma.sync, causal,
// with the query heads that share a key/value head stacked as rows.
//
// Grid: (kvHeads · blocks of heads, tiles), the last tiles first because they see the most keys; how many tiles there
// are is read from the plan. A tile is a few consecutive tokens of one sequence, ROWS (token, head) rows. Workgroup:
// a warp has 16 rows: their queries, 64 scores each, and outputs in registers; the online softmax needs shuffles
// among four lanes only. Blocks of 64 keys, then their values, are staged by cp.async page by page, one behind the
// other: values arrive during q · k, the next keys during the second product. Places of the next keys are looked up a
// block ahead. With INT8 the threads expand what they brought to float16, scales included. Rows in shared memory are
// padded to an odd number of 16-byte pieces against bank conflicts. Bound by mma.sync and by reading shared memory.
#include "paged.cuh"

template <class E, int D, int ROWS>
__device__ __forceinline__ void prefill(const Attention& p) {
  const int KEYS = 64, threads = ROWS * 2, P = (D / 8) | 1, KK = D / 16;
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ u32 slots[2][KEYS];
#ifdef INT8
  __shared__ float2 scales[2][KEYS];
#endif
  const int t = threadIdx.x, lane = t & 31, warp = t >> 5, g = lane >> 2, q = lane & 3;
  letLaterBegin();
  afterEarlier();
  const int tiles = p.plan[TILES];
  if ((int)blockIdx.y >= tiles) return;
  const u32* entry = p.plan + p.plan[TILES_AT] + 4 * (tiles - 1 - blockIdx.y);
  const int token = entry[0], position = entry[2], tokens = entry[3], last = position + tokens - 1;
  const u32 row = entry[1];
  const int perKv = p.numHeads / p.numKvHeads, heads = minimum(perKv, ROWS), blocks = (perKv + heads - 1) / heads;
  const int kvHead = blockIdx.x / blocks, pieces = p.headDim / 8;
  // The last block of a group may begin earlier and repeat heads of the one before it.
  const int head = kvHead * perKv + minimum(blockIdx.x % blocks * heads, perKv - heads), rows = tokens * heads;
  const u32 queriesAt = sharedAddress(memory), keysAt = queriesAt + ROWS * P * 16, valuesAt = keysAt + KEYS * P * 16;

#pragma unroll 1
  for (int i = t; i < ROWS * (D / 8); i += threads) {
    const int r = i / (D / 8), piece = i % (D / 8), of = r / heads;
    const bool inside = r < rows && piece < pieces;
    const u16* from = p.queries + (size_t)(token + of) * p.queryStride + (head + r % heads) * p.headDim + piece * 8;
    copy16(queriesAt + (r * P + piece) * 16, inside ? from : p.queries, inside ? 16 : 0);
  }
  const int firstKey = p.window > 0 ? maximum(0, position - p.window + 1) / KEYS * KEYS : 0;
#ifdef INT8
  // A thread brings pieces of eight bytes, waits for them, and expands the same.
  const u32 bytesAt = valuesAt + KEYS * P * 16;
  auto copyRows = [&](u32, const Cached* from, int which) {
#pragma unroll 2
    for (int i = t; i < KEYS * (D / 8); i += threads) {
      const int r = i / (D / 8), piece = i % (D / 8);
      const bool inside = piece < pieces;
      copy8(bytesAt + i * 8, from + (size_t)slots[which][r] * p.headDim + (inside ? piece * 8 : 0), inside ? 8 : 0);
    }
  };
  auto expandRows = [&](u32 to, bool values, int which) {
#pragma unroll 2
    for (int i = t; i < KEYS * (D / 8); i += threads) {
      const int r = i / (D / 8), piece = i % (D / 8);
      u32 x, y;
      sharedLoad8(bytesAt + i * 8, x, y);
      const float scale = values ? scales[which][r].y : scales[which][r].x;
      sharedStore16(to + (r * P + piece) * 16, piece < pieces ? scaledEight(x, y, scale) : make_uint4(0, 0, 0, 0));
    }
  };
#else
  auto copyRows = [&](u32 to, const u16* from, int which) {
    if (threads % (D / 8) == 0) {
      // A thread stays with its piece and goes from row to row.
      const int piece = t % (D / 8), step = threads / (D / 8);
      const bool inside = piece < pieces;
      from += inside ? piece * 8 : 0, to += piece * 16;
#pragma unroll 4
      for (int r = t / (D / 8); r < KEYS; r += step)
        copy16(to + r * (P * 16), from + (size_t)slots[which][r] * 8, inside ? 16 : 0);
    } else {
#pragma unroll 2
      for (int i = t; i < KEYS * (D / 8); i += threads) {
        const int r = i / (D / 8), piece = i % (D / 8);
        const bool inside = piece < pieces;
        copy16(to + (r * P + piece) * 16, from + (size_t)slots[which][r] * 8 + (inside ? piece * 8 : 0),
               inside ? 16 : 0);
      }
    }
  };
#endif
  if (t < KEYS) slots[0][t] = slotOf(p, row, minimum(firstKey + t, last), kvHead);
#ifdef INT8
  if (t < KEYS) scales[0][t] = p.scales[slots[0][t]];
#endif
  __syncthreads();
  copyRows(keysAt, p.keys, 0);
  copiesCommit();

  const float scale = p.scale * 1.4426950408889634f;
  const int r0 = warp * 16 + g, position0 = position + r0 / heads, position1 = position + (r0 + 8) / heads;
  float o[D / 8][4] = {};
  float max0 = BELOW_ALL, max1 = BELOW_ALL, sum0 = 0, sum1 = 0;
  u32 query[D <= 128 ? KK : 1][4];
  int which = 0;
  for (int key = firstKey; key <= last; key += KEYS, which ^= 1) {
    copiesWait<0>();
#ifdef INT8
    expandRows(keysAt, false, which);
#endif
    __syncthreads();
    copyRows(valuesAt, p.values, which);
    copiesCommit();
    u32 next = 0;
    if (t < KEYS) next = slotOf(p, row, minimum(key + KEYS + t, last), kvHead);
#ifdef INT8
    float2 nextScales = make_float2(0, 0);
    if (t < KEYS) nextScales = p.scales[next];
#endif
    if (D <= 128 && key == firstKey) {
#pragma unroll
      for (int k = 0; k < KK; k++)
        loadMatrix(query[k], queriesAt + ((warp * 16 + (lane & 15)) * P + k * 2 + (lane >> 4)) * 16);
    }
    float s[KEYS / 8][4] = {};
#pragma unroll
    for (int k = 0; k < KK; k++) {
      u32 a[4];
      if (D > 128) loadMatrix(a, queriesAt + ((warp * 16 + (lane & 15)) * P + k * 2 + (lane >> 4)) * 16);
#pragma unroll
      for (int j = 0; j < KEYS / 16; j++) {
        u32 b[4];
        loadMatrix(b, keysAt + ((j * 16 + (lane & 7) + ((lane >> 4) << 3)) * P + k * 2 + ((lane >> 3) & 1)) * 16);
        E::mma(s[2 * j], D > 128 ? a : query[D > 128 ? 0 : k], b[0], b[1]);
        E::mma(s[2 * j + 1], D > 128 ? a : query[D > 128 ? 0 : k], b[2], b[3]);
      }
    }
    if (t < KEYS) slots[which ^ 1][t] = next;
    copiesWait<0>();
#ifdef INT8
    if (t < KEYS) scales[which ^ 1][t] = nextScales;
    expandRows(valuesAt, true, which);
#endif
    __syncthreads();
    if (key + KEYS <= last) copyRows(keysAt, p.keys, which ^ 1);
    copiesCommit();

#ifdef SCORES
#pragma unroll
    for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) s[j][e] = cappedProduct(p, s[j][e]);
#endif
    if (key + KEYS - 1 > position || (p.window > 0 && key <= last - p.window)) {
#pragma unroll
      for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const int at = key + j * 8 + q * 2 + (e & 1), own = e < 2 ? position0 : position1;
          if (at > own || (p.window > 0 && at <= own - p.window)) s[j][e] = BELOW_ALL;
        }
    }
    float top0 = max0, top1 = max1;
#pragma unroll
    for (int j = 0; j < KEYS / 8; j++)
      top0 = fmaxf(top0, fmaxf(s[j][0], s[j][1])), top1 = fmaxf(top1, fmaxf(s[j][2], s[j][3]));
    top0 = fmaxf(top0, __shfl_xor_sync(~0u, top0, 1)), top1 = fmaxf(top1, __shfl_xor_sync(~0u, top1, 1));
    top0 = fmaxf(top0, __shfl_xor_sync(~0u, top0, 2)), top1 = fmaxf(top1, __shfl_xor_sync(~0u, top1, 2));
    // A row that has not seen a key yet keeps factors of zero.
    const float base0 = top0 == BELOW_ALL ? 0 : top0 * scale, base1 = top1 == BELOW_ALL ? 0 : top1 * scale;
    const float less0 = exp2Fast(max0 * scale - base0), less1 = exp2Fast(max1 * scale - base1);
    max0 = top0, max1 = top1, sum0 *= less0, sum1 *= less1;
#pragma unroll
    for (int j = 0; j < KEYS / 8; j++) {
      s[j][0] = exp2Fast(s[j][0] * scale - base0), s[j][1] = exp2Fast(s[j][1] * scale - base0);
      s[j][2] = exp2Fast(s[j][2] * scale - base1), s[j][3] = exp2Fast(s[j][3] * scale - base1);
      sum0 += s[j][0] + s[j][1], sum1 += s[j][2] + s[j][3];
    }
#pragma unroll
    for (int d = 0; d < D / 8; d++) o[d][0] *= less0, o[d][1] *= less0, o[d][2] *= less1, o[d][3] *= less1;
#pragma unroll
    for (int k = 0; k < KEYS / 16; k++) {
      const u32 a[4] = {E::packUnit(s[2 * k][0], s[2 * k][1]), E::packUnit(s[2 * k][2], s[2 * k][3]),
                        E::packUnit(s[2 * k + 1][0], s[2 * k + 1][1]), E::packUnit(s[2 * k + 1][2], s[2 * k + 1][3])};
#pragma unroll
      for (int d = 0; d < D / 16; d++) {
        u32 b[4];
        loadTransposed(b, valuesAt + ((k * 16 + (lane & 15)) * P + d * 2 + (lane >> 4)) * 16);
        E::mma(o[2 * d], a, b[0], b[1]);
        E::mma(o[2 * d + 1], a, b[2], b[3]);
      }
    }
  }
  copiesWait<0>();
  sum0 += __shfl_xor_sync(~0u, sum0, 1), sum1 += __shfl_xor_sync(~0u, sum1, 1);
  sum0 += __shfl_xor_sync(~0u, sum0, 2), sum1 += __shfl_xor_sync(~0u, sum1, 2);
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int r = r0 + 8 * h;
    if (r >= rows) continue;
#ifdef SCORES
    const float over = 1 / ((h ? sum1 : sum0) + sinkWeight(p, head + r % heads, h ? max1 : max0));
#else
    const float over = 1 / (h ? sum1 : sum0);
#endif
    const size_t at = ((size_t)(token + r / heads) * p.numHeads + head + r % heads) * p.headDim;
#pragma unroll
    for (int d = 0; d < D / 8; d++)
      if (d < pieces) storeOutputPair(p, at + d * 8 + q * 2, o[d][2 * h] * over, o[d][2 * h + 1] * over);
  }
}

#define PREFILL(D, ROWS, BLOCKS)                                  \
  extern "C" __global__ void __launch_bounds__(ROWS * 2, BLOCKS)  \
      prefill_##D##_##ROWS(const __grid_constant__ Attention p) { \
    prefill<ELEMENT, D, ROWS>(p);                                 \
  }
// Heads of up to D numbers, a multiple of 8; the chooser takes the least that fits.
PREFILL(64, 64, 3)
PREFILL(80, 64, 3)
PREFILL(96, 64, 3)
PREFILL(128, 128, 1)
PREFILL(256, 64, 1)
