// What fills the matrices and vectors of a plan: a checkpoint's files, or random numbers.

import type { Matrix } from "../../kernels/ops.ts";
import type { MatrixPlan, VectorPlan } from "./plan.ts";

/** Writes whole rows of a matrix, from `firstRow` on; the data is copied. */
export type WriteRows = (matrix: Matrix, firstRow: number, data: Uint8Array) => void;

/** Fills matrices through `write`, and vectors in place (they arrive holding their neutral values). */
export interface WeightSource {
  /** Writes all rows of all matrices through `write`, and fills the vectors. */
  fill(
    matrices: ReadonlyMap<MatrixPlan, Matrix>,
    vectors: ReadonlyMap<VectorPlan, Float32Array>,
    write: WriteRows,
    onProgress: (done: number, total: number) => void,
  ): Promise<void>;
}
