// A mixture of experts around its products: the router's choice, the list of tiles for grouped products, and the
// weighted sum of the experts' results.

#include "kernel.cuh"

// A number of unsigned order: NaN is the least.
DEVICE u32 orderedBits(float x) {
  const u32 bits = __float_as_uint(x + 0.0f);
  return x != x ? 0 : bits >> 31 ? ~bits : bits | 0x80000000u;
}
DEVICE float fromOrdered(u32 key) { return __uint_as_float(key >> 31 ? key & 0x7fffffffu : ~key); }

// Softmax over the experts' logits and the k largest, by repeated maximum; the lowest expert wins a tie. Writes k times
// (expert, weight as bits); with `tiles` also a tile of each choice, in their order. By a warp, each of whose lanes holds
// the order of EACH experts. A token that has NaN is lost, but does not lead out of the weights.
template <int EACH>
DEVICE void chooseOf(const float* logits, u32* to, u32* order, u32* tiles, u32 experts, int k, bool renormalize) {
  const u32 lane = threadIdx.x & 31, first = lane * EACH;
  u32 keys[EACH], best, id;
#pragma unroll
  for (int i = 0; i < EACH; i++) keys[i] = first + i < experts ? orderedBits(__ldcg(logits + first + i)) : 0;
  const auto findBest = [&]() {
    best = keys[0], id = first;
#pragma unroll
    for (int i = 1; i < EACH; i++)
      if (keys[i] > best) best = keys[i], id = first + i;
  };
  findBest();
  // A lane keeps every thirty-second choice, and writes it when all of its warp have one.
  u32 kept = 0;
  float maximum = 0, sum = 0, weight = 0;
  const auto write = [&](int n, float value) {
    *(uint2*)(to + 2 * n) = make_uint2(kept, __float_as_uint(value));
    if (tiles) order[n] = n, tiles[1 + 3 * n] = kept, tiles[2 + 3 * n] = n, tiles[3 + 3 * n] = 1;
  };
  for (int n = 0; n < k; n++) {
    const u32 largest = __reduce_max_sync(~0u, best), owner = __ffs(__ballot_sync(~0u, best == largest)) - 1;
    const u32 chosen = __shfl_sync(~0u, id, owner);
    const float value = fromOrdered(largest);
    if (n == 0) maximum = value;
    const float own = expf(value - maximum);
    sum += own;
    if (lane == (n & 31)) kept = chosen, weight = own;
    if ((n & 31) == 31 && n + 1 < k) write(n - 31 + lane, weight);
    if (lane == owner) {
#pragma unroll
      for (int i = 0; i < EACH; i++)
        if (first + i == id) keys[i] = 0;
      findBest();
    }
  }
  if (!renormalize) {
    float part = 0;
    for (u32 i = lane; i < experts; i += 32) part += expf(__ldcg(logits + i) - maximum);
    sum = warpSum(part);
  }
  const int last = (k - 1) / 32 * 32;
  for (int n = lane; n < last; n += 32) to[2 * n + 1] = __float_as_uint(__uint_as_float(to[2 * n + 1]) / sum);
  if (last + lane < k) write(last + lane, weight / sum);
}

const int MOST_EXPERTS = 1024;

// The same for any number of experts; for a surplus token of a padded step, no expert.
DEVICE void chooseExperts(const float* logits, u32* to, u32* order, u32* tiles, int experts, int k, bool renormalize,
                          bool surplus) {
  if (surplus) {
    for (int n = threadIdx.x & 31; n < k; n += 32) to[2 * n] = 0xffffffffu, to[2 * n + 1] = 0;
  } else if (experts <= 128) {
    chooseOf<4>(logits, to, order, tiles, experts, k, renormalize);
  } else {
    chooseOf<MOST_EXPERTS / 32>(logits, to, order, tiles, experts, k, renormalize);
  }
}

