// Sums over the ranks of a tensor-parallel group, and what they exchange at the end of a step, through memory that the
// GPUs see of each other. Every rank adds the parts in the order of the ranks, so all have the same bits.
//
// Few numbers: every rank sends all of its part to all others, as pairs with flags (wire.cuh), into one of two halves
// in turn. A rank that sends its part of sum e has received something of everybody's sum e − 1, and who has begun sum
// e − 1 has ended sum e − 2: so nothing of a half is overwritten before it has been read.
// Many numbers: each rank adds up one part of them, sent to it by the others, and sends the result to all, in float32 or,
// where the group asks for it, in halves: then parts and results are rounded, sums are not.
//
// The number of the sum is counted in device memory by the kernels themselves: a captured graph sums anew each time.

#include "kernel.cuh"
#include "peers/wire.cuh"

const int MOST_RANKS = 8, MOST_BLOCKS = 256;

// Words of the group's control block, in memory of the host; see engine/executor/collectives.ts.
enum ControlWord { BROKEN = 1, PATIENCE = 2 };
const u32 STALLED = 3, NO_TOKEN = 0xffffffffu;

struct Peers {
  char* at[MOST_RANKS];  // the memory of each rank
  u32* control;
  u32* state;  // of this rank: number of the last sum, blocks of this one that have ended
  int rank, ranks;
  u32 pairs;  // room for pairs, per rank and half
  u32 quads;  // room for units of sixteen bytes, of the part that a rank adds up
};

// What rank `from` has sent to rank `to`.
DEVICE uint4* pairsAt(const Peers& p, int to, int from, u32 epoch) {
  return (uint4*)p.at[to] + ((size_t)(epoch & 1) * p.ranks + from) * p.pairs;
}
DEVICE u32* flagAt(const Peers& p, int to, int from, int phase) {
  char* flags = p.at[to] + (size_t)2 * p.ranks * p.pairs * 16;
  return (u32*)flags + (phase * MOST_BLOCKS + blockIdx.x) * MOST_RANKS + from;
}
DEVICE float4* quadsAt(const Peers& p, int to, int from, int phase) {
  char* quads = p.at[to] + (size_t)2 * p.ranks * p.pairs * 16 + 2 * MOST_BLOCKS * MOST_RANKS * 4;
  return (float4*)quads + ((size_t)phase * p.ranks + from) * p.quads;
}

// A wait that ends when the group is broken, or after the time that a rank is given. From then on nothing is waited for.
struct Wait {
  u32 looks = 0;
  u64 since = 0;
  bool over = false;
  DEVICE bool goesOn(const Peers& p, int missing) {
    if (over) return false;
    if (++looks & 1023) return true;
    if (readWord(p.control + BROKEN)) return over = true, false;
    const u64 now = nanoseconds(), patience = readWord(p.control + PATIENCE);
    if (!since) since = now;
    if (patience == 0 || now - since < patience * 1000000) return true;
    writeWord(p.control + BROKEN, STALLED + missing);
    return over = true, false;
  }
};

// The number of this sum; 0 is what memory begins with, and halves take turns also when the count starts again.
DEVICE u32 beginSum(const Peers& p) {
  const u32 next = readWord(p.state) + 1;
  return next ? next : 2;
}
// The last block to end counts the sum: all have begun, and know its number.
DEVICE void endSum(const Peers& p, u32 epoch) {
  __syncthreads();
  if (threadIdx.x == 0 && countUp(p.state + 1) == gridDim.x - 1) writeWord(p.state + 1, 0), writeWord(p.state, epoch);
}

DEVICE uint2 receivePair(const Peers& p, int from, u32 i, u32 epoch, Wait& wait) {
  const uint4* at = pairsAt(p, p.rank, from, epoch) + i;
  for (;;) {
    const uint4 v = readPair(at);
    if (v.y == epoch && v.w == epoch) return make_uint2(v.x, v.z);
    if (!wait.goesOn(p, from)) return make_uint2(0, 0);
  }
}
DEVICE void sendToAll(const Peers& p, u32 i, u32 a, u32 b, u32 epoch) {
  for (int r = 0; r < p.ranks; r++)
    if (r != p.rank) sendPair(pairsAt(p, r, p.rank, epoch) + i, a, b, epoch);
}

// out = or += the sum of all ranks' parts, of at most `p.pairs` pairs; in place, too.
KERNEL __launch_bounds__(256) sum_pairs(const __grid_constant__ Peers p, const float* part, float* out, u32 pairs, int add) {
  letNextStart();
  waitForPrevious();
  const u32 epoch = beginSum(p), first = blockIdx.x * blockDim.x + threadIdx.x, stride = gridDim.x * blockDim.x;
  for (u32 i = first; i < pairs; i += stride) {
    const float2 own = ((const float2*)part)[i];
    sendToAll(p, i, __float_as_uint(own.x), __float_as_uint(own.y), epoch);
  }
  Wait wait;
  for (u32 i = first; i < pairs; i += stride) {
    const float2 own = ((const float2*)part)[i];
    float2 sum = make_float2(0, 0);
    for (int r = 0; r < p.ranks; r++) {
      float2 v = own;
      if (r != p.rank) {
        const uint2 bits = receivePair(p, r, i, epoch, wait);
        v = make_float2(__uint_as_float(bits.x), __uint_as_float(bits.y));
      }
      sum = r == 0 ? v : make_float2(sum.x + v.x, sum.y + v.y);
    }
    float2* to = (float2*)out + i;
    if (add) {
      const float2 before = *to;
      sum = make_float2(before.x + sum.x, before.y + sum.y);
    }
    *to = sum;
  }
  endSum(p, epoch);
}

