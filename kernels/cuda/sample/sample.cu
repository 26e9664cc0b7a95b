// The end of a forward, on the logits [rows, stride] of the sampled rows: penalties, biases and masks, the limits of top-k,
// top-p and min-p, the draw, and log-probabilities. Every kernel finds a row's parameters in its record in the plan.
//
// The draw is the argmax of logits with Gumbel noise (Gumbel 1954) that is a hash of (seed, position, token): the same
// numbers as `reference/random.ts`, whatever a row is batched with. Bound by reading the logits.

#include "kernel.cuh"

// Words of a sampled row's record; see plan/words.ts.
enum Sample {
  FLAGS = 2, TEMPERATURE = 3, TOP_K = 4, TOP_P = 5, MIN_P = 6, PRESENCE = 7, FREQUENCY = 8, REPETITION = 9,
  PROMPT_LENGTH = 10, SEED_LOW = 11, SEED_HIGH = 12, LOGPROBS = 13, ROW = 14, POSITION = 15, BIAS_AT = 16,
  BIAS_COUNT = 17, MASK_AT = 1
};
const u32 SCORE = 2, KEEP = 4, NO_TOKEN = 0xffffffffu, NAN_BITS = 0x7fc00000u;
const int CHUNK = 4096;
const float LOWEST = -3.4e38f;

DEVICE u32 field(const u32* plan, u32 row, int word) { return plan[CONTENT_AT + row * SAMPLE_WORDS + word]; }
DEVICE float fieldFloat(const u32* plan, u32 row, int word) { return __uint_as_float(field(plan, row, word)); }

DEVICE u32 mixBits(u32 x) {
  x ^= x >> 16, x *= 0x7feb352du, x ^= x >> 15, x *= 0x846ca68bu;
  return x ^ (x >> 16);
}
DEVICE float gumbel(u32 h) {
  const float u = ((float)h + 0.5f) / 4294967296.0f;
  if (u < 0.01f) return -logf(u * (1.0f + u * (0.5f + u * (1.0f / 3.0f))));
  // 1 - u from the hash's complement, exact where u is near 1.
  return -logf(-logf(((float)~h + 0.5f) / 4294967296.0f));
}

// --- Penalties and biases: a thread per position of a row's history. One kernel counts tokens (top bit: occurs at
// all; rest: how often in the output), the second applies and clears the counts. Grid: (positions / 128, rows).
DEVICE bool historyEntry(const u32* plan, const u32* tokenPool, int vocabSize, int contextLength, u32& token) {
  const u32 row = blockIdx.y, i = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= plan[SAMPLES]) return false;
  if (fieldFloat(plan, row, PRESENCE) == 0 && fieldFloat(plan, row, FREQUENCY) == 0 &&
      fieldFloat(plan, row, REPETITION) == 1)
    return false;
  if (i > field(plan, row, POSITION) || field(plan, row, FLAGS) == SCORE) return false;
  token = tokenPool[(size_t)field(plan, row, ROW) * contextLength + i];
  return token < (u32)vocabSize;
}
KERNEL penalty_count(const u32* plan, const u32* tokenPool, u32* counts, int vocabSize, int contextLength) {
  letNextStart();
  waitForPrevious();
  u32 token;
  if (!historyEntry(plan, tokenPool, vocabSize, contextLength, token)) return;
  u32* at = counts + (size_t)blockIdx.y * vocabSize + token;
  atomicOr(at, 0x80000000u);
  if (blockIdx.x * blockDim.x + threadIdx.x >= field(plan, blockIdx.y, PROMPT_LENGTH)) atomicAdd(at, 1u);
}
KERNEL penalty_apply(const u32* plan, const u32* tokenPool, u32* counts, float* logits, int vocabSize, int stride,
                     int contextLength) {
  letNextStart();
  waitForPrevious();
  u32 token;
  if (!historyEntry(plan, tokenPool, vocabSize, contextLength, token)) return;
  const u32 row = blockIdx.y, taken = atomicExch(counts + (size_t)row * vocabSize + token, 0u);
  if (taken == 0) return;
  const u32 count = taken & 0x7fffffffu;
  const float repetition = fieldFloat(plan, row, REPETITION);
  float* at = logits + (size_t)row * stride + token;
  const float logit = *at, repeated = logit > 0 ? logit / repetition : logit * repetition;
  *at = repeated - fieldFloat(plan, row, FREQUENCY) * (float)count - (count > 0 ? fieldFloat(plan, row, PRESENCE) : 0.0f);
}
// Grid: (biases / 64, rows).
KERNEL add_bias(const u32* plan, float* logits, int stride) {
  letNextStart();
  waitForPrevious();
  const u32 row = blockIdx.y, i = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= plan[SAMPLES] || i >= field(plan, row, BIAS_COUNT)) return;
  const u32* entry = plan + field(plan, row, BIAS_AT) + 2 * i;
  logits[(size_t)row * stride + entry[0]] += __uint_as_float(entry[1]);
}
// What a row's mask does not allow is forbidden. Grid: (vocabulary / 256, rows).
KERNEL apply_masks(const u32* plan, float* logits, int vocabSize, int stride) {
  letNextStart();
  waitForPrevious();
  const u32 row = blockIdx.y, i = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= plan[SAMPLES] || i >= (u32)vocabSize) return;
  const u32 mask = field(plan, row, MASK_AT);
  if (mask != 0 && (plan[mask + i / 32] >> (i % 32) & 1) == 0)
    logits[(size_t)row * stride + i] = __uint_as_float(0xff800000u);
}