// order: the (token, choice) pairs in the order of their experts. tiles: their number, then (expert, where it begins in
// `order`, rows) with at most `tileRows` rows. By a block; `shared` has room for 2 · experts and 64 words.
DEVICE void listTiles(const u32* routes, u32* order, u32* tiles, int pairs, int experts, int tileRows, u32* shared) {
  const u32 t = threadIdx.x, threads = blockDim.x, lane = t & 31, warp = t >> 5;
  u32 *counts = shared, *starts = counts + experts, *parts = starts + experts;
  for (u32 e = t; e < experts; e += threads) counts[e] = 0;
  __syncthreads();
  for (u32 p = t; p < pairs; p += threads) {
    const u32 expert = __ldcg(routes + 2 * p);
    if (expert < experts) atomicAdd(&counts[expert], 1u);
  }
  __syncthreads();
  // Sums of what is in front: of the thread's experts, its warp's threads, the warps.
  const u32 each = (experts + threads - 1) / threads, first = min(t * each, (u32)experts);
  const u32 end = min(first + each, (u32)experts);
  u32 rows = 0, number = 0;
  for (u32 e = first; e < end; e++) rows += counts[e], number += (counts[e] + tileRows - 1) / tileRows;
  u32 rowsBefore = rows, numberBefore = number;
  for (u32 step = 1; step < 32; step *= 2) {
    const u32 r = __shfl_up_sync(~0u, rowsBefore, step), n = __shfl_up_sync(~0u, numberBefore, step);
    if (lane >= step) rowsBefore += r, numberBefore += n;
  }
  if (lane == 31) parts[warp] = rowsBefore, parts[32 + warp] = numberBefore;
  __syncthreads();
  rowsBefore -= rows, numberBefore -= number;
  for (u32 w = 0; w < warp; w++) rowsBefore += parts[w], numberBefore += parts[32 + w];
  if (t == threads - 1) tiles[0] = numberBefore + number;
  for (u32 e = first; e < end; e++) {
    u32* tile = tiles + 1 + 3 * numberBefore;
    starts[e] = rowsBefore;
    for (u32 i = 0; i < counts[e]; i += tileRows, tile += 3, numberBefore++)
      tile[0] = e, tile[1] = rowsBefore + i, tile[2] = min((u32)tileRows, counts[e] - i);
    rowsBefore += counts[e];
  }
  __syncthreads();
  // From here on `starts` is where an expert's next pair goes.
  for (u32 p = t; p < pairs; p += threads) {
    const u32 expert = __ldcg(routes + 2 * p);
    if (expert < experts) order[atomicAdd(&starts[expert], 1u)] = p;
  }
}

// routes [T, k]. A warp per token.
KERNEL __launch_bounds__(32) route(const u32* plan, const float* logits, u32* routes, int experts, int k,
                                   int renormalize) {
  letNextStart();
  waitForPrevious();
  const u32 t = blockIdx.x;
  chooseExperts(logits + (size_t)t * experts, routes + 2 * (size_t)t * k, nullptr, nullptr, experts, k, renormalize,
                t >= plan[TOKENS]);
}

// One block.
KERNEL __launch_bounds__(1024) expert_tiles(const u32* routes, u32* order, u32* tiles, int pairs, int experts,
                                            int tileRows) {
  letNextStart();
  waitForPrevious();
  __shared__ u32 shared[2 * MOST_EXPERTS + 64];
  listTiles(routes, order, tiles, pairs, experts, tileRows, shared);
}