// all[row][rank][chunk] = the rank's candidates [row][chunk], pairs of logit and token; `start` is the rank's first
// token. Pairs first … first + pairs − 1 of them.
KERNEL __launch_bounds__(256) gather_candidates(const __grid_constant__ Peers p, const uint2* own, uint2* all, u32 first, u32 pairs,
                                                u32 chunks, u32 start) {
  letNextStart();
  waitForPrevious();
  const u32 epoch = beginSum(p), begin = blockIdx.x * blockDim.x + threadIdx.x, stride = gridDim.x * blockDim.x;
  for (u32 i = begin; i < pairs; i += stride) {
    uint2 v = own[first + i];
    if (v.y != NO_TOKEN) v.y += start;
    sendToAll(p, i, v.x, v.y, epoch);
    const u32 row = (first + i) / chunks, chunk = (first + i) % chunks;
    all[(size_t)(row * p.ranks + p.rank) * chunks + chunk] = v;
  }
  Wait wait;
  for (u32 i = begin; i < pairs; i += stride) {
    const u32 row = (first + i) / chunks, chunk = (first + i) % chunks;
    for (int r = 0; r < p.ranks; r++)
      if (r != p.rank) all[(size_t)(row * p.ranks + r) * chunks + chunk] = receivePair(p, r, i, epoch, wait);
  }
  endSum(p, epoch);
}

// Rows of logits of the whole vocabulary, [rows, stride], from the ranks' shares, of which this rank's is
// [rows, ownStride]. Pairs first … first + pairs − 1 of [rows, span], where a share is no longer than `span`.
KERNEL __launch_bounds__(256) gather_rows(const __grid_constant__ Peers p, const float* own, u32 ownStride, float* all, u32 stride,
                                          u32 vocabulary, u32 span, u32 first, u32 pairs) {
  letNextStart();
  waitForPrevious();
  const u32 epoch = beginSum(p), begin = blockIdx.x * blockDim.x + threadIdx.x, step = gridDim.x * blockDim.x;
  // As vocabularyShare of vocabulary.ts.
  const auto startOf = [&](int r) { return (u32)((u64)vocabulary * r / p.ranks); };
  for (u32 i = begin; i < pairs; i += step) {
    const u32 at = 2 * (first + i), row = at / span, column = at % span;
    const u32 start = startOf(p.rank), share = startOf(p.rank + 1) - start;
    const float a = column < share ? own[(size_t)row * ownStride + column] : 0;
    const float b = column + 1 < share ? own[(size_t)row * ownStride + column + 1] : 0;
    sendToAll(p, i, __float_as_uint(a), __float_as_uint(b), epoch);
    float* to = all + (size_t)row * stride + start + column;
    if (column < share) to[0] = a;
    if (column + 1 < share) to[1] = b;
  }
  Wait wait;
  for (u32 i = begin; i < pairs; i += step) {
    const u32 at = 2 * (first + i), row = at / span, column = at % span;
    for (int r = 0; r < p.ranks; r++) {
      if (r == p.rank) continue;
      const u32 start = startOf(r), share = startOf(r + 1) - start;
      const uint2 v = receivePair(p, r, i, epoch, wait);
      float* to = all + (size_t)row * stride + start + column;
      if (column < share) to[0] = __uint_as_float(v.x);
      if (column + 1 < share) to[1] = __uint_as_float(v.y);
    }
  }
  endSum(p, epoch);
}

// Tells all ranks that this block has written what it has for them, and waits until they have.
DEVICE void meetBlocks(const Peers& p, int phase, u32 epoch, Wait& wait) {
  publishWrites();
  __syncthreads();
  const int r = threadIdx.x;
  if (r < p.ranks && r != p.rank) {
    raiseFlag(flagAt(p, r, p.rank, phase), epoch);
    while (readFlag(flagAt(p, p.rank, r, phase)) != epoch && wait.goesOn(p, r)) {
    }
  }
  __syncthreads();
}

