// The ends of a step that touch the token pool: page-table entries and token ids that the plan sets, and the rows of
// the embedding for the step's tokens.

#include "kernel.cuh"

// (destination, value) pairs: page-table entries, then token-pool entries. A thread per pair.
KERNEL scatter(const u32* plan, u32* pageTable, u32* tokenPool) {
  letNextStart();
  waitForPrevious();
  const u32 i = blockIdx.x * blockDim.x + threadIdx.x, pages = plan[PAGE_WRITES];
  if (i >= pages + plan[TOKEN_WRITES]) return;
  const u32 at = plan[CONTENT_AT + 2 * i], value = plan[CONTENT_AT + 2 * i + 1];
  (i < pages ? pageTable : tokenPool)[at] = value;
}

// output[t] = scale · table[token_pool[row(t)][position(t)] - firstId], zeros where that is not one of its rows. A block per
// token.
KERNEL embed(const u32* plan, const u8* table, int type, const u32* tokenPool, void* output, int outputType, int columns,
             int rows, int firstId, int contextLength, float scale) {
  letNextStart();
  waitForPrevious();
  const u32 t = blockIdx.x;
  if (t >= plan[TOKENS]) return;
  const u32* token = plan + plan[TOKENS_AT] + 2 * t;
  const u32 id = tokenPool[(size_t)token[0] * contextLength + token[1]] - (u32)firstId;
  const bool own = id < (u32)rows;
  const u8* row = table + (own ? id : 0) * matrixRowBytes(type, columns);
  for (int k = threadIdx.x * 8; k < columns; k += blockDim.x * 8) {
    float w[8];
    weights8Of(type, row, columns, k, w);
#pragma unroll
    for (int i = 0; i < 8; i++) storeNumber(output, outputType, (size_t)t * columns + k + i, own ? w[i] * scale : 0.0f);
  }
}

// output += input, for sums over ranks that went through the host.
KERNEL add_rows(const float* input, float* output, u32 count) {
  letNextStart();
  waitForPrevious();
  for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) output[i] += input[i];
}

// Sets every word of a run, for pages filled with NaN.
KERNEL fill_words(u32* to, u32 value, u64 count) {
  letNextStart();
  waitForPrevious();
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (u64)gridDim.x * blockDim.x) to[i] = value;
}
