// What kernels that are run as C++ are given.

/** Numbers that look normal, the same every time. */
export function numbers(count: number, seed: number): Float32Array<ArrayBuffer> {
  let state = seed;
  const uniform = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  return Float32Array.from({ length: count }, () => uniform() + uniform() + uniform() - 1.5);
}

const upperHalf = (x: number) => new Uint32Array(new Float32Array([x]).buffer)[0]! >>> 16;

/** The nearest bfloat16. */
export function bf16(x: number): number {
  const word = new Uint32Array(new Float32Array([x]).buffer);
  word[0] = (word[0]! + 0x7fff + (word[0]! >>> 16 & 1)) >>> 16 << 16;
  return new Float32Array(word.buffer)[0]!;
}

/** The bits of numbers that are bfloat16. */
export const bf16Bits = (values: Float64Array): Uint16Array<ArrayBuffer> =>
  Uint16Array.from(values, upperHalf);

/** A copy that begins at a multiple of sixteen bytes, as memory of a GPU does. */
export function aligned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const room = new Uint8Array(bytes.length + 16);
  const shift = -Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(room))) & 15;
  room.set(bytes, shift);
  return room.subarray(shift);
}
