// Expands int8 weights to 16-bit floats in memory: for many rows a product of expanded weights is faster than
// expanding a tile again for every tile of activation rows.
//
// Grid: any number of workgroups of 256 threads, which stride over the matrix. Memory: rows of q8 (numbers, scales
// behind them) to rows of K numbers; a thread takes 8. Bound by memory: 1 byte in, 2 out.
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(256)
    expand(const unsigned char* weight, u16* output, u32 rows, u32 K, u32 stride) {
  // The product behind this kernel may fetch its weights before it waits: it must not begin earlier.
  afterEarlier();
  const u32 octets = K / 8;
  for (u64 i = blockIdx.x * 256 + threadIdx.x; i < (u64)rows * octets; i += gridDim.x * 256) {
    const u32 row = (u32)(i / octets), k = (u32)(i % octets) * 8;
    const unsigned char* from = weight + (u64)row * stride;
    const uint2 v = *(const uint2*)(from + k);
    *(uint4*)(output + (u64)row * K + k) = expanded<ELEMENT>(v.x, v.y, *(const u16*)(from + K + k / 32 * 2));
  }
}
