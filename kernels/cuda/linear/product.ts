// What a matrix product is, for whoever chooses its kernel.

import type { Gate, Norm } from "../../ops.ts";
import type { CudaActivation, CudaMatrix, CudaVector } from "../memory.ts";
import type { ModuleName } from "../modules.ts";

/** The kernels' numbers of what happens behind a product. */
export const Epilogue = { store: 0, add: 1, "gate-mul": 2 } as const;

/** A product over `rows` rows. */
export interface Product {
  /** [rows, columns] */
  readonly input: Pick<CudaActivation, "type" | "buffer">;
  /** Applied to the input first. */
  readonly norm: Norm | null;
  /** [rows, columns] */
  readonly weight: CudaMatrix;
  /** [rows] */
  readonly bias: CudaVector | null;
  /** [rows, rows of the weight], or half as wide for "gate-mul". */
  readonly output: Pick<CudaActivation, "type" | "buffer">;
  /** As in `LinearArgs`. */
  readonly epilogue: keyof typeof Epilogue;
  /** For "gate-mul"; SiLU where absent. */
  readonly gate?: Gate | undefined;
  /** How many. */
  readonly rows: number;
  /** From one row of the output to the next; that of a row's features where nothing is said. */
  readonly stride?: number;
  /** Not on the matrix units, however large the matrix is. */
  readonly exact?: boolean;
}

/** A product for few rows, whose input is somewhere else. */
export type FewRows = Pick<Product, "weight" | "bias" | "output" | "epilogue" | "rows" | "stride">;

/** The launch of a kernel for few rows. */
export interface FewRowsPlan {
  readonly module: ModuleName;
  readonly kernel: string;
  /** Blocks. */
  readonly blocks: number;
  readonly threads: number;
  readonly sharedBytes: number;
}

/** The launch of one whose blocks stay and go through many rows of the weight. */
export interface StayingPlan extends FewRowsPlan {
  /** The kernel's last argument. */
  readonly slots: number;
}

/**
 * Blocks of so many bytes of shared memory that a multiprocessor holds at a time. It has as much as one block may take,
 * `mostBytes`, and a KiB, and keeps a KiB of each block for itself.
 */
export const blocksThatFit = (bytes: number, mostBytes: number): number =>
  Math.floor((mostBytes + 1024) / (bytes + 1024));

/** Numbers of a row of the output: a gate takes two of the product's. */
export const featuresOf = ({ weight: { spec }, epilogue }: FewRows): number =>
  epilogue === "gate-mul" ? spec.rows / 2 : spec.rows;

/** Whether products with a weight run on the matrix units. */
export function usesMatrixUnits({ spec: { rows, columns, dtype } }: CudaMatrix, halfFrom: number): boolean {
  return dtype !== "f32" && rows * columns >= halfFrom;
}

/** The type in which products with a weight take their inputs on the matrix units. */
export const inputType = ({ spec }: CudaMatrix): "bf16" | "f16" => spec.dtype === "f16" ? "f16" : "bf16";
