// The ranks of a group whose GPUs see each other's memory: how they come together, and the launches of `peers.cu`.
//
// They meet once, on the host, to exchange addresses. From then on only kernels meet: a rank waits on the device for the
// others, and looks at the group's control block in the host's memory meanwhile, where the launcher says that a rank is
// gone. All ranks agree at each step of the way, so that either all are peers or none is.

import type { Collective } from "../../ops.ts";
import type { CudaDevice } from "../device.ts";
import { Code } from "../driver.ts";
import { CudaError } from "../errors.ts";
import { reach } from "./reach.ts";
import { releaseMemory, type SharedMemory, shareMemory } from "./shared_memory.ts";

/** `MOST_RANKS` and `MOST_BLOCKS` of peers.cu. */
const mostRanks = 8, mostBlocks = 256;
/** Threads of a block, by kernel. */
const pairThreads = 256, quadThreads = 512;

/** Room for pairs, per rank and half; for what is sent at a time in two steps, over all ranks. */
const roomPairs = 1 << 17, mostQuads = 1 << 20;

/** Up to so many numbers, divided by the ranks, everything is sent to everybody. */
const pairFloats = 1 << 19;

/** Of the control block: ranks that have left, and its bytes. */
const leftWord = 3, controlBytes = 64;

/** For any context, and with an address on the device. */
const portableAndMapped = 3;

/** What a group needs room for. */
export interface PeerSizes {
  /** Most numbers of a sum. */
  readonly floats: number;
}

/** One rank among peers. */
export class Peers {
  readonly #device: CudaDevice;
  readonly #collective: Collective;
  readonly #shared: readonly SharedMemory[];
  /** The structure that all kernels are given. */
  readonly #group: Uint8Array;
  /** Most blocks of a launch: as many as are on every GPU at the same time. */
  readonly #blocks: number;
  readonly #quads: number;
  /** How the GPUs reach each other. */
  readonly link: string;

  /** `joinPeers` makes one. */
  constructor(
    device: CudaDevice,
    collective: Collective,
    shared: readonly SharedMemory[],
    control: bigint,
    sizes: { readonly blocks: number; readonly quads: number; readonly link: string },
  ) {
    this.#device = device;
    this.#collective = collective;
    this.#shared = shared;
    this.#blocks = sizes.blocks;
    this.#quads = sizes.quads;
    this.link = sizes.link;
    const state = device.alloc(256, "the count of sums");
    device.fill(state.address, 0, 64);
    this.#group = new Uint8Array(96);
    const view = new DataView(this.#group.buffer);
    shared.forEach(({ address }, r) => view.setBigUint64(8 * r, address, true));
    view.setBigUint64(64, control, true);
    view.setBigUint64(72, state.address, true);
    [collective.rank, collective.size, roomPairs, sizes.quads].forEach((word, i) =>
      view.setInt32(80 + 4 * i, word, true)
    );
    // Loading a kernel may wait for what runs.
    for (const name of ["sum_pairs", "sum_quads", "sum_halves", "gather_candidates", "gather_rows"]) {
      device.kernel("peers", name);
    }
  }

  /**
   * out = or += the sum of `count` float32 at `part` of all ranks; a multiple of eight. The two may be the same. `few`
   * sends everything to everybody, in float32; otherwise `halves` sends half of the bytes.
   */
  sum(
    part: bigint,
    out: bigint,
    count: number,
    epilogue: "store" | "add",
    few = count <= pairFloats / this.#collective.size,
    halves = this.#collective.halves === true,
  ): void {
    const { size } = this.#collective, add = epilogue === "add" ? 1 : 0;
    if (few && count <= 2 * roomPairs) {
      return this.#pairs("sum_pairs", count / 2, [part, out, count / 2, add]);
    }
    const each = halves ? 8 : 4, all = count / each, most = this.#quads * size;
    const kernel = this.#device.kernel("peers", halves ? "sum_halves" : "sum_quads");
    for (let first = 0; first < all; first += most) {
      const units = Math.min(most, all - first), share = Math.ceil(units / size);
      const at = BigInt(4 * each * first), blocks = Math.min(this.#blocks, Math.ceil(share / quadThreads));
      this.#device.launch(kernel, [blocks, 1], quadThreads, 0, [
        this.#group,
        part + at,
        out + at,
        units,
        share,
        add,
      ]);
    }
  }

  /** [rows, ranks, chunks] candidates at `all` from each rank's [rows, chunks], whose tokens count from `start`. */
  gatherCandidates(own: bigint, all: bigint, rows: number, chunks: number, start: number): void {
    for (const [first, pairs] of pieces(rows * chunks)) {
      this.#pairs("gather_candidates", pairs, [own, all, first, pairs, chunks, start]);
    }
  }

  /** [rows, stride] logits of the vocabulary at `all` from each rank's [rows, ownStride]. */
  gatherRows(
    own: { readonly address: bigint; readonly stride: number },
    all: { readonly address: bigint; readonly stride: number },
    rows: number,
    vocabSize: number,
  ): void {
    const span = 4 * Math.ceil(Math.ceil(vocabSize / this.#collective.size) / 4);
    for (const [first, pairs] of pieces(rows * span / 2)) {
      this.#pairs("gather_rows", pairs, [
        own.address,
        own.stride,
        all.address,
        all.stride,
        vocabSize,
        span,
        first,
        pairs,
      ]);
    }
  }