// Logits for a later draw, one set for each row of the pool: keeps those of the rows that ask for it, or brings back
// what was kept of all. A thread moves four. Grid: (stride / 1024, rows).
KERNEL move_kept(const u32* plan, float* logits, float* kept, int stride, int keep) {
  letNextStart();
  waitForPrevious();
  const u32 row = blockIdx.y, i = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= plan[SAMPLES] || i >= (u32)stride / 4 || (keep && field(plan, row, FLAGS) != KEEP)) return;
  float4* here = (float4*)(logits + (size_t)row * stride) + i;
  float4* there = (float4*)(kept + (size_t)field(plan, row, ROW) * stride) + i;
  if (keep) *there = *here;
  else *here = *there;
}

// --- Limits: of each row the smallest logit that top-k, top-p and min-p let through, without a sort. A histogram over
// the distance from the maximum finds a bin that the limit cannot lie below; the logits down to it go into a list in
// shared memory. On that list (or, where it overflows, on all logits) the limit is found exactly by radix selection on
// the bits of the float, by count or by probability mass. Mass is summed in integers, so the order does not matter.
// After "Qrita" (arXiv 2602.01518) and FlashInfer's sorting-free samplers. Grid: (rows).
const int BINS = 2048, LIST = 1536, LIMIT_THREADS = 1024;
const float COARSE_RANGE = 24, WHOLE_MASS = 1073741824.0f, LIST_UNIT = 1048576.0f;

struct Limits {
  u32 histogram[BINS], totals[32], listed, foundBin, foundAbove, parts[32];
  float list[LIST];
};

