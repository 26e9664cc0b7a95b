// The operations a decoder is made of, and the backend that provides them.
//
// The decoder (`engine/model/decoder.ts`) is written against `Ops` and never sees a GPU or WebAssembly type. A
// backend owns weights, activations, key/value pages, token pool and page table, and turns a batch plan into
// tokens. There are three: `reference/` (plain TypeScript, float64: the meaning of each operation), `webgpu/` and
// `cpu/`. The operations are as coarse as the fusions worth having (a norm in front of a product, the gate behind
// it), so that each backend decides how many kernels one of them takes. All are in one file: together they are the
// contract between decoder and backends.
//
// Notation: T tokens in the step, B sequences, S sampled rows, H hidden size, V vocabulary.

import { type DType, rowBytes } from "./formats/mod.ts";
import type { KvDType, KvFormats } from "./kv_format.ts";
import type { BatchPlan, StepResult } from "./plan.ts";

/** What a weight matrix looks like before its rows are written. */
export interface MatrixSpec {
  /** For messages and for the byte account. */
  readonly name: string;
  /** Output features (of one expert, when there are several). */
  readonly rows: number;
  /** Input features; a multiple of 8. */
  readonly columns: number;
  /** Type of its elements. */
  readonly dtype: DType;
  /** Stacked matrices of a mixture of experts, expert after expert; absent for a plain matrix. */
  readonly experts?: number;
  /** "paired": rows are two equal halves (gate, then up) whose results are combined by "gate-mul". */
  readonly layout?: "plain" | "paired";
}

/** Bytes of all rows of a matrix. */
export function matrixBytes({ dtype, rows, columns, experts }: MatrixSpec): number {
  return rows * (experts ?? 1) * rowBytes(dtype, columns);
}

/** A weight matrix [rows, columns], row-major, on the device. Opaque: only its backend looks inside. */
export interface Matrix {
  /** What it was made from. */
  readonly spec: MatrixSpec;
}

/** A float32 vector on the device (norm weights, biases, router tables). */
export interface Vector {
  /** Number of elements. */
  readonly length: number;
}

/** Room for [tokens of a step, width] numbers; the residual stream is float32, others may be narrower. */
export interface Activation {
  /** Numbers per token. */
  readonly width: number;
}

/**
 * What an activation holds, which says how narrow it may be: "residual" is float32; "attended" are averages of values
 * that the cache holds in f16, and so can be f16 themselves; "hidden" may be of any size.
 */
export type ActivationKind = "residual" | "hidden" | "attended";

/** Precomputed rotary angles: cosine and sine, [positions, half] each, with any attention factor multiplied in. */
export interface RopeTable {
  /** Positions from 0 that have angles. */
  readonly positions: number;
  /** Pairs that turn: half of a head's width. */
  readonly half: number;
}

/** Root-mean-square normalisation (Zhang & Sennrich 2019): x / sqrt(mean(x²) + epsilon) · weight. */
export interface Norm {
  /** [H], or [headDim] for a norm of heads. */
  readonly weight: Vector;
  /** Added to the mean square. */
  readonly epsilon: number;
}

/** How a token's [q | k | v] vector divides into heads. */
export interface HeadLayout {
  /** Query heads. */
  readonly numHeads: number;
  /** Key/value heads; numHeads is a multiple. */
  readonly numKvHeads: number;
  /** Width of a head. */
  readonly headDim: number;
}

/**
 * What combines a feed-forward's gate g and up u: g′ · sigmoid(alpha · g′ + beta · g′³) · (u′ + plus), where g′ is g but
 * at most `limit`, and u′ is u within ± `limit`. `silu` and `gelu` are the two common ones.
 */
export interface Gate {
  /** 1 for SiLU. */
  readonly alpha: number;
  /** 0 for SiLU. */
  readonly beta: number;
  /** Infinity for none. */
  readonly limit: number;
  /** Added to u. */
  readonly plus: number;
}

