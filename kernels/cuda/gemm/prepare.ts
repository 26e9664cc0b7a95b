// The launches of prepare.cu and expand.cu: norm and rounding of a product's input, quantized weights to bfloat16.

import { type KernelLaunch, overlapping, packParameters } from "./launch.ts";

/** What is prepared. */
export interface PrepareArgs {
  /** Output rows. */
  readonly rows: number;
  /** Numbers of a row, a multiple of 8. */
  readonly columns: number;
  /** Type of the output. */
  readonly element: "bf16" | "f16";
  /** [tokens, inputStride]; float32, or `element`. */
  readonly input: bigint;
  /** Type of the input. */
  readonly inputType: "f32" | "element";
  /** Numbers from one input row to the next; a multiple of 8. */
  readonly inputStride: number;
  /** RMS norm; null rounds only. */
  readonly norm: { readonly weight: bigint; readonly epsilon: number } | null;
  /** [rows, columns] */
  readonly output: bigint;
  /** [rows] float32: each row is divided by a power of two that is stored here, so that f16 holds it; null: is not. */
  readonly rowScale: bigint | null;
  /** Row i is input row order[i] / perToken; null: input row i. */
  readonly gather: { readonly order: bigint; readonly perToken: number } | null;
}

/** The launch. */
export function launchPrepare(args: PrepareArgs, capability: number): KernelLaunch {
  const { rows, columns, element, norm, gather } = args;
  return {
    ...overlapping(`prepare_${element}`, capability),
    kernel: "prepare",
    grid: [rows, 1, 1],
    threads: 256,
    sharedBytes: 0,
    cluster: 1,
    parameters: [
      packParameters(
        [args.input, norm?.weight ?? null, args.output, args.rowScale, gather?.order ?? null],
        [columns, args.inputStride, gather?.perToken ?? 1, args.inputType === "element" ? 1 : 0],
        [norm?.epsilon ?? 0],
      ),
    ],
  };
}

/** Expands `rows` rows of a quantized weight (`type` as the kernels number formats) to rows of bfloat16 numbers. */
export function launchExpand(
  weight: bigint,
  output: bigint,
  rows: number,
  columns: number,
  type: number,
  { capability, multiprocessors }: { readonly capability: number; readonly multiprocessors: number },
): KernelLaunch {
  const word = (n: number) => new Uint8Array(Uint32Array.of(n).buffer);
  const address = (n: bigint) => new Uint8Array(BigUint64Array.of(n).buffer);
  return {
    ...overlapping("expand_bf16", capability),
    kernel: "expand",
    grid: [8 * multiprocessors, 1, 1],
    threads: 256,
    sharedBytes: 0,
    cluster: 1,
    parameters: [
      address(weight),
      address(output),
      word(rows),
      word(columns),
      word(type),
    ],
  };
}