// What a thread sends at a time, sixteen bytes: four numbers, or eight as halves.
template <int FOURS> struct Numbers {
  float4 v[FOURS];
  DEVICE void load(const float4* from, u32 i) {
#pragma unroll
    for (int k = 0; k < FOURS; k++) v[k] = from[i * FOURS + k];
  }
  DEVICE void store(float4* to, u32 i) const {
#pragma unroll
    for (int k = 0; k < FOURS; k++) to[i * FOURS + k] = v[k];
  }
  DEVICE void add(const Numbers& other) {
#pragma unroll
    for (int k = 0; k < FOURS; k++)
      v[k] = make_float4(v[k].x + other.v[k].x, v[k].y + other.v[k].y, v[k].z + other.v[k].z, v[k].w + other.v[k].w);
  }
  DEVICE float4 sent() const {
    if (FOURS == 1) return v[0];
    const float4 a = v[0], b = v[FOURS - 1];
    return make_float4(__uint_as_float(packF16(a.x, a.y)), __uint_as_float(packF16(a.z, a.w)),
                       __uint_as_float(packF16(b.x, b.y)), __uint_as_float(packF16(b.z, b.w)));
  }
  DEVICE void receive(float4 s) {
    if (FOURS == 1) {
      v[0] = s;
      return;
    }
    const u32 x = __float_as_uint(s.x), y = __float_as_uint(s.y), z = __float_as_uint(s.z), w = __float_as_uint(s.w);
    v[0] = make_float4(lowF16(x), highF16(x), lowF16(y), highF16(y));
    v[FOURS - 1] = make_float4(lowF16(z), highF16(z), lowF16(w), highF16(w));
  }
};

// out = or += the sum of all ranks' parts, of at most ranks · `p.quads` units of 4 · FOURS numbers. Rank r adds up the
// units from r · share on, and takes its result as the others get it. A block of every rank does the same units, and waits
// for no other blocks than those.
template <int FOURS> DEVICE void sumInTwoSteps(const Peers& p, const float4* part, float4* out, u32 units, u32 share,
                                               int add) {
  typedef Numbers<FOURS> N;
  const int UNROLL = 4 / FOURS;
  const u32 epoch = beginSum(p), first = blockIdx.x * blockDim.x + threadIdx.x, stride = gridDim.x * blockDim.x;
  const auto countOf = [&](int r) { return min(units, (r + 1) * share) - min(units, r * share); };
  Wait wait;
  for (int d = 1; d < p.ranks; d++) {
    const int r = (p.rank + d) % p.ranks;
    const u32 count = countOf(r);
    float4* to = quadsAt(p, r, p.rank, 0);
    for (u32 i = first; i < count; i += UNROLL * stride) {
      N v[UNROLL];
#pragma unroll
      for (int n = 0; n < UNROLL; n++)
        if (i + n * stride < count) v[n].load(part, r * share + i + n * stride);
#pragma unroll
      for (int n = 0; n < UNROLL; n++)
        if (i + n * stride < count) to[i + n * stride] = v[n].sent();
    }
  }
  meetBlocks(p, 0, epoch, wait);
  const u32 count = countOf(p.rank);
  for (u32 i = first; i < count; i += UNROLL * stride) {
    N sum[UNROLL];
    for (int r = 0; r < p.ranks; r++) {
      N v[UNROLL];
#pragma unroll
      for (int n = 0; n < UNROLL; n++) {
        if (i + n * stride >= count) continue;
        if (r == p.rank) v[n].load(part, r * share + i + n * stride);
        else v[n].receive(readArrived(quadsAt(p, p.rank, r, 0) + i + n * stride));
      }
#pragma unroll
      for (int n = 0; n < UNROLL; n++) {
        if (i + n * stride >= count) continue;
        if (r == 0) sum[n] = v[n];
        else sum[n].add(v[n]);
      }
    }
#pragma unroll
    for (int n = 0; n < UNROLL; n++) {
      if (i + n * stride >= count) continue;
      const float4 sent = sum[n].sent();
      for (int d = 1; d < p.ranks; d++) quadsAt(p, (p.rank + d) % p.ranks, p.rank, 1)[i + n * stride] = sent;
      const u32 at = p.rank * share + i + n * stride;
      N result, before;
      result.receive(sent);
      if (add) before.load(out, at), result.add(before);
      result.store(out, at);
    }
  }
  meetBlocks(p, 1, epoch, wait);
  for (int d = 1; d < p.ranks; d++) {
    const int r = (p.rank + d) % p.ranks;
    const u32 count = countOf(r);
    const float4* from = quadsAt(p, p.rank, r, 1);
    for (u32 i = first; i < count; i += UNROLL * stride) {
      N v[UNROLL], before[UNROLL];
#pragma unroll
      for (int n = 0; n < UNROLL; n++) {
        if (i + n * stride >= count) continue;
        v[n].receive(readArrived(from + i + n * stride));
        if (add) before[n].load(out, r * share + i + n * stride);
      }
#pragma unroll
      for (int n = 0; n < UNROLL; n++) {
        if (i + n * stride >= count) continue;
        if (add) v[n].add(before[n]);
        v[n].store(out, r * share + i + n * stride);
      }
    }
  }
  endSum(p, epoch);
}

#define TWO_STEPS(name, FOURS)                                                                                       \
  KERNEL __launch_bounds__(512) name(const __grid_constant__ Peers p, const float4* part, float4* out, u32 units,   \
                                     u32 share, int add) {                                                           \
    letNextStart();                                                                                                  \
    waitForPrevious();                                                                                               \
    sumInTwoSteps<FOURS>(p, part, out, units, share, add);                                                           \
  }
TWO_STEPS(sum_quads, 1)
TWO_STEPS(sum_halves, 2)