/** SiLU (Shazeer 2020, arXiv 2002.05202). */
export const silu: Gate = { alpha: 1, beta: 0, limit: Infinity, plus: 0 };
const geluSlope = 2 * Math.sqrt(2 / Math.PI);
/** GELU (arXiv 1606.08415) with the usual tanh: ½ (1 + tanh z) is sigmoid(2 z). */
export const gelu: Gate = { ...silu, alpha: geluSlope, beta: 0.044715 * geluSlope };

/** A product of activations and a weight, with what is fused in front of and behind it. */
export interface LinearArgs {
  /** [T, columns] */
  readonly input: Activation;
  /** Applied to the input first. */
  readonly norm?: Norm | undefined;
  /** [rows, columns] */
  readonly weight: Matrix;
  /** [rows] */
  readonly bias?: Vector | undefined;
  /** [T, rows]; [T, rows / 2] for "gate-mul". */
  readonly output: Activation;
  /**
   * "store": output = y; "add": output += y (the residual stream);
   * "gate-mul": output = gate(y[0 : rows/2], y[rows/2 :]), of a "paired" matrix.
   */
  readonly epilogue: "store" | "add" | "gate-mul";
  /** For "gate-mul"; SiLU where absent. */
  readonly gate?: Gate | undefined;
  /**
   * The product that reads the output next, with nothing written to it in between: a hint, so that a backend may
   * prepare that product's input on the way.
   */
  readonly next?: { readonly norm?: Norm | undefined; readonly weight: Matrix } | undefined;
}

/** Attention of one layer, with what comes before it: norms of q and k, rotation, and the store of k and v. */
export interface AttentionArgs {
  /** [T, (numHeads + 2 numKvHeads) headDim]; what it holds afterwards is up to the backend. */
  readonly qkv: Activation;
  /** Of this rank. */
  readonly heads: HeadLayout;
  /** Per-head RMS norm of q before the rotation (Qwen3), [headDim]. */
  readonly qNorm?: Norm | undefined;
  /** Of k, [headDim]. */
  readonly kNorm?: Norm | undefined;
  /** Rotates (x[i], x[i + half]) pairs, half = headDim / 2 ("NeoX" order), at each token's position. */
  readonly rope: RopeTable;
  /** [T, numHeads · headDim] */
  readonly output: Activation;
  /** Whose pages are written and read, from 0. */
  readonly layer: number;
  /** Multiplies q·k; normally 1 / sqrt(headDim). */
  readonly scale: number;
  /** Sliding window: a query at position p sees keys p − window < j ≤ p. Null sees all j ≤ p. */
  readonly window: number | null;
  /** Scores become cap · tanh(score / cap) (Gemma 2, arXiv 2408.00118). */
  readonly softCap?: number | null;
  /** A further logit of each query head, [numHeads], in the softmax's sum (gpt-oss). */
  readonly sinks?: Vector | undefined;
}

/** A norm by itself, of some columns of an activation. */
export interface NormArgs {
  /** [T, width] */
  readonly input: Activation;
  /** What is normalised together; as many columns as the weight has numbers. */
  readonly norm: Norm;
  /** First of the columns, of input and output. */
  readonly first: number;
  /** Same width as the input. */
  readonly output: Activation;
  /** "store": output = y; "add": output += y. */
  readonly epilogue: "store" | "add";
  /**
   * Where the columns are a rank's share of a longer row: column `column` of `sums`, as `squares` left it and the ranks
   * added it up, is Σ x² of all `count` numbers.
   */
  readonly whole?: { readonly sums: Activation; readonly column: number; readonly count: number } | undefined;
}

/** A mixture of experts: router, choice, experts, weighted sum. */
export interface MoeArgs {
  /** [T, H] */
  readonly input: Activation;
  /** Applied to the input first. */
  readonly norm: Norm;
  /** [experts, H] */
  readonly router: Matrix;
  /** [experts] */
  readonly routerBias?: Vector | null;
  /** experts × [2F, H], "paired" */
  readonly gateUp: Matrix;
  /** [experts · 2F], an expert's gate numbers before its up numbers. */
  readonly gateUpBias?: Vector | null;
  /** SiLU where absent. */
  readonly gate?: Gate | undefined;
  /** experts × [H, F] */
  readonly down: Matrix;
  /** [experts · H]; added before the router's weight is applied. */
  readonly downBias?: Vector | null;
  /** Experts that a token goes through. */
  readonly expertsPerToken: number;
  /** Divide the chosen experts' probabilities by their sum. */
  readonly renormalize: boolean;
  /** [T, H] */
  readonly output: Activation;
  /** "store": output = y; "add": output += y. */
  readonly epilogue: "store" | "add";
}