DEVICE u32 keyOf(float x) {
  const u32 bits = __float_as_uint(x);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
DEVICE float valueOf(u32 key) { return __uint_as_float(key >> 31 ? key & 0x7fffffffu : ~key); }
DEVICE u32 massOf(float x, float maximum, float rate, float scale) {
  return (u32)(exp2f((x - maximum) * rate) * scale + 0.5f);
}
DEVICE void clearHistogram(Limits& s) {
  __syncthreads();
  for (int i = threadIdx.x; i < BINS; i += LIMIT_THREADS) s.histogram[i] = 0;
  if (threadIdx.x == 0) s.foundBin = BINS;
  __syncthreads();
}
// Going through the bins from 0 upwards (descending: from the last one downwards), the first at which the sum reaches
// the goal: foundBin (BINS if there is none), and the sum before it, foundAbove.
DEVICE void findBin(Limits& s, u32 goal, bool descending) {
  const int per = BINS / LIMIT_THREADS, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  __syncthreads();
  u32 own = 0;
  for (int i = 0; i < per; i++) {
    const int at = threadIdx.x * per + i;
    own += s.histogram[descending ? BINS - 1 - at : at];
  }
  u32 sum = own;
#pragma unroll
  for (int d = 1; d < 32; d <<= 1) {
    const u32 other = __shfl_up_sync(~0u, sum, d);
    if (lane >= d) sum += other;
  }
  if (lane == 31) s.totals[warp] = sum;
  __syncthreads();
  u32 before = sum - own;
  for (int w = 0; w < warp; w++) before += s.totals[w];
  if (before < goal && before + own >= goal) {
    for (int i = 0; i < per; i++) {
      const int at = threadIdx.x * per + i, bin = descending ? BINS - 1 - at : at;
      const u32 count = s.histogram[bin];
      if (before + count >= goal) {
        s.foundBin = bin, s.foundAbove = before;
        break;
      }
      before += count;
    }
  }
  __syncthreads();
}

struct Row {
  const float* logits;
  int size;
  float maximum, rate, scale;
};
template <typename Body> DEVICE void eachLogit(const Row& row, Body body) {
  const int whole = row.size / 4;
#pragma unroll 2
  for (int i = threadIdx.x; i < whole; i += LIMIT_THREADS) {
    const float4 v = ((const float4*)row.logits)[i];
    body(v.x), body(v.y), body(v.z), body(v.w);
  }
  if (threadIdx.x == 0)
    for (int i = 4 * whole; i < row.size; i++) body(row.logits[i]);
}

// The key of the value at which, going down from the largest, count or mass reaches the goal; 0 if it never does.
__device__ __noinline__ u32 selectKey(Limits& s, const Row& row, bool byMass, u32 goal, float limit, bool inList, u32 listEnd) {
  u32 prefix = 0, remaining = goal;
  for (int level = 0; level < 3; level++) {
    const int shift = level == 0 ? 21 : level == 1 ? 10 : 0, width = level == 2 ? 10 : 11;
    const u32 mask = (1u << width) - 1;
    clearHistogram(s);
    const auto count = [&](float x) {
      const u32 key = keyOf(x);
      if (x >= limit && (level == 0 || (key >> (shift + width)) == prefix))
        atomicAdd(&s.histogram[(key >> shift) & mask], byMass ? massOf(x, row.maximum, row.rate, row.scale) : 1u);
    };
    if (inList) {
      for (u32 i = threadIdx.x; i < listEnd; i += LIMIT_THREADS) count(s.list[i]);
    } else {
      eachLogit(row, count);
    }
    findBin(s, remaining, true);
    if (s.foundBin == BINS) return 0;
    prefix = (prefix << width) | s.foundBin;
    remaining -= s.foundAbove;
  }
  return prefix;
}

KERNEL __launch_bounds__(LIMIT_THREADS) sample_limits(const u32* plan, const float* logits, float* limits, int vocabSize,
                                                      int stride) {
  letNextStart();
  waitForPrevious();
  __shared__ Limits s;
  const u32 r = blockIdx.x;
  if (r >= plan[SAMPLES]) return;
  const float temperature = fieldFloat(plan, r, TEMPERATURE), topP = fieldFloat(plan, r, TOP_P);
  const float minP = fieldFloat(plan, r, MIN_P);
  const u32 topK = field(plan, r, TOP_K);
  const bool byCount = topK > 0 && topK < (u32)vocabSize, byMass = topP < 1.0f;
  if (temperature == 0 || !(byCount || byMass || minP > 0)) {
    if (threadIdx.x == 0) limits[r] = LOWEST;
    return;
  }
  Row row = {logits + (size_t)r * stride, vocabSize, 0, 1.4426950408889634f / temperature, 0};
  float greatest = LOWEST;
  eachLogit(row, [&](float x) { greatest = fmaxf(greatest, x); });
  const float maximum = row.maximum = blockMax(greatest, (float*)s.parts);
  float limit = LOWEST;
  if (byMass && !byCount) {
    float part = 0;
    eachLogit(row, [&](float x) { part += exp2f((x - maximum) * row.rate); });
    row.scale = WHOLE_MASS / blockSum(part, (float*)s.parts);
  }
  const u32 goalMass = max(1u, (u32)(topP * WHOLE_MASS));
  bool inList = false;
  if (byCount || byMass) {
    const float spread = BINS / COARSE_RANGE / temperature;
    clearHistogram(s);
    eachLogit(row, [&](float x) {
      const float distance = (maximum - x) * spread;
      if (distance < BINS) atomicAdd(&s.histogram[(u32)distance], byCount ? 1u : massOf(x, maximum, row.rate, row.scale));
    });
    if (threadIdx.x == 0) s.listed = 0;
    findBin(s, byCount ? topK : goalMass, false);
    const u32 pivot = s.foundBin;
    if (pivot < BINS) {
      eachLogit(row, [&](float x) {
        if ((maximum - x) * spread < (float)(pivot + 1)) {
          const u32 at = atomicAdd(&s.listed, 1u);
          if (at < LIST) s.list[at] = x;
        }
      });
      __syncthreads();
      inList = s.listed <= LIST;
    }
  }
  const u32 listEnd = inList ? s.listed : 0;
  if (byCount) {
    const u32 key = selectKey(s, row, false, topK, limit, inList, listEnd);
    // Zero: fewer tokens are allowed at all.
    if (key != 0) limit = valueOf(key);
    if (byMass) {
      // The sum over what top-k keeps.
      if (inList) {
        u32 units = 0;
        for (u32 i = threadIdx.x; i < listEnd; i += LIMIT_THREADS)
          if (s.list[i] >= limit) units += massOf(s.list[i], maximum, row.rate, LIST_UNIT);
        row.scale = WHOLE_MASS / ((float)blockSumWords(units, s.parts) / LIST_UNIT);
      } else {
        float part = 0;
        eachLogit(row, [&](float x) {
          if (x >= limit) part += exp2f((x - maximum) * row.rate);
        });
        row.scale = WHOLE_MASS / blockSum(part, (float*)s.parts);
      }
    }
  }
  if (byMass) {
    const u32 key = selectKey(s, row, true, goalMass, limit, inList, listEnd);
    // Zero: rounding kept the sum below the goal, so everything passes.
    if (key != 0) limit = fmaxf(limit, valueOf(key));
  }
  if (minP > 0) limit = fmaxf(limit, maximum + temperature * logf(minP));
  if (threadIdx.x == 0) limits[r] = limit;
}

// --- The draw. Stage one: the best token of each chunk of the vocabulary; limits may be null. Grid: (chunks, rows).
KERNEL __launch_bounds__(256) draw_chunks(const u32* plan, const float* logits, const float* limits, uint2* candidates,
                                          int vocabSize, int stride) {
  letNextStart();
  waitForPrevious();
  __shared__ u32 parts[32];
  const u32 row = blockIdx.y;
  if (row >= plan[SAMPLES]) return;
  const int start = blockIdx.x * CHUNK, end = min(start + CHUNK, vocabSize);
  const float* from = logits + (size_t)row * stride;
  const float temperature = fieldFloat(plan, row, TEMPERATURE);
  const u32 key = mixBits(field(plan, row, SEED_LOW) ^ mixBits(field(plan, row, SEED_HIGH) ^
                                                               mixBits(field(plan, row, POSITION) + 1 + 0x9e3779b9u)));
  const float limit = limits ? limits[row] : LOWEST;
  float best = LOWEST;
  u32 id = NO_TOKEN;
#pragma unroll
  for (int i = start + 4 * threadIdx.x; i < start + CHUNK; i += 4 * 256) {
    if (i >= end) continue;
    // The stride is a multiple of four, so the last four may be read whole.
    const float4 four = *(const float4*)(from + i);
    const float values[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int n = 0; n < 4; n++) {
      if (i + n >= end) break;
      float value = values[n];
      if (temperature != 0) {
        if (!(value >= limit)) continue;
        value = value / temperature + gumbel(mixBits((u32)(i + n) ^ key));
      }
      if (value > best) best = value, id = i + n;
    }
  }
  const float top = blockMax(best, (float*)parts);
  const u32 winner = blockMin(best == top ? id : NO_TOKEN, parts);
  if (threadIdx.x == 0) candidates[row * gridDim.x + blockIdx.x] = make_uint2(__float_as_uint(top), winner);
}
// Stage two: the best of a row's candidates goes into the token pool and the results. A warp per row.
KERNEL __launch_bounds__(32) draw_finish(const u32* plan, const uint2* candidates, u32* tokenPool, u32* results,
                                         int chunks, int contextLength) {
  letNextStart();
  waitForPrevious();
  const u32 row = blockIdx.x;
  if (row >= plan[SAMPLES]) return;
  float best = LOWEST;
  u32 id = NO_TOKEN;
  for (int i = threadIdx.x; i < chunks; i += 32) {
    const uint2 candidate = candidates[row * chunks + i];
    const float value = __uint_as_float(candidate.x);
    if (value > best) best = value, id = candidate.y;
  }
  const float top = warpMax(best);
  const u32 winner = warpMin(best == top ? id : NO_TOKEN);
  if (threadIdx.x != 0) return;
  const u32 position = field(plan, row, POSITION) + 1;
  u32* at = tokenPool + (size_t)field(plan, row, ROW) * contextLength + position;
  // Where nothing is above the lowest value, everything is forbidden: token 0.
  u32 token = winner == NO_TOKEN ? 0 : winner;
  if (field(plan, row, FLAGS) == SCORE) token = *at;
  else if (position < (u32)contextLength) *at = token;
  u32* result = results + plan[RESULTS_AT] + row * (2 + 2 * plan[TOP_COUNT]);
  result[0] = token, result[1] = NAN_BITS;
}

// --- Log-probabilities of the chosen token and of the best alternatives. Stage one: of each chunk the maximum, the sum
// of exponentials and the n best tokens, each found as the best one after the one before it. Grid: (chunks, rows).
DEVICE bool comesAfter(float value, u32 id, float last, u32 lastId) {
  return value < last || (value == last && id > lastId);
}
KERNEL __launch_bounds__(256) logprob_chunks(const u32* plan, const float* logits, u32* stats, int vocabSize,
                                             int stride) {
  letNextStart();
  waitForPrevious();
  __shared__ u32 parts[32];
  const u32 row = blockIdx.y;
  if (row >= plan[SAMPLES]) return;
  const u32 wanted = field(plan, row, LOGPROBS), words = 2 + 2 * plan[TOP_COUNT];
  if (wanted == 0) return;
  const u32 start = blockIdx.x * CHUNK, end = min(start + CHUNK, (u32)vocabSize);
  const float* from = logits + (size_t)row * stride;
  u32* to = stats + ((size_t)row * gridDim.x + blockIdx.x) * words;
  float greatest = LOWEST, part = 0;
  for (u32 id = start + threadIdx.x; id < end; id += 256) greatest = fmaxf(greatest, from[id]);
  const float maximum = blockMax(greatest, (float*)parts);
  for (u32 id = start + threadIdx.x; id < end; id += 256) part += expf(from[id] - maximum);
  const float sum = blockSum(part, (float*)parts);
  if (threadIdx.x == 0) to[0] = __float_as_uint(maximum), to[1] = __float_as_uint(sum);
  float last = 3.4e38f;
  u32 lastId = 0;
  for (u32 n = 0; n + 1 < wanted; n++) {
    float best = LOWEST;
    u32 bestId = NO_TOKEN;
    for (u32 id = start + threadIdx.x; id < end; id += 256) {
      const float value = from[id];
      if (value > best && comesAfter(value, id, last, lastId)) best = value, bestId = id;
    }
    last = blockMax(best, (float*)parts);
    lastId = blockMin(best == last ? bestId : NO_TOKEN, parts);
    if (threadIdx.x == 0) to[2 + 2 * n] = __float_as_uint(last), to[3 + 2 * n] = lastId;
  }
}
// Stage two, after the draw: the same over the chunks' lists. A warp per row.
KERNEL __launch_bounds__(32) logprob_finish(const u32* plan, const float* logits, const u32* stats, u32* results,
                                            int chunks, int stride) {
  letNextStart();
  waitForPrevious();
  const u32 row = blockIdx.x;
  if (row >= plan[SAMPLES]) return;
  const u32 wanted = field(plan, row, LOGPROBS), topCount = plan[TOP_COUNT], words = 2 + 2 * topCount;
  u32* result = results + plan[RESULTS_AT] + row * words;
  for (u32 n = threadIdx.x; n < topCount; n += 32)
    if (n + 1 >= wanted) result[2 + n] = 0, result[2 + topCount + n] = NAN_BITS;
  if (wanted == 0) return;
  const u32* from = stats + (size_t)row * chunks * words;
  float greatest = LOWEST, part = 0;
  for (int c = threadIdx.x; c < chunks; c += 32) greatest = fmaxf(greatest, __uint_as_float(from[c * words]));
  const float maximum = warpMax(greatest);
  for (int c = threadIdx.x; c < chunks; c += 32)
    part += __uint_as_float(from[c * words + 1]) * expf(__uint_as_float(from[c * words]) - maximum);
  const float shift = maximum + logf(warpSum(part));
  if (threadIdx.x == 0) result[1] = __float_as_uint(logits[(size_t)row * stride + result[0]] - shift);
  float last = 3.4e38f;
  u32 lastId = 0;
  for (u32 n = 0; n + 1 < wanted; n++) {
    float best = LOWEST;
    u32 bestId = NO_TOKEN;
    for (u32 i = threadIdx.x; i < (wanted - 1) * chunks; i += 32) {
      const u32* at = from + (i / (wanted - 1)) * words + 2 + 2 * (i % (wanted - 1));
      const float value = __uint_as_float(at[0]);
      const u32 id = at[1];
      if (id != NO_TOKEN && (value > best || (value == best && id < bestId)) && comesAfter(value, id, last, lastId))
        best = value, bestId = id;
    }
    last = warpMax(best);
    lastId = warpMin(best == last ? bestId : NO_TOKEN);
    if (threadIdx.x == 0) result[2 + n] = lastId, result[2 + topCount + n] = __float_as_uint(last - shift);
  }
}
