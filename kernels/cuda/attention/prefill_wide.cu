// Attention of prompts on wgmma (compute capability 9.0): what prefill.cu does, as FlashAttention-3 orders it (Shah
// et al. 2024, arXiv 2407.08608).
//
// Grid as in prefill.cu, tiles of 128 rows. Workgroup: two warp groups have 64 (token, head) rows each; four more
// warps bring blocks of KEYS keys and their values by cp.async, page by page, into STAGES buffers each, and run
// ahead. A warp group asks for the scores of the next block before it multiplies the probabilities of this one with
// the values, so that the softmax runs beside the matrix units; the two groups drift apart by themselves. Memory:
// queries, keys and values lie in halves of 64 numbers a row, 128 bytes with the exchange that wgmma knows; values
// are read as rows of N. With INT8 the four warps load bytes and expand them to float16, scales included. Bound by
// wgmma and the exponentials.
#include "paged.cuh"
#include "wgmma_attention.cuh"

// Rows of 64 numbers of the second operand, where the first is from registers: `half` is the distance of the halves.
__device__ __forceinline__ u64 rowDescriptor(u32 shared, int half) {
  return (u64)((shared & 0x3ffff) >> 4) | ((u64)(half >> 4) << 16) | (64ull << 32) | (1ull << 62);
}
// The barrier counts this thread when all its copies so far are done.
__device__ __forceinline__ void copiesArrive(u32 barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}
// What cp.async wrote is there for wgmma.
__device__ __forceinline__ void fenceForCopies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

