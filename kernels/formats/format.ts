// What a weight format is to everything that does not compute with it: how many bytes a row takes, how a row is
// written, and what it means. How a backend multiplies by it is the backend's (`kernels/*/formats/`).

/** A way to store a matrix's rows. Rows are whole: no block spans two of them. */
export interface Format<Option extends string | null = string | null> {
  /** What `--dtype` calls it; null where only checkpoints come in it. */
  readonly option: Option;
  /** True where numbers share scales: coarser than what checkpoints of that model usually are trained in. */
  readonly quantized: boolean;
  /** A row's columns are a multiple; 8 for all that any matrix may have. */
  readonly blockColumns: number;
  /** Bytes of a row of `columns` numbers; a multiple of 8 where the format is quantized. */
  rowBytes(columns: number): number;
  /** Rows of `columns` float32 numbers, rounded to nearest. The result may share the values' memory. */
  encode(values: Float32Array, columns: number): Uint8Array;
  /** Stored rows as float32 numbers, exactly. The bytes begin at a multiple of 4 in their buffer. */
  decode(data: Uint8Array, columns: number): Float32Array;
}
