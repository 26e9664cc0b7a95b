// Numbers of four to seven bits as operands of mma.sync: a number q below 128 in the lower digits of the bfloat16 0x4300
// is 128 + q, exactly, so that four numbers become an operand by two byte permutations.

#pragma once

#include "warp.cuh"

// Operands of numbers below 128 in the bytes of two rows' words: four columns.
struct Four {
  u32 a[4];
};
DEVICE Four operands(u32 row, u32 other) {
  return {{__byte_perm(row, 0x43434343u, 0x4140), __byte_perm(other, 0x43434343u, 0x4140),
           __byte_perm(row, 0x43434343u, 0x4342), __byte_perm(other, 0x43434343u, 0x4342)}};
}
DEVICE void mma(float (&c)[4], const Four& f, u32 b0, u32 b1) { mma(c, f.a[0], f.a[1], f.a[2], f.a[3], b0, b1); }

// Four six-bit numbers from a word's nibbles and a byte of bit pairs. Two products put the pairs where they belong:
// within one, nothing overlaps.
DEVICE u32 sixBits(u32 nibbles, u32 pairs) {
  const u32 even = pairs * 0x00010010u, odd = pairs * 0x00400400u;
  return nibbles & 0x0f0f0f0fu | (even & 0x00ff00ffu | odd & 0xff00ff00u) & 0x30303030u;
}