/** The end of a forward. */
export interface SampleArgs {
  /** [T, H] */
  readonly input: Activation;
  /** The model's last norm. */
  readonly norm: Norm;
  /** [V, H], or this rank's share of the rows. */
  readonly head: Matrix;
  /** Logits become cap · tanh(logit / cap). */
  readonly softCap?: number | null;
}

/** One forward over the current plan. Operations run in the order of the calls. */
export interface Ops {
  /** Whether `sample` is all that there is to do: it draws from kept logits. */
  readonly draws: boolean;
  /** output[t] = scale · table[token_pool[row(t)][position(t)] − vocabStart]; zeros where it has no such row. */
  embed(table: Matrix, output: Activation, scale?: number): void;
  /** output = epilogue(norm(input) · weightᵀ + bias) */
  linear(args: LinearArgs): void;
  /** output = or += norm(input), in some columns. */
  norm(args: NormArgs): void;
  /** output[t, column] = Σ input[t, first … first + count − 1]², for a norm over the ranks. */
  squares(input: Activation, first: number, count: number, output: Activation, column: number): void;
  /**
   * Normalises and rotates q and k, puts k and v into the row's pages, and attends to these, causally; for prefill
   * and decode sequences alike.
   */
  attention(args: AttentionArgs): void;
  /** output = or += the chosen experts' results, weighted by the router. */
  moe(args: MoeArgs): void;
  /** output = or += Σ over ranks of partial. Only called when there are several ranks. */
  allReduce(partial: Activation, output: Activation, epilogue: "store" | "add"): void;
  /** Norm, head and sampling of the plan's sampled rows; writes drawn ids into the token pool. */
  sample(args: SampleArgs): void;
}

/** Sizes of everything that exists once per engine rather than once per step. */
export interface StateSpec {
  /** Layers with pages of their own. */
  readonly numLayers: number;
  /** This rank's heads. */
  readonly heads: HeadLayout;
  /** Whole vocabulary, over all ranks. */
  readonly vocabSize: number;
  /** First vocabulary row of this rank's head. */
  readonly vocabStart: number;
  /** How keys and values are kept; "auto" where absent. */
  readonly kvDType?: KvDType;
  /** Tokens per page; a power of two, 1 allowed. */
  readonly pageSize: number;
  /** Pages handed out, numbered 0 … numPages − 1. The backend adds one dummy page, numbered numPages. */
  readonly numPages: number;
  /** Rows of token pool and page table. */
  readonly maxRows: number;
  /** Positions per row. */
  readonly contextLength: number;
  /** Most tokens in one forward. */
  readonly maxTokens: number;
  /** Most sampled rows in one forward. */
  readonly maxSamples: number;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
}

/** A step whose commands are recorded but not running. */
export interface RecordedStep {
  /** Starts it. A backend without a queue of its own (CPU) may put the work off until `read`. */
  submit(): void;
  /** Blocks (or, on a fallback path, waits) until the step and all before it are done. Call once, after `submit`. */
  read(): StepResult | Promise<StepResult>;
}

/** What `doctor`, the start-up line and the metrics say about a device. */
export interface DeviceInfo {
  /** Which backend it is. */
  readonly kind: "cuda" | "webgpu" | "cpu" | "reference";
  /** For example "NVIDIA H200 (Vulkan, driver 580.1)" or "CPU, 2 threads, WebAssembly relaxed SIMD". */
  readonly description: string;
  /** True when this is a software imitation of a GPU. */
  readonly software: boolean;
  /** Bytes that may be allocated, as far as it can be told; null where it cannot. */
  readonly memoryBytes: number | null;
}

