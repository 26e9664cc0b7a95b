// Python's `random` (the Mersenne Twister MT19937), as far as the benchmarks of mini-SGLang and nano-vllm use it, so
// that "seed 0" means the same requests here as there.
//
// M. Matsumoto, T. Nishimura: Mersenne Twister, ACM TOMACS 8 (1998); seeding and ranges as in CPython.

const size = 624, middle = 397;

/** The generator after `random.seed(seed)`; 0 ≤ seed < 2³². */
export class PythonRandom {
  readonly #state = new Uint32Array(size);
  #at = size;

  constructor(seed: number) {
    this.#fill(19650218);
    const state = this.#state;
    let i = 1;
    const step = (factor: number, add: number) => {
      const before = state[i - 1]! ^ (state[i - 1]! >>> 30);
      state[i] = (state[i]! ^ Math.imul(before, factor)) + add;
      if (++i >= size) {
        state[0] = state[size - 1]!;
        i = 1;
      }
    };
    for (let k = 0; k < size; k++) step(1664525, seed); // a key of one word
    for (let k = 1; k < size; k++) step(1566083941, -i);
    state[0] = 0x80000000;
  }

  /** `random.randint(low, high)`: uniform, both ends included; high − low < 2³² − 1. */
  int(low: number, high: number): number {
    const count = high - low + 1;
    const bits = 32 - Math.clz32(count);
    let value: number;
    do value = this.#next() >>> (32 - bits); while (value >= count);
    return low + value;
  }

  /** `random.random()`: uniform in [0, 1), with 53 bits. */
  next(): number {
    const high = this.#next() >>> 5, low = this.#next() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  #fill(seed: number): void {
    const state = this.#state;
    state[0] = seed;
    for (let i = 1; i < size; i++) {
      state[i] = Math.imul(state[i - 1]! ^ (state[i - 1]! >>> 30), 1812433253) + i;
    }
  }

  #next(): number {
    if (this.#at >= size) this.#twist();
    let word = this.#state[this.#at++]!;
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  #twist(): void {
    const state = this.#state;
    for (let i = 0; i < size; i++) {
      const word = (state[i]! & 0x80000000) | (state[(i + 1) % size]! & 0x7fffffff);
      state[i] = state[(i + middle) % size]! ^ (word >>> 1) ^ ((word & 1) * 0x9908b0df);
    }
    this.#at = 0;
  }
}
