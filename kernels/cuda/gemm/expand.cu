// Expands quantized weights to bfloat16 in memory: for many rows a product of expanded weights is faster than expanding a
// tile again for every tile of activation rows.
//
// Grid: any number of workgroups of 256 threads, which stride over the matrix; a thread takes 8 columns. Bound by memory.
#include "kernel.cuh"

KERNEL __launch_bounds__(256) expand(const u8* weight, u16* output, u32 rows, u32 K, int type) {
  // The product behind this kernel may fetch its weights before it waits: it must not begin earlier.
  waitForPrevious();
  const u32 octets = K / 8;
  const size_t rowBytes = matrixRowBytes(type, K);
  for (u64 i = blockIdx.x * 256 + threadIdx.x; i < (u64)rows * octets; i += gridDim.x * 256) {
    const u32 row = (u32)(i / octets), k = (u32)(i % octets) * 8;
    float v[8];
    weights8Of(type, weight + row * rowBytes, K, k, v);
    *(uint4*)(output + (u64)row * K + k) =
        make_uint4(packBf16(v[0], v[1]), packBf16(v[2], v[3]), packBf16(v[4], v[5]), packBf16(v[6], v[7]));
  }
}