// All of the router for few tokens: logits in float32, the choice, the tiles, and the normalised input for the experts.
//
// Grid: (experts / 4, tokens / ROWS), whose threads go along the columns together. The last block of some tokens chooses
// for them, and the last of those lists the tiles. Weights are float32, bfloat16 or float16. `counters` (1 + tokens / ROWS) are zero before and after. Dynamic
// shared memory: the list's, 2 · experts and 64 words, where ROWS is more than 1. Bound by latency.
template <int ROWS>
DEVICE void chooseAll(const u32* plan, const float* x, const float* normWeight, float epsilon, const u8* w, int wType,
                      const float* bias, float* logits, void* prepared, int preparedType, u32* routes, u32* order,
                      u32* tiles, u32* counters, int T, int experts, int K, int k, int renormalize, int tileRows) {
  const int EXPERTS = 4, SUMS = ROWS * (EXPERTS + 1), WARPS = 8;
  extern __shared__ __align__(16) u32 dynamic[];
  __shared__ float parts[WARPS * SUMS], totals[SUMS];
  __shared__ u32 isLast;
  const int t = threadIdx.x, lane = t & 31, warp = t >> 5;
  const int first = blockIdx.y * ROWS, tokens = min(ROWS, T - first), e0 = blockIdx.x * EXPERTS;
  const size_t rowBytes = matrixRowBytes(wType, K);
  // What no kernel of the step writes is on its way while the one in front of this one ends.
  const auto prefetch = [&](const void* from, size_t bytes) {
    for (size_t at = (size_t)t * 128; at < bytes; at += 256 * 128)
      asm volatile("prefetch.global.L2 [%0];" ::"l"((const u8*)from + at));
  };
  prefetch(w + e0 * rowBytes, min(EXPERTS, experts - e0) * rowBytes);
  prefetch(normWeight, 4 * (size_t)K);
  const int ownExpert = e0 + t % EXPERTS;
  const float ownBias = bias && t < ROWS * EXPERTS && ownExpert < experts ? bias[ownExpert] : 0.0f;
  waitForPrevious();
  letNextStart();
  float sums[ROWS][EXPERTS] = {}, squares[ROWS] = {};
  for (int c = t * 8; c < K; c += 256 * 8) {
    float gains[8], weights[EXPERTS][8];
    load8(normWeight, F32, c, gains);
#pragma unroll
    for (int e = 0; e < EXPERTS; e++) {
      load8(w + min(e0 + e, experts - 1) * rowBytes, wType, c, weights[e]);
#pragma unroll
      for (int i = 0; i < 8; i++) weights[e][i] *= gains[i];
    }
#pragma unroll
    for (int m = 0; m < ROWS; m++) {
      float v[8];
      load8(x, F32, (size_t)(first + min(m, tokens - 1)) * K + c, v);
#pragma unroll
      for (int i = 0; i < 8; i++) {
        squares[m] += v[i] * v[i];
#pragma unroll
        for (int e = 0; e < EXPERTS; e++) sums[m][e] += weights[e][i] * v[i];
      }
    }
  }
#pragma unroll
  for (int m = 0; m < ROWS; m++) {
#pragma unroll
    for (int e = 0; e <= EXPERTS; e++) {
      const float sum = warpSum(e < EXPERTS ? sums[m][e] : squares[m]);
      if (lane == 0) parts[warp * SUMS + m * (EXPERTS + 1) + e] = sum;
    }
  }
  __syncthreads();
  if (t < SUMS) {
    float sum = 0;
    for (int s = 0; s < WARPS; s++) sum += parts[s * SUMS + t];
    totals[t] = sum;
  }
  __syncthreads();
  const auto scaleOf = [&](int m) { return rsqrtf(totals[m * (EXPERTS + 1) + EXPERTS] / K + epsilon); };
  if (t < ROWS * EXPERTS) {
    const int m = t / EXPERTS;
    if (m < tokens && ownExpert < experts)
      logits[(size_t)(first + m) * experts + ownExpert] = totals[m * (EXPERTS + 1) + t % EXPERTS] * scaleOf(m) + ownBias;
  }
  // What this block wrote is there for the block that counts last.
  const auto last = [&](u32* counter, u32 blocks) {
    __threadfence();
    __syncthreads();
    if (t == 0) {
      isLast = atomicAdd(counter, 1u) == blocks - 1;
      if (isLast) *counter = 0;
    }
    __syncthreads();
    __threadfence();
    return isLast != 0;
  };
  const bool chooses = last(counters + 1 + blockIdx.y, gridDim.x);
  // Behind the count, because the choice does not wait for it.
  for (int m = blockIdx.x; m < tokens; m += gridDim.x) {
    const float scale = scaleOf(m);
    for (int c = t * 8; c < K; c += 256 * 8) {
      const size_t at = (size_t)(first + m) * K + c;
      float v[8], gains[8];
      load8(x, F32, at, v);
      load8(normWeight, F32, c, gains);
#pragma unroll
      for (int i = 0; i < 8; i++) v[i] *= scale * gains[i];
      *(uint4*)((u16*)prepared + at) =
          preparedType == BF16
              ? make_uint4(packBf16(v[0], v[1]), packBf16(v[2], v[3]), packBf16(v[4], v[5]), packBf16(v[6], v[7]))
              : make_uint4(packF16(v[0], v[1]), packF16(v[2], v[3]), packF16(v[4], v[5]), packF16(v[6], v[7]));
    }
  }
  if (!chooses) return;
  if (ROWS == 1) {
    // Experts of one token are different ones: each is a tile, in the order of the choice.
    if (warp > 0) return;
    if (lane == 0) tiles[0] = k;
    chooseExperts(logits, routes, order, tiles, experts, k, renormalize, false);
    return;
  }
  if (warp < tokens) {
    const u32 token = first + warp;
    chooseExperts(logits + (size_t)token * experts, routes + 2 * (size_t)token * k, nullptr, nullptr, experts, k,
                  renormalize, token >= plan[TOKENS]);
  }
  if (gridDim.y > 1 && !last(counters, gridDim.y)) return;
  __threadfence();
  __syncthreads();
  listTiles(routes, order, tiles, T * k, experts, tileRows, dynamic);
}
#define CHOOSE(COUNT)                                                                                               \
  KERNEL __launch_bounds__(256) choose_##COUNT (                                                                     \
      const u32* plan, const float* x, const float* normWeight, float epsilon, const u8* w, int wType,               \
      const float* bias, float* logits, void* prepared, int preparedType, u32* routes, u32* order, u32* tiles,       \
      u32* counters, int T, int experts, int K, int k, int renormalize, int tileRows) {                              \
    chooseAll<COUNT>(plan, x, normWeight, epsilon, w, wType, bias, logits, prepared, preparedType, routes, order,   \
                      tiles, counters, T, experts, K, k, renormalize, tileRows);                                     \
  }
CHOOSE(1)
CHOOSE(8)

// output[t] = or += the sum of weight · (result + the expert's bias) over the token's experts, in the order of the
// router's choice.
// Grid: (columns / 256, tokens).
KERNEL __launch_bounds__(256) combine(const u32* plan, const u32* routes, const float* results, const float* bias,
                                      float* output, int columns, int k, int epilogue) {
  letNextStart();
  waitForPrevious();
  const u32 t = blockIdx.y;
  const int n = blockIdx.x * 256 + threadIdx.x;
  if (t >= plan[TOKENS] || n >= columns) return;
  float sum = 0;
  for (int i = 0; i < k; i++) {
    const size_t pair = (size_t)t * k + i;
    float result = results[pair * columns + n];
    if (bias) result += bias[(size_t)routes[2 * pair] * columns + n];
    sum += __uint_as_float(routes[2 * pair + 1]) * result;
  }
  float* to = output + (size_t)t * columns + n;
  *to = epilogue == ADD ? *to + sum : sum;
}