/** Where a rank runs. */
export interface DevicePlace {
  /** The GPU's bus address; null for whatever device there is. */
  readonly address: string | null;
  /** Number of ranks on the same device, this one included. */
  readonly sharing: number;
}

/** Whether a device is a real GPU: fast, asynchronous, and with memory of unknown size. */
export function isGpu({ kind, software }: Pick<DeviceInfo, "kind" | "software">): boolean {
  return (kind === "cuda" || kind === "webgpu") && !software;
}

/** How ranks of a tensor-parallel group add their partial results; see `engine/executor/collectives.ts`. */
export interface Collective {
  /** This rank, from 0. */
  readonly rank: number;
  /** Number of ranks. */
  readonly size: number;
  /** Whether parts may travel as float16. */
  readonly halves?: boolean;
  /** In place: data becomes the sum over ranks, the same bits on every rank. Blocks. Throws if a rank is gone. */
  allReduce(data: Float32Array): void;
  /** out = the ranks' data one after the other, in rank order; `data` has the same length on every rank. */
  allGather(data: Float32Array, out: Float32Array): void;
  /**
   * For devices that wait for each other: word 1 is not 0 once the group is broken, and 3 + r, which a device may write,
   * if rank r has stalled; word 2 is after how many milliseconds it has (0: never); word 3 is for the devices.
   */
  readonly control?: Int32Array<SharedArrayBuffer>;
  /** Throws if a rank is gone. */
  throwIfBroken?(): void;
}

/** A device with everything that a model needs on it. Used by one executor. */
export interface Backend extends Disposable {
  /** What it runs on. */
  readonly info: DeviceInfo;
  /** Formats that its matrices may have; q8 and the floats are always among them. */
  readonly dtypes: readonly DType[];
  /** Whether products round their inputs to eight bits where the weights are quantized. */
  readonly roundsInputs?: boolean;
  /**
   * Once there is a state: whether plans that only draw are worth it, because steps run by themselves once submitted,
   * and take about as long for any number of rows.
   */
  readonly drawsLater: boolean;
  /** How keys and values may be kept; the size of the page pool follows from it. */
  readonly kvFormats: KvFormats;
  /** Bytes held by weights so far, and by everything else. */
  readonly weightBytes: number;

  /** An empty matrix; its rows follow through `writeRows`. */
  createMatrix(spec: MatrixSpec): Matrix;
  /**
   * Writes whole rows, in the matrix's dtype, beginning at row `firstRow` (counted through all experts). The data
   * is copied before the call returns; its length is a multiple of a row's bytes.
   */
  writeRows(matrix: Matrix, firstRow: number, data: Uint8Array): void;
  /** A copy of the values. */
  createVector(values: Float32Array): Vector;
  /** [positions, half] each. */
  createRopeTable(cosine: Float32Array, sine: Float32Array, half: number): RopeTable;

  /**
   * How many of these bytes can be allocated now, found by trying; absent where memory is known or not the
   * device's own.
   */
  probeMemory?(bytes: number): Promise<number>;
  /** Allocates pages, token pool, page table and step buffers. Once, before any activation. */
  createState(state: StateSpec): void;
  /** [maxTokens, width] */
  createActivation(width: number, kind: ActivationKind): Activation;

  /**
   * Applies the plan's writes and runs `forward` once per step, or repeats what the same function did for a step of
   * the same shape: it must do the same each time. See {@link RecordedStep} for what runs when.
   */
  record(plan: BatchPlan, forward: (ops: Ops) => void): RecordedStep;

  /**
   * Steps after which nothing is compiled any more, whatever plan comes; absent where nothing is compiled. Call after
   * `createState`; the plans use row 0 and leave nothing behind.
   */
  warmUpPlans?(): Iterable<BatchPlan>;

  /** For tests: the first `rows` rows of an activation as float32, after all submitted work. */
  readActivation(activation: Activation, rows: number): Promise<Float32Array>;
  /** For tests: overwrites the first rows of an activation. */
  writeActivation(activation: Activation, values: Float32Array): void;
  /** For tests: fills pages with NaN, so that a read of a free slot shows. */
  poisonPages(pages: Uint32Array): void;
}
