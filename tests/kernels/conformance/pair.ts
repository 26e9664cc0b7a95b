// What the parts of the suite share: a backend beside the float64 reference, given the same calls.

import { type DType, formats } from "../../../kernels/formats/mod.ts";
import type { KvDType } from "../../../kernels/kv_format.ts";
import type {
  Activation,
  ActivationKind,
  Backend,
  Matrix,
  MatrixSpec,
  Ops,
  StateSpec,
} from "../../../kernels/ops.ts";
import type { BatchPlan, StepResult } from "../../../kernels/plan.ts";
import { ReferenceBackend } from "../../../kernels/reference/backend.ts";
import { relativeError } from "../../random.ts";
import { encode } from "../numbers.ts";
import type { TestSequence } from "../plans.ts";

/** Opens a backend; called for each test. */
export type BackendFactory = () => Promise<Backend>;

/** Largest ‖Δ‖/‖ref‖ of one operation: f16 products within a K-step are allowed, a wrong element is not. */
export const tolerance = 2e-3;

/** The same for products with a matrix, where a backend rounds more coarsely than float16. */
export type Tolerances = (dtype: DType, columns: number) => number;

/** What a part of the suite is given. */
export interface Suite {
  /** Registers a test, whose body gets a backend that is given back behind it. */
  readonly test: (title: string, body: (tested: Backend) => Promise<void>) => void;
  readonly tolerances: Tolerances;
  /** Types of keys and values that attention is tested with. */
  readonly caches: readonly KvDType[];
}

/** A gate with everything; its limits are met often. */
export const clamped = { alpha: 1.7, beta: 0.05, limit: 1.5, plus: 1 };

export const baseState: StateSpec = {
  numLayers: 1,
  heads: { numHeads: 2, numKvHeads: 1, headDim: 16 },
  vocabSize: 64,
  vocabStart: 0,
  pageSize: 16,
  numPages: 64,
  maxRows: 16,
  contextLength: 256,
  maxTokens: 160,
  maxSamples: 32,
  hiddenSize: 64,
};

/** The same calls on the backend under test and on the reference. */
export class Pair {
  readonly backends: readonly [Backend, Backend];
  constructor(tested: Backend, state: StateSpec) {
    this.backends = [tested, new ReferenceBackend()];
    for (const backend of this.backends) backend.createState(state);
  }

  each<T>(make: (backend: Backend) => T): [T, T] {
    return [make(this.backends[0]), make(this.backends[1])];
  }

  matrix(spec: MatrixSpec, values: Float32Array): [Matrix, Matrix] {
    return this.each((backend) => {
      const matrix = backend.createMatrix(spec);
      const bytes = encode(values, spec.dtype, spec.columns);
      // In two pieces of whole rows, as a loader would.
      const rows = spec.rows * (spec.experts ?? 1),
        half = Math.ceil(rows / 2),
        rowBytes = bytes.length / rows;
      backend.writeRows(matrix, 0, bytes.subarray(0, half * rowBytes));
      if (half < rows) backend.writeRows(matrix, half, bytes.subarray(half * rowBytes));
      return matrix;
    });
  }

  activation(
    width: number,
    values: Float32Array | null,
    kind: ActivationKind = "residual",
  ): [Activation, Activation] {
    return this.each((backend) => {
      const activation = backend.createActivation(width, kind);
      if (values) backend.writeActivation(activation, values);
      return activation;
    });
  }

  /** Runs a step on both; `forward` is told which. */
  async run(step: BatchPlan, forward: (ops: Ops, i: number) => void): Promise<[StepResult, StepResult]> {
    const [tested, reference] = await Promise.all(this.backends.map((backend, i) => {
      const recorded = backend.record(step, (ops) => forward(ops, i));
      recorded.submit();
      return recorded.read();
    }));
    return [tested!, reference!];
  }

  /** Largest relative error of any one token's row. */
  async error(activation: readonly [Activation, Activation], rows: number): Promise<number> {
    const [tested, reference] = await Promise.all(
      this.backends.map((b, i) => b.readActivation(activation[i]!, rows)),
    );
    const width = activation[0].width;
    let worst = 0;
    for (let t = 0; t < rows; t++) {
      const row = [t * width, (t + 1) * width] as const;
      worst = Math.max(worst, relativeError(tested!.subarray(...row), reference!.subarray(...row)));
    }
    return worst;
  }
}

/** The backend's formats with scales. */
export const quantized = ({ dtypes }: Backend) => dtypes.filter((dtype) => formats[dtype].quantized);

/** Tokens of one sequence, none of which is sampled. */
export const tokensOnly = (
  count: number,
): TestSequence[] => [{ row: 0, cached: 0, extend: count, sample: false }];
