// A mixture of experts around its products: the router's choice, the list of tiles for grouped products, and the
// weighted sum of the experts' results.

#include "kernel.cuh"

// Softmax over the experts' logits and the k largest, by repeated maximum; the lowest expert wins a tie.
// routes [T, k] of (expert, weight as bits); surplus tokens of a padded step get no expert. A warp per token.
KERNEL __launch_bounds__(32) route(const u32* plan, const float* logits, u32* routes, int experts, int k,
                                   int renormalize) {
  letNextStart();
  waitForPrevious();
  const u32 t = blockIdx.x, lane = threadIdx.x;
  const float* row = logits + (size_t)t * experts;
  u32* to = routes + 2 * (size_t)t * k;
  if (t >= plan[TOKENS]) {
    for (int n = lane; n < k; n += 32) to[2 * n] = 0xffffffffu, to[2 * n + 1] = 0;
    return;
  }
  float last = 3.4e38f, maximum = 0, sum = 0;
  u32 lastId = 0;
  for (int n = 0; n < k; n++) {
    float best = -3.4e38f;
    u32 id = 0xffffffffu;
    for (u32 i = lane; i < experts; i += 32) {
      const float value = row[i];
      if (value > best && (value < last || (value == last && i > lastId))) best = value, id = i;
    }
    last = warpMax(best);
    lastId = warpMin(best == last ? id : 0xffffffffu);
    if (n == 0) maximum = last;
    const float weight = expf(last - maximum);
    sum += weight;
    // NaN has no largest; such a token is lost anyway, but must not lead out of the weights.
    if (lane == 0) to[2 * n] = lastId < experts ? lastId : 0, to[2 * n + 1] = __float_as_uint(weight);
  }
  if (!renormalize) {
    float part = 0;
    for (u32 i = lane; i < experts; i += 32) part += expf(row[i] - maximum);
    sum = warpSum(part);
  }
  __syncwarp();
  for (int n = lane; n < k; n += 32) to[2 * n + 1] = __float_as_uint(__uint_as_float(to[2 * n + 1]) / sum);
}

const int MOST_EXPERTS = 1024;

// order: the (token, choice) pairs in the order of their experts. tiles: their number, then (expert, where it begins in
// `order`, rows) with at most `tileRows` rows. One block.
KERNEL __launch_bounds__(1024) expert_tiles(const u32* routes, u32* order, u32* tiles, int pairs, int experts,
                                            int tileRows) {
  letNextStart();
  waitForPrevious();
  __shared__ u32 counts[MOST_EXPERTS], starts[MOST_EXPERTS], tileStarts[MOST_EXPERTS];
  const u32 t = threadIdx.x;
  for (u32 e = t; e < experts; e += 1024) counts[e] = 0;
  __syncthreads();
  for (u32 p = t; p < pairs; p += 1024)
    if (routes[2 * p] < experts) atomicAdd(&counts[routes[2 * p]], 1u);
  __syncthreads();
  if (t == 0) {
    u32 rows = 0, number = 0;
    for (u32 e = 0; e < experts; e++) {
      starts[e] = rows, tileStarts[e] = number;
      rows += counts[e], number += (counts[e] + tileRows - 1) / tileRows;
    }
    tiles[0] = number;
  }
  __syncthreads();
  for (u32 e = t; e < experts; e += 1024) {
    u32* tile = tiles + 1 + 3 * tileStarts[e];
    for (u32 i = 0; i < counts[e]; i += tileRows, tile += 3)
      tile[0] = e, tile[1] = starts[e] + i, tile[2] = min((u32)tileRows, counts[e] - i);
  }
  __syncthreads();
  // From here on `starts` is where an expert's next pair goes.
  for (u32 p = t; p < pairs; p += 1024)
    if (routes[2 * p] < experts) order[atomicAdd(&starts[routes[2 * p]], 1u)] = p;
}

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
