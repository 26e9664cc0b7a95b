// The reference backend: every operation in plain TypeScript and float64, as directly as it can be written. It is
// what the other backends are tested against, and the place to read what an operation means; it is one file so that
// it can be read from top to bottom.

import type { BatchPlan, StepResult } from "../plan.ts";
import type {
  Activation,
  ActivationKind,
  AttentionArgs,
  Backend,
  Collective,
  DeviceInfo,
  LinearArgs,
  Matrix,
  MatrixSpec,
  MoeArgs,
  Norm,
  NormArgs,
  Ops,
  RecordedStep,
  RopeTable,
  SampleArgs,
  StateSpec,
  Vector,
} from "../ops.ts";
import { matrixBytes, silu } from "../ops.ts";
import type { KvFormats } from "../kv_format.ts";
import { emptyResult, joinResults } from "../results.ts";
import { gatherBest, gatherRows, needsWholeRow } from "../vocabulary.ts";
import { attend, rotate, roundHeads } from "./attention.ts";
import { gateMul, product, rmsNorm, route, softCapped, sumOfSquares } from "./linear.ts";
import { dtypes, formats } from "../formats/mod.ts";
import { type SampledRow, sampledRows, SampleFlag } from "../sampling.ts";
import { draw, largest, logSoftmax, penalize } from "./sampling.ts";
import { ReferenceState } from "./state.ts";

class ReferenceMatrix implements Matrix {
  readonly data: Float64Array;
  constructor(readonly spec: MatrixSpec) {
    this.data = new Float64Array(spec.rows * spec.columns * (spec.experts ?? 1));
  }
}

class ReferenceVector implements Vector {
  constructor(readonly data: Float64Array) {}
  get length(): number {
    return this.data.length;
  }
}

class ReferenceActivation implements Activation {
  readonly data: Float64Array;
  constructor(readonly width: number, maxTokens: number) {
    this.data = new Float64Array(width * maxTokens).fill(NaN);
  }
  row(t: number): Float64Array {
    return this.data.subarray(t * this.width, (t + 1) * this.width);
  }
}

class ReferenceRope implements RopeTable {
  constructor(readonly cosine: Float32Array, readonly sine: Float32Array, readonly half: number) {}
  get positions(): number {
    return this.cosine.length / this.half;
  }
}

const data = (vector: Vector) => (vector as ReferenceVector).data;
const normalize = (x: Float64Array, norm: Norm) => rmsNorm(x, data(norm.weight), norm.epsilon);
/** x · weightᵀ + bias, of one expert where there are several. */
const multiply = (x: Float64Array, weight: Matrix, bias?: Vector | null, expert = 0) => {
  const { data: w, spec: { rows } } = weight as ReferenceMatrix;
  return product(x, w, rows, bias ? data(bias).subarray(expert * rows) : null, expert * rows);
};

/** Plain-TypeScript backend; simple and slow. */
export class ReferenceBackend implements Backend {
  /** See `Backend`. */
  readonly info: DeviceInfo = {
    kind: "reference",
    description: "plain TypeScript, float64",
    software: true,
    memoryBytes: null,
  };
  readonly dtypes = dtypes;
  readonly drawsLater = false;
  readonly kvFormats: KvFormats = {
    auto: { numberBytes: 8, scaleBytes: 0 },
    int8: { numberBytes: 8, scaleBytes: 0 },
  };
  weightBytes = 0;
  #state: ReferenceState | null = null;
  readonly #collective: Collective | null;

  /** `collective` is this rank's end of a group. */
  constructor(collective: Collective | null = null) {
    this.#collective = collective;
  }

  get #live(): ReferenceState {
    if (this.#state === null) throw new Error("createState has not been called");
    return this.#state;
  }

  /** See `Backend`. */
  createMatrix(spec: MatrixSpec): Matrix {
    this.weightBytes += matrixBytes(spec);
    return new ReferenceMatrix(spec);
  }

  writeRows(matrix: Matrix, firstRow: number, bytes: Uint8Array): void {
    const { data, spec } = matrix as ReferenceMatrix;
    data.set(formats[spec.dtype].decode(bytes.slice(), spec.columns), firstRow * spec.columns);
  }

