// How a tiled product divides its work, in numbers.

/** How a tiled product divides its work; all numbers are powers of two. */
export interface GemmTile {
  /** Arithmetic of one step of the sum. */
  readonly arithmetic: "f16" | "f32";
  /** Activation rows of a tile. */
  readonly tileTokens: number;
  /** Rows of the weight per tile, counting gate and up rows. */
  readonly tileRows: number;
  /** Columns per step; a multiple of 8. */
  readonly step: number;
  /** Results per thread. */
  readonly threadTokens: number;
  /** Results per thread, along the rows. */
  readonly threadRows: number;
  /** Threads side by side along the rows within 32 neighbouring ones. */
  readonly lanesX: number;
  /** Copies of the tiles in workgroup memory: 2 needs one barrier a step, 1 needs two. */
  readonly buffers: 1 | 2;
  /** Sets of threads that divide a step's vecs among them. */
  readonly slices: number;
  /** Vecs of a slice's step whose code is written out; the rest is a loop. */
  readonly unroll: number;
  /** Vecs whose products are summed in f16 before they are added to the float32 sums: more is less exact. */
  readonly flush: number;
  /** Parts the sum is divided into; with more than one, partial sums go to `parts` as [part][token][row]. */
  readonly split: number;
}

/** Where the activations come from. */
export interface GemmInput {
  /** Which buffer. */
  readonly role: "input" | "prepared";
  /** Its elements. */
  readonly type: "f32" | "f16";
  /** Whether the results of a row are to be multiplied by its scale. */
  readonly scaled: boolean;
}

/** Workgroup memory in which slices meet. */
export const sliceBytes = 8192;

/** Threads of a workgroup. */
export function threadCount(tile: GemmTile): number {
  return tile.tileTokens / tile.threadTokens * (tile.tileRows / tile.threadRows) * tile.slices;
}

/** Columns of the sum that one part covers. */
export function partColumns(columns: number, tile: GemmTile): number {
  return Math.ceil(columns / (tile.step * tile.split)) * tile.step;
}