template <class E, int D, int KEYS, int STAGES>
__device__ __forceinline__ void prefillWide(const Attention& p) {
  const int ROWS = 128, blockBytes = KEYS * D * 2;
  extern __shared__ __align__(1024) unsigned char memory[];
  __shared__ u32 slots[2][KEYS];
  __shared__ __align__(8) u64 barriers[4 * STAGES + 1];
  const int t = threadIdx.x, lane = t & 31, warp = t >> 5, g = lane >> 2, q = lane & 3;
  letLaterBegin();
  afterEarlier();
  const int tiles = p.plan[TILES];
  if ((int)blockIdx.y >= tiles) return;
  const u32* entry = p.plan + p.plan[TILES_AT] + 4 * (tiles - 1 - blockIdx.y);
  const int token = entry[0], position = entry[2], tokens = entry[3], last = position + tokens - 1;
  const u32 row = entry[1];
  const int perKv = p.numHeads / p.numKvHeads, heads = minimum(perKv, ROWS), headGroups = (perKv + heads - 1) / heads;
  const int kvHead = blockIdx.x / headGroups, pieces = p.headDim / 8;
  const int head = kvHead * perKv + minimum(blockIdx.x % headGroups * heads, perKv - heads), rows = tokens * heads;
  const u32 queriesAt = (sharedAddress(memory) + 1023) & ~1023u, keysAt = queriesAt + ROWS * D * 2,
            valuesAt = keysAt + STAGES * blockBytes;
  const u32 keyFull = sharedAddress(barriers), keyFree = keyFull + 8 * STAGES, valueFull = keyFull + 16 * STAGES,
            valueFree = keyFull + 24 * STAGES, queryFull = keyFull + 32 * STAGES;
  if (t == 0) {
    for (int s = 0; s < STAGES; s++)
      barrierInit(keyFull + 8 * s, 128), barrierInit(keyFree + 8 * s, 8), barrierInit(valueFull + 8 * s, 128),
          barrierInit(valueFree + 8 * s, 8);
    barrierInit(queryFull, 128);
  }
  __syncthreads();
  const int firstKey = p.window > 0 ? maximum(0, position - p.window + 1) / KEYS * KEYS : 0,
            count = (last - firstKey) / KEYS + 1;

  if (warp >= 8) {
    const int c = t - 256, piece = c % (D / 8), step = 128 / (D / 8);
    const bool inside = piece < pieces;
    const u32 column = (piece >> 3), at = piece & 7;
    for (int r = c / (D / 8); r < ROWS; r += step) {
      const bool used = inside && r < rows;
      const u16* from =
          p.queries + (size_t)(token + r / heads) * p.queryStride + (head + r % heads) * p.headDim + piece * 8;
      copy16(queriesAt + column * (ROWS * 128) + place128(r, at), used ? from : p.queries, used ? 16 : 0);
    }
    copiesArrive(queryFull);
#ifdef INT8
    // Bytes of a block are asked for while the block before them is expanded.
    const int ROUNDS = KEYS / step;
    struct Part {
      uint2 bytes[ROUNDS];
      float scales[ROUNDS];
    } keyPart, valuePart;
    auto ask = [&](Part& part, const Cached* from, bool values, int which) {
#pragma unroll
      for (int i = 0; i < ROUNDS; i++) {
        const u32 slot = slots[which][c / (D / 8) + i * step];
        part.bytes[i] = inside ? __ldg((const uint2*)(from + (size_t)slot * p.headDim + piece * 8)) : make_uint2(0, 0);
        part.scales[i] = __ldg((const float*)(p.scales + slot) + values);
      }
    };
    auto bring = [&](u32 to, const Part& part, u32 barrier) {
      to += column * (KEYS * 128);
#pragma unroll
      for (int i = 0; i < ROUNDS; i++)
        sharedStore16(to + place128(c / (D / 8) + i * step, at),
                      inside ? scaledEight(part.bytes[i].x, part.bytes[i].y, part.scales[i]) : make_uint4(0, 0, 0, 0));
      fenceForCopies();
      barrierArrive(barrier);
    };
    if (c < KEYS) slots[0][c] = slotOf(p, row, minimum(firstKey + c, last), kvHead);
    if (c < KEYS) slots[1][c] = slotOf(p, row, minimum(firstKey + KEYS + c, last), kvHead);
    asm volatile("bar.sync 1, 128;" ::: "memory");
    ask(keyPart, p.keys, false, 0), ask(valuePart, p.values, true, 0);
    asm volatile("bar.sync 1, 128;" ::: "memory");
    int stage = 0;
    u32 phase = 0;
    for (int i = 0; i < count; i++) {
      u32 next = 0;
      if (c < KEYS) next = slotOf(p, row, minimum(firstKey + (i + 2) * KEYS + c, last), kvHead);
      barrierWait(keyFree + 8 * stage, phase ^ 1);
      bring(keysAt + stage * blockBytes, keyPart, keyFull + 8 * stage);
      ask(keyPart, p.keys, false, (i + 1) & 1);
      barrierWait(valueFree + 8 * stage, phase ^ 1);
      bring(valuesAt + stage * blockBytes, valuePart, valueFull + 8 * stage);
      ask(valuePart, p.values, true, (i + 1) & 1);
      if (c < KEYS) slots[i & 1][c] = next;
      asm volatile("bar.sync 1, 128;" ::: "memory");
      if (++stage == STAGES) stage = 0, phase ^= 1;
    }
#else
    auto bring = [&](u32 to, const u16* from, int which, u32 barrier) {
      from += inside ? piece * 8 : 0, to += column * (KEYS * 128);
#pragma unroll 4
      for (int r = c / (D / 8); r < KEYS; r += step)
        copy16(to + place128(r, at), from + (size_t)slots[which][r] * 8, inside ? 16 : 0);
      copiesArrive(barrier);
    };
    if (c < KEYS) slots[0][c] = slotOf(p, row, minimum(firstKey + c, last), kvHead);
    asm volatile("bar.sync 1, 128;" ::: "memory");
    int stage = 0;
    u32 phase = 0;
    for (int i = 0; i < count; i++) {
      u32 next = 0;
      if (c < KEYS && i + 1 < count) next = slotOf(p, row, minimum(firstKey + (i + 1) * KEYS + c, last), kvHead);
      barrierWait(keyFree + 8 * stage, phase ^ 1);
      bring(keysAt + stage * blockBytes, p.keys, i & 1, keyFull + 8 * stage);
      barrierWait(valueFree + 8 * stage, phase ^ 1);
      bring(valuesAt + stage * blockBytes, p.values, i & 1, valueFull + 8 * stage);
      if (c < KEYS) slots[(i + 1) & 1][c] = next;
      asm volatile("bar.sync 1, 128;" ::: "memory");
      if (++stage == STAGES) stage = 0, phase ^= 1;
    }
#endif
  } else {
    const int group = warp >> 2, r0 = warp * 16 + g;
    const int position0 = position + r0 / heads, position1 = position + (r0 + 8) / heads;
    const float scale = p.scale * 1.4426950408889634f;
    float s[KEYS / 2], o[D / 2];
#pragma unroll
    for (int i = 0; i < D / 2; i++) o[i] = 0;
    float max0 = BELOW_ALL, max1 = BELOW_ALL, sum0 = 0, sum1 = 0, less0 = 1, less1 = 1;
    u32 a[KEYS / 16][4];
    auto scores = [&](int stage) {
      const u32 from = queriesAt + group * 64 * 128, to = keysAt + stage * blockBytes;
#pragma unroll
      for (int k = 0; k < D / 16; k++)
        Score<E, KEYS>::product(s, descriptor(from + (k >> 2) * (ROWS * 128) + (k & 3) * 32),
                                descriptor(to + (k >> 2) * (KEYS * 128) + (k & 3) * 32), k > 0);
      warpGroupCommit();
    };
    // Turns scores into probabilities; the outputs so far are then to be multiplied by less0 and less1.
    auto softmax = [&](int key) {
#pragma unroll
      for (int i = 0; i < KEYS / 2; i++) asm volatile("" : "+f"(s[i])::"memory");
#ifdef SCORES
#pragma unroll
      for (int i = 0; i < KEYS / 2; i++) s[i] = cappedProduct(p, s[i]);
#endif
      if (key + KEYS - 1 > position || (p.window > 0 && key <= last - p.window)) {
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
          for (int e = 0; e < 4; e++) {
            const int at = key + j * 8 + q * 2 + (e & 1), own = e < 2 ? position0 : position1;
            if (at > own || (p.window > 0 && at <= own - p.window)) s[4 * j + e] = BELOW_ALL;
          }
      }
      float top0 = max0, top1 = max1;
#pragma unroll
      for (int j = 0; j < KEYS / 8; j++)
        top0 = fmaxf(top0, fmaxf(s[4 * j], s[4 * j + 1])), top1 = fmaxf(top1, fmaxf(s[4 * j + 2], s[4 * j + 3]));
      top0 = fmaxf(top0, __shfl_xor_sync(~0u, top0, 1)), top1 = fmaxf(top1, __shfl_xor_sync(~0u, top1, 1));
      top0 = fmaxf(top0, __shfl_xor_sync(~0u, top0, 2)), top1 = fmaxf(top1, __shfl_xor_sync(~0u, top1, 2));
      // A row that has not seen a key yet keeps factors of zero.
      const float base0 = top0 == BELOW_ALL ? 0 : top0 * scale, base1 = top1 == BELOW_ALL ? 0 : top1 * scale;
      less0 = exp2Fast(max0 * scale - base0), less1 = exp2Fast(max1 * scale - base1);
      max0 = top0, max1 = top1, sum0 *= less0, sum1 *= less1;
#pragma unroll
      for (int j = 0; j < KEYS / 8; j++) {
        s[4 * j] = exp2Fast(s[4 * j] * scale - base0), s[4 * j + 1] = exp2Fast(s[4 * j + 1] * scale - base0);
        s[4 * j + 2] = exp2Fast(s[4 * j + 2] * scale - base1), s[4 * j + 3] = exp2Fast(s[4 * j + 3] * scale - base1);
        sum0 += s[4 * j] + s[4 * j + 1], sum1 += s[4 * j + 2] + s[4 * j + 3];
      }
    };
    auto pack = [&]() {
#pragma unroll
      for (int k = 0; k < KEYS / 16; k++) {
        a[k][0] = E::packUnit(s[8 * k], s[8 * k + 1]), a[k][1] = E::packUnit(s[8 * k + 2], s[8 * k + 3]);
        a[k][2] = E::packUnit(s[8 * k + 4], s[8 * k + 5]), a[k][3] = E::packUnit(s[8 * k + 6], s[8 * k + 7]);
      }
    };
    barrierWait(queryFull, 0);
    barrierWait(keyFull, 0);
    fenceForCopies();
    warpGroupFence();
    scores(0);
    warpGroupWait<0>();
    if (lane == 0) barrierArrive(keyFree);
    softmax(firstKey);
    pack();
    int stage = 0;
    u32 phase = 0;
    auto weighted = [&]() {
      const u32 values = valuesAt + stage * blockBytes;
#pragma unroll
      for (int k = 0; k < KEYS / 16; k++)
        Weighted<E, D>::product(o, a[k], rowDescriptor(values + k * 2048, KEYS * 128));
      warpGroupCommit();
    };
    for (int i = 1; i < count; i++) {
      const int next = stage + 1 == STAGES ? 0 : stage + 1;
      const u32 nextPhase = next == 0 ? phase ^ 1 : phase;
      barrierWait(keyFull + 8 * next, nextPhase);
      barrierWait(valueFull + 8 * stage, phase);
      fenceForCopies();
      warpGroupFence();
      scores(next);
      weighted();
      warpGroupWait<1>();
      if (lane == 0) barrierArrive(keyFree + 8 * next);
      softmax(firstKey + i * KEYS);
      warpGroupWait<0>();
      if (lane == 0) barrierArrive(valueFree + 8 * stage);
      // Most blocks hold no row's greatest score.
      if (__any_sync(~0u, less0 < 1 || less1 < 1)) {
#pragma unroll
        for (int d = 0; d < D / 8; d++)
          o[4 * d] *= less0, o[4 * d + 1] *= less0, o[4 * d + 2] *= less1, o[4 * d + 3] *= less1;
      }
      pack();
      stage = next, phase = nextPhase;
    }
    barrierWait(valueFull + 8 * stage, phase);
    fenceForCopies();
    warpGroupFence();
    weighted();
    warpGroupWait<0>();
#pragma unroll
    for (int d = 0; d < D / 2; d++) asm volatile("" : "+f"(o[d])::"memory");
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
        if (d < pieces) storeOutputPair(p, at + d * 8 + q * 2, o[4 * d + 2 * h] * over, o[4 * d + 1 + 2 * h] * over);
    }
  }
}

#define PREFILL_WIDE(D, KEYS, STAGES)                                                                          \
  extern "C" __global__ void __launch_bounds__(384, 1) prefill_wide_##D(const __grid_constant__ Attention p) { \
    prefillWide<ELEMENT, D, KEYS, STAGES>(p);                                                                  \
  }
// Heads of up to D numbers.
PREFILL_WIDE(64, 128, 3)
PREFILL_WIDE(128, 96, 3)
