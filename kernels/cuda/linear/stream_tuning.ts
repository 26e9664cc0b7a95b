// How the kernels of stream.cu are laid out, as RADISH_CUDA_STREAM says.

/** How blocks are laid out. */
export interface StreamTuning {
  /** Blocks of a multiprocessor at a time. */
  readonly blocks: number;
  /** Slots of a warp, 2 to 4. */
  readonly slots: number;
}

/** What RADISH_CUDA_STREAM says: "1", or "BLOCKS:SLOTS" ("2:3" is what 1 means); null where it is unset or 0. */
export function readStreamTuning(text: string | undefined): StreamTuning | null {
  if (text === undefined || text === "" || text === "0") return null;
  const found = /^([1-4]):([2-4])$/.exec(text === "1" ? "2:3" : text);
  if (found === null) {
    throw new Error(`RADISH_CUDA_STREAM is "${text}", but takes 0, 1, or BLOCKS:SLOTS such as 2:3`);
  }
  return { blocks: Number(found[1]), slots: Number(found[2]) };
}