  /** See `Backend`. */
  createVector(values: Float32Array): Vector {
    this.weightBytes += values.byteLength;
    return new ReferenceVector(Float64Array.from(values));
  }

  /** See `Backend`. */
  createRopeTable(cosine: Float32Array, sine: Float32Array, half: number): RopeTable {
    return new ReferenceRope(cosine.slice(), sine.slice(), half);
  }

  createState(spec: StateSpec): void {
    this.#state = new ReferenceState(spec);
  }

  createActivation(width: number, _kind: ActivationKind): Activation {
    return new ReferenceActivation(width, this.#live.spec.maxTokens);
  }

  record(plan: BatchPlan, forward: (ops: Ops) => void): RecordedStep {
    let started = 0;
    return {
      submit: () => void (started = performance.now()),
      read: () => {
        this.#live.apply(plan);
        const results: StepResult[] = [];
        for (let i = 0; i < plan.steps; i++) {
          const ops = new ReferenceOps(this.#live, plan, i, this.#collective);
          forward(ops);
          if (ops.result) results.push(ops.result);
        }
        return joinResults(results, plan.id, performance.now() - started);
      },
    };
  }

  readActivation(activation: Activation, rows: number): Promise<Float32Array> {
    const { data, width } = activation as ReferenceActivation;
    return Promise.resolve(Float32Array.from(data.subarray(0, rows * width)));
  }

  writeActivation(activation: Activation, values: Float32Array): void {
    (activation as ReferenceActivation).data.set(values);
  }

  poisonPages(pages: Uint32Array): void {
    this.#live.poison(pages);
  }

  /** Nothing is held outside of this process. */
  [Symbol.dispose](): void {
    this.#state = null;
  }
}

/** One forward of a plan. */
class ReferenceOps implements Ops {
  readonly #state: ReferenceState;
  readonly #plan: BatchPlan;
  readonly #step: number;
  readonly #collective: Collective | null;
  /** Row and position of each of the T tokens. */
  readonly #tokens: { row: number; position: number }[] = [];
  result: StepResult | null = null;
  readonly draws: boolean;

  constructor(state: ReferenceState, plan: BatchPlan, step: number, collective: Collective | null) {
    this.#state = state;
    this.#plan = plan;
    this.#step = step;
    this.#collective = collective;
    this.draws = plan.draws === true;
    plan.row.forEach((row, b) => {
      const first = plan.cachedLength[b]! + step;
      for (let i = 0; i < plan.extendLength[b]!; i++) this.#tokens.push({ row, position: first + i });
    });
  }

  embed(table: Matrix, output: Activation, scale = 1): void {
    const { data, spec } = table as ReferenceMatrix;
    this.#tokens.forEach(({ row, position }, t) => {
      const id = this.#state.tokenPool[row * this.#state.spec.contextLength + position]! -
        this.#state.spec.vocabStart;
      const x = (output as ReferenceActivation).row(t);
      if (id < 0 || id >= spec.rows) x.fill(0);
      else x.set(data.subarray(id * spec.columns, (id + 1) * spec.columns).map((v) => v * scale));
    });
  }

  linear({ input, norm, weight, bias, output, epilogue, gate }: LinearArgs): void {
    for (let t = 0; t < this.#tokens.length; t++) {
      const row = (input as ReferenceActivation).row(t);
      const y = multiply(norm ? normalize(row, norm) : row, weight, bias);
      this.#store(output, t, epilogue === "gate-mul" ? gateMul(y, gate ?? silu) : y, epilogue === "add");
    }
  }

  norm({ input, norm, first, output, epilogue, whole }: NormArgs): void {
    const weight = data(norm.weight), end = first + weight.length;
    for (let t = 0; t < this.#tokens.length; t++) {
      const x = (input as ReferenceActivation).row(t).subarray(first, end);
      const mean = whole && (whole.sums as ReferenceActivation).row(t)[whole.column]! / whole.count;
      this.#store(output, t, rmsNorm(x, weight, norm.epsilon, mean), epilogue === "add", first);
    }
  }