  /** Throws if the group was broken: what has been computed since means nothing. */
  check(): void {
    this.#collective.throwIfBroken?.();
  }

  /** This rank launches nothing more. The last one to leave gives everything back. */
  leave(): void {
    const { control, size } = this.#collective, { driver, stream } = this.#device;
    driver.cuStreamSynchronize(stream);
    if (Atomics.add(control!, leftWord, 1) !== size - 1) return;
    for (const memory of this.#shared) releaseMemory(driver, memory);
    driver.cuMemHostUnregister(bytesOf(control!));
  }

  #pairs(
    kernel: "sum_pairs" | "gather_candidates" | "gather_rows",
    pairs: number,
    args: (bigint | number)[],
  ) {
    const blocks = Math.min(2 * this.#blocks, mostBlocks, Math.ceil(pairs / pairThreads));
    this.#device.launch(this.#device.kernel("peers", kernel), [blocks, 1], pairThreads, 0, [
      this.#group,
      ...args,
    ]);
  }
}

/** Pieces of what does not fit at once: the first, and how many. */
function* pieces(pairs: number): Iterable<[first: number, count: number]> {
  for (let first = 0; first < pairs; first += roomPairs) yield [first, Math.min(roomPairs, pairs - first)];
}

/** The control block as the driver takes it. */
const bytesOf = (control: Int32Array<SharedArrayBuffer>) =>
  new Uint8Array(control.buffer, control.byteOffset, controlBytes) as Uint8Array as Uint8Array<ArrayBuffer>;

/**
 * Makes the ranks of a group peers, or says why they cannot be. Called on all of them at the same place, with the same
 * sizes, while none of them computes.
 */
export function joinPeers(device: CudaDevice, collective: Collective, sizes: PeerSizes): Peers | string {
  const { control, size, rank } = collective, { driver, properties } = device;
  if (control === undefined || size > mostRanks) return `there are more than ${mostRanks} ranks`;
  const gpus = exchange(collective, [properties.ordinal, properties.multiprocessors]);
  const ordinals = gpus.map(([ordinal]) => ordinal!);
  if (new Set(ordinals).size < size) return "ranks share a GPU";
  const links = ordinals.filter((_, r) => r !== rank).map((other) =>
    reach(driver, properties.ordinal, other)
  );
  const apart = exchange(collective, [links.includes("none") ? 1 : 0]).findIndex(([alone]) => alone === 1);
  if (apart >= 0) return `the GPU of rank ${apart} does not reach the memory of all others`;

  const quads = Math.ceil(Math.min(mostQuads, Math.ceil(sizes.floats / 4)) / size);
  const bytes = 2 * size * roomPairs * 16 + 2 * mostBlocks * mostRanks * 4 + 2 * size * quads * 16;
  let own: SharedMemory | null = null, address = 0n, code = 0;
  try {
    own = shareMemory(device, bytes, ordinals);
    if (rank === 0) address = registerControl(device, control);
  } catch (error) {
    if (!(error instanceof CudaError) || error.code === 0) throw error;
    code = error.code;
  }
  const words = Uint32Array.from(
    BigUint64Array.of(own?.address ?? 0n, BigInt(own?.bytes ?? 0), address),
    (n) => Number(n & 0xffffffffn),
  );
  const high = Number((own?.address ?? 0n) >> 32n), highControl = Number(address >> 32n);
  const answers = exchange(collective, [code, words[0]!, high, words[1]!, words[2]!, highControl]);
  const failed = answers.findIndex(([code]) => code !== 0);
  if (failed >= 0) {
    if (own !== null) releaseMemory(driver, own);
    return `the driver does not share memory (CUDA error ${answers[failed]![0]} on rank ${failed})`;
  }
  const shared = answers.map(([, low, high, bytes]) => ({ address: join(low!, high!), bytes: bytes! }));
  return new Peers(device, collective, shared, join(answers[0]![4]!, answers[0]![5]!), {
    blocks: Math.min(mostBlocks, ...gpus.map(([, multiprocessors]) => multiprocessors!)),
    quads,
    link: links.includes("PCIe") ? "PCIe" : "NVLink",
  });
}

const join = (low: number, high: number) => BigInt(high) << 32n | BigInt(low);

/** Makes the control block visible to all GPUs; its address there. */
function registerControl(device: CudaDevice, control: Int32Array<SharedArrayBuffer>): bigint {
  const { driver } = device, data = bytesOf(control), address = new BigUint64Array(1);
  const register = () => driver.cuMemHostRegister_v2(data, BigInt(controlBytes), portableAndMapped);
  let code = register();
  // A group before this one whose ranks were ended has left its memory registered, and this one's stands there now.
  if (code === Code.HostMemoryAlreadyRegistered) {
    driver.cuMemHostUnregister(data);
    code = register();
  }
  device.check(code, "cuMemHostRegister of the group's control block");
  device.check(
    driver.cuMemHostGetDevicePointer_v2(new Uint8Array(address.buffer), data, 0),
    "cuMemHostGetDevicePointer",
  );
  return address[0]!;
}

/** Words of each rank, by rank. */
function exchange(collective: Collective, words: readonly number[]): Uint32Array[] {
  const { size } = collective, own = Uint32Array.from(words), all = new Uint32Array(size * own.length);
  collective.allGather(new Float32Array(own.buffer), new Float32Array(all.buffer));
  return Array.from({ length: size }, (_, r) => all.subarray(r * own.length, (r + 1) * own.length));
}
