// The launch of prepare.cu: norm and rounding of a product's input.

import { type KernelLaunch, packParameters } from "./launch.ts";

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
export function launchPrepare(args: PrepareArgs): KernelLaunch {
  const { rows, columns, element, norm, gather } = args;
  return {
    module: `prepare_${element}`,
    kernel: "prepare",
    grid: [rows, 1, 1],
    threads: 256,
    sharedBytes: 0,
    cluster: 1,
    programmatic: false,
    parameters: [
      packParameters(
        [args.input, norm?.weight ?? null, args.output, args.rowScale, gather?.order ?? null],
        [columns, args.inputStride, gather?.perToken ?? 1, args.inputType === "element" ? 1 : 0],
        [norm?.epsilon ?? 0],
      ),
    ],
  };
}