  squares(input: Activation, first: number, count: number, output: Activation, column: number): void {
    for (let t = 0; t < this.#tokens.length; t++) {
      const x = (input as ReferenceActivation).row(t).subarray(first, first + count);
      this.#store(output, t, Float64Array.of(sumOfSquares(x)), false, column);
    }
  }

  attention(args: AttentionArgs): void {
    this.#ropeStore(args);
    this.#attend(args);
  }

  /** All tokens of the step, before any of them attends: a prompt's later tokens see its earlier ones. */
  #ropeStore({ qkv, heads, qNorm, kNorm, rope, layer }: AttentionArgs): void {
    const { numHeads, numKvHeads, headDim } = heads;
    const { cosine, sine } = rope as ReferenceRope;
    this.#tokens.forEach(({ row, position }, t) => {
      const x = (qkv as ReferenceActivation).row(t);
      for (let h = 0; h < numHeads + numKvHeads; h++) {
        const head = x.subarray(h * headDim, (h + 1) * headDim);
        const norm = h < numHeads ? qNorm : kNorm;
        if (norm) head.set(normalize(head, norm));
        rotate(head, cosine, sine, position);
      }
      const kvWidth = numKvHeads * headDim;
      const at = this.#state.offset(row, position);
      const k = numHeads * headDim;
      const keep = (first: number) => {
        const all = x.subarray(first, first + kvWidth);
        return this.#state.spec.kvDType === "int8" ? roundHeads(all, headDim) : all;
      };
      this.#state.keys[layer]!.set(keep(k), at);
      this.#state.values[layer]!.set(keep(k + kvWidth), at);
    });
  }

  #attend({ qkv, heads, output, layer, scale, window, softCap, sinks }: AttentionArgs): void {
    const { numHeads, numKvHeads, headDim } = heads;
    const vector = (array: Float64Array, row: number, h: number) => (position: number) => {
      const start = this.#state.offset(row, position) + h * headDim;
      return array.subarray(start, start + headDim);
    };
    this.#tokens.forEach(({ row, position }, t) => {
      const x = (qkv as ReferenceActivation).row(t);
      const y = (output as ReferenceActivation).row(t);
      const first = window === null ? 0 : Math.max(0, position - window + 1);
      for (let h = 0; h < numHeads; h++) {
        const kv = Math.floor(h / (numHeads / numKvHeads));
        const keyAt = vector(this.#state.keys[layer]!, row, kv);
        const valueAt = vector(this.#state.values[layer]!, row, kv);
        const query = x.subarray(h * headDim, (h + 1) * headDim);
        const sink = sinks ? data(sinks)[h]! : -Infinity;
        y.set(attend(query, keyAt, valueAt, first, position, scale, softCap, sink), h * headDim);
      }
    });
  }

  moe(args: MoeArgs): void {
    const { input, norm, router, routerBias, gateUp, gateUpBias, gate, down, downBias } = args;
    for (let t = 0; t < this.#tokens.length; t++) {
      const x = normalize((input as ReferenceActivation).row(t), norm);
      const y = new Float64Array(x.length);
      const chosen = route(multiply(x, router, routerBias), args.expertsPerToken, args.renormalize);
      for (const { expert, weight } of chosen) {
        const gated = gateMul(multiply(x, gateUp, gateUpBias, expert), gate ?? silu);
        multiply(gated, down, downBias, expert).forEach((v, i) => y[i]! += weight * v);
      }
      this.#store(args.output, t, y, args.epilogue === "add");
    }
  }

  allReduce(partial: Activation, output: Activation, epilogue: "store" | "add"): void {
    const rows = this.#tokens.length;
    const sum = Float32Array.from((partial as ReferenceActivation).data.subarray(0, rows * partial.width));
    this.#collective!.allReduce(sum);
    for (let t = 0; t < rows; t++) {
      const row = Float64Array.from(sum.subarray(t * partial.width, (t + 1) * partial.width));
      this.#store(output, t, row, epilogue === "add");
    }
  }

  sample({ input, norm, head, softCap }: SampleArgs): void {
    const rows = sampledRows(this.#plan.sampling);
    const topCount = Math.max(0, ...rows.map(({ logprobs }) => logprobs - 1));
    const result = emptyResult(this.#plan.id, rows.length, topCount);
    const all: number[] = [], hidden: number[] = [];
    for (const [s, row] of rows.entries()) {
      const x = normalize((input as ReferenceActivation).row(row.token), norm);
      if (this.#plan.hidden) hidden.push(...x);
      if (this.#plan.hidden === "only") continue;
      const { kept } = this.#state, at = this.#tokens[row.token]!.row;
      const local = this.draws ? kept.get(at)! : multiply(x, head).map((v) => softCapped(v, softCap));
      if (row.flags === SampleFlag.Keep) {
        kept.set(at, local);
        continue;
      }
      if (this.#collective !== null && !this.#plan.returnLogits && !needsWholeRow(row)) {
        result.tokens[s] = this.#settle(row, () => this.#best(this.#collective!, local));
        continue;
      }
      const logits = this.#collective === null ? local : this.#gather(this.#collective, local);
      if (this.#plan.returnLogits) all.push(...logits);
      result.tokens[s] = this.#settle(row, (position) => this.#draw(row, logits, position));
      if (row.logprobs === 0) continue;
      const logprobs = logSoftmax(logits);
      result.logprobs[s] = logprobs[result.tokens[s]!]!;
      largest(logprobs, row.logprobs - 1).forEach((token, i) => {
        result.topTokens[s * topCount + i] = token;
        result.topLogprobs[s * topCount + i] = logprobs[token]!;
      });
    }
    this.result = {
      ...result,
      ...(this.#plan.returnLogits ? { logits: Float32Array.from(all) } : {}),
      ...(this.#plan.hidden ? { hidden: Float32Array.from(hidden) } : {}),
    };
  }

  /** The token that `choose` gives for a position, or the one that is to be scored. A drawn one goes into the pool. */
  #settle(sampled: SampledRow, choose: (position: number) => number): number {
    const { row, position } = this.#tokens[sampled.token]!;
    const pool = this.#state.spec.contextLength * row + position + 1;
    const token = choose(position + 1);
    if (sampled.flags === SampleFlag.Score) return this.#state.tokenPool[pool]!;
    if (position + 1 < this.#state.spec.contextLength) this.#state.tokenPool[pool] = token;
    return token;
  }

  #draw(sampled: SampledRow, logits: Float64Array, position: number): number {
    const { cachedLength, extendLength, row } = this.#plan, b = sampled.sequence;
    const length = cachedLength[b]! + extendLength[b]! + this.#step;
    const history = this.#state.history(row[b]!, length);
    return draw(penalize(logits, sampled, history), sampled, position);
  }

  /** The token with the largest logit of all ranks. */
  #best(collective: Collective, local: Float64Array): number {
    const [token] = largest(local, 1);
    const { vocabStart } = this.#state.spec;
    return gatherBest(collective, [{ value: local[token!]!, token: vocabStart + token! }])[0]!.token;
  }

  /** All ranks' logits. */
  #gather(collective: Collective, local: Float64Array): Float64Array {
    const { vocabSize } = this.#state.spec;
    const whole = new Float32Array(vocabSize);
    gatherRows(
      collective,
      vocabSize,
      [0],
      { data: Float32Array.from(local), offset: 0, stride: local.length },
      { data: whole, offset: 0, stride: vocabSize },
    );
    return Float64Array.from(whole);
  }

  #store(output: Activation, t: number, y: Float64Array, add: boolean, first = 0): void {
    const row = (output as ReferenceActivation).row(t);
    if (add) y.forEach((v, i) => row[first + i]! += v);
    else row.set(y, first);
  }
}

/** Factory with the signature the other backends have. */
export function createReferenceBackend(options: { collective?: Collective } = {}): Promise<Backend> {
  return Promise.resolve(new ReferenceBackend(options.collective ?? null));
}
