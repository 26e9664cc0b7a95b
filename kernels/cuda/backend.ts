// The CUDA backend: owns a GPU, weights and state, and turns batch plans into launches, through NVIDIA's driver alone.

import type { BatchPlan } from "../plan.ts";
import type {
  Activation,
  ActivationKind,
  Backend,
  Collective,
  DeviceInfo,
  Matrix,
  MatrixSpec,
  Ops,
  RecordedStep,
  RopeTable,
  StateSpec,
  Vector,
} from "../ops.ts";
import { rowBytes } from "../formats/mod.ts";
import { matrixBytes } from "../ops.ts";
import { mostWords, type PackedPlan, type PackOptions, packPlan } from "../webgpu/plan/pack.ts";
import { headerWords, sampleWords } from "../webgpu/plan/words.ts";
import { warmUpPlans } from "../webgpu/plan/warm_up.ts";
import { type PrefillTile, prefillTiles } from "./attention/attention.ts";
import { cutKeys, elementOf, widestHead } from "./attention/layer.ts";
import type { CudaDevice } from "./device.ts";
import { CudaError } from "./errors.ts";
import { describe } from "./find.ts";
import { openDevice } from "./open.ts";
import { type Context, divideUp } from "./forward.ts";
import { bucket, bucketShape, graphKey, Graphs } from "./graphs.ts";
import { inputType, usesMatrixUnits } from "./linear/product.ts";
import {
  type ActivationType,
  activationType,
  CudaActivation,
  CudaMatrix,
  CudaRope,
  CudaState,
  CudaVector,
  elementBytes,
  halves,
  kvFormats,
  paddedRows,
  Scratch,
  singles,
  weightTypes,
} from "./memory.ts";
import { CudaOps } from "./operations.ts";
import { type PinnedBuffer, wordsOf } from "./pinned.ts";
import { joinPeers, type Peers } from "./peers/peers.ts";
import { resultBytes, returnedWords } from "../results.ts";
import { selfTest } from "./self_test.ts";
import { CudaStep, type Launched, StepPool } from "./step.ts";

/** Elements of a matrix from which on its products run on the matrix units. */
const defaultHalfFrom = 1 << 20;

/** Sequences that extend by no more tokens have their queries go over the pages one by one. */
const mostDecodeTokens = 4;

/** Most bytes of logits at a time; more sampled rows go through the head in groups. */
const mostLogitsBytes = 512 * 2 ** 20;

/** Bytes of free memory that pages must leave for scratch, graphs and the driver's own. */
const reservedBytes = 768 * 2 ** 20;

/** How to open a backend; the defaults are right except in tests. */
export interface CudaOptions {
  /** The rank's end of a tensor-parallel group. */
  readonly collective?: Collective;
  /** Bus address of the GPU; the first that can be used where nothing is said. */
  readonly address?: string | null;
  /** Instead of the size from which on products run on the matrix units; with 0 prompts attend there, too. */
  readonly halfFrom?: number;
  /**
   * Whether decode steps go over the keys on the matrix units: never, where contexts are long, or always; "long" where
   * nothing is said.
   */
  readonly tensorDecode?: "never" | "long" | "always";
  /** False launches every decode step kernel by kernel. */
  readonly graphs?: boolean;
  /** Whether ranks whose GPUs see each other's memory sum through it. */
  readonly peers?: boolean;
}

/** A backend on an NVIDIA GPU. */
export class CudaBackend implements Backend {
  info: DeviceInfo;
  readonly dtypes = weightTypes;
  readonly kvFormats = kvFormats;
  readonly #device: CudaDevice;
  readonly #collective: Collective | null;
  readonly #halfFrom: number;
  readonly #graphs: Graphs | null;
  readonly #options: CudaOptions;
  readonly #pool: StepPool;
  #context: Context | null = null;
  #weightBytes = 0;
  /** In which activations are kept; set by the first weight whose products run on the matrix units. */
  #type: ActivationType = "f32";

  /** `createCudaBackend` is the way to make one. */
  constructor(device: CudaDevice, description: string, options: CudaOptions) {
    this.#device = device;
    const { collective } = options;
    this.#collective = collective !== undefined && collective.size > 1 ? collective : null;
    this.#halfFrom = options.halfFrom ?? defaultHalfFrom;
    this.#graphs = options.graphs === false ? null : new Graphs(device);
    this.#options = options;
    this.#pool = new StepPool(device);
    this.info = {
      kind: "cuda",
      description,
      software: false,
      memoryBytes: device.memory().free,
    };
  }

  get weightBytes(): number {
    return this.#weightBytes;
  }

  get #live(): Context {
    if (this.#context === null) throw new Error("createState has not been called");
    return this.#context;
  }

  createMatrix(spec: MatrixSpec): Matrix {
    this.#device.assertAlive();
    const matrix = new CudaMatrix(spec, this.#device);
    this.#weightBytes += matrixBytes(spec);
    if (this.#type === "f32" && usesMatrixUnits(matrix, this.#halfFrom)) this.#type = inputType(matrix);
    return matrix;
  }

  writeRows(matrix: Matrix, firstRow: number, data: Uint8Array): void {
    const { spec, buffer } = matrix as CudaMatrix;
    this.#device.write(buffer.address + BigInt(firstRow * rowBytes(spec.dtype, spec.columns)), data);
  }

  createVector(values: Float32Array): Vector {
    this.#weightBytes += values.byteLength;
    return new CudaVector(values.length, this.#upload("a vector", values));
  }

  createRopeTable(cosine: Float32Array, sine: Float32Array, half: number): RopeTable {
    const [c, s] = [this.#upload("rotary angles", cosine), this.#upload("rotary angles", sine)];
    return new CudaRope(cosine.length / half, half, c, s);
  }

  probeMemory(bytes: number): Promise<number> {
    return Promise.resolve(Math.min(bytes, Math.max(0, this.#device.memory().free - reservedBytes)));
  }

  createState(spec: StateSpec): void {
    const { headDim } = spec.heads;
    if (headDim % 8 !== 0 || headDim > widestHead) {
      throw new CudaError(
        `heads of ${headDim} are not supported on CUDA, only multiples of 8 up to ${widestHead}: use --device webgpu`,
      );
    }
    const peers = this.#collective && this.#join(this.#collective, spec);
    const state = new CudaState(spec, this.#device);
    this.#context = {
      device: this.#device,
      state,
      scratch: new Scratch(this.#device),
      collective: this.#collective,
      peers,
      // Small models keep to float32 queries, with which results hardly depend on how a prompt is cut.
      prefill: this.#type === "f32" && this.#halfFrom > 0 ? null : this.#prefillTile(state),
      halfFrom: this.#halfFrom,
    };
  }

  createActivation(width: number, kind: ActivationKind): Activation {
    const type = activationType(kind, this.#type);
    const rows = paddedRows(this.#live.state.spec.maxTokens);
    const buffer = this.#device.alloc(elementBytes(type) * rows * width, `an activation of width ${width}`);
    // Rows of a tile that no token has are computed with, though nothing comes of it.
    this.#device.fill(buffer.address, 0, buffer.bytes / 4);
    return new CudaActivation(width, type, buffer);
  }

  warmUpPlans(): Iterable<BatchPlan> {
    return warmUpPlans(this.#live.state.spec, false, this.drawsLater);
  }

  record(plan: BatchPlan, forward: (ops: Ops) => void): RecordedStep {
    this.#device.assertAlive();
    const options = this.#packOptions(plan), input = this.#pool.buffer(4 * mostWords(plan, options));
    const packed = packPlan(plan, options, wordsOf(input));
    return new CudaStep(
      this.#device,
      this.#pool,
      plan,
      packed,
      () => this.#launch(plan, packed, input, forward),
      !this.#usesHost,
      () => this.#context?.peers?.check(),
    );
  }

  /** Unless steps wait for the host. */
  get drawsLater(): boolean {
    return !this.#usesHost;
  }

  /** Whether the host takes part in steps. */
  get #usesHost(): boolean {
    return this.#collective !== null && this.#live.peers === null;
  }

  /** The group as peers, if its GPUs see each other's memory. */
  #join(collective: Collective, { maxTokens, hiddenSize }: StateSpec): Peers | null {
    const joined = this.#options.peers !== false
      ? joinPeers(this.#device, collective, { floats: maxTokens * hiddenSize })
      : "as RADISH_CUDA_PEERS=0 asks";
    const how = typeof joined === "string" ? `through the host: ${joined}` : `over ${joined.link}`;
    this.info = { ...this.info, description: `${this.info.description}, sums ${how}` };
    return typeof joined === "string" ? null : joined;
  }

  /** Launches everything, and the copy of the results. */
  #launch(plan: BatchPlan, packed: PackedPlan, input: PinnedBuffer, forward: (ops: Ops) => void): Launched {
    const started = performance.now();
    const context = this.#live, { scratch, state } = context, device = this.#device;
    const { words, needs, topCount, forwards } = packed;
    const writes = packed.pageWrites + packed.tokenWrites;
    if (writes > 0) {
      const bytes = forwards[0]?.offset ?? words.byteLength;
      const target = scratch.get("writes", bytes).address;
      device.copyIn(target, input, 0, bytes);
      device.launch(device.kernel("embed", "scatter"), [divideUp(writes, 128), 1], 128, 0, [
        target,
        state.pageTable.address,
        state.tokenPool.address,
      ]);
    }
    const rows = resultBytes(packed.samples, plan.steps, topCount);
    const output = this.#pool.buffer(rows + 4 * returnedWords(packed));
    const returned = packed.returned === null
      ? null
      : { ...packed.returned, only: plan.hidden === "only", to: output, offset: rows };
    const results = scratch.get("results", Math.max(rows, 4096));
    forwards.forEach((exact, step) => {
      const end = forwards[step + 1]?.offset ?? words.byteLength, bytes = end - exact.offset;
      const region = scratch.get("plan", bytes).address;
      device.copyIn(region, input, exact.offset, bytes);
      // There is room for the rows that the plan has, and no graph that surplus rows would be for.
      const shape = returned === null ? bucketShape(exact, state.spec.maxTokens) : exact;
      const launch = () =>
        forward(
          new CudaOps({
            context,
            shape,
            plan: region,
            step,
            needs,
            topCount,
            results,
            returned,
          }),
        );
      if (this.#graphs === null || this.#usesHost || !shape.decodeOnly || returned !== null) return launch();
      this.#graphs.run(forward, graphKey(shape, needs, topCount, step), () => scratch.generation, launch);
    });
    if (rows > 0) device.copyOut(output, 0, results.address, rows);
    const done = this.#pool.event();
    device.mark(done);
    return { input, output, done, started };
  }

  readActivation(activation: Activation, rows: number): Promise<Float32Array> {
    const { buffer, width, type } = activation as CudaActivation;
    const data = this.#device.read(buffer.address, elementBytes(type) * rows * width);
    return Promise.resolve(singles(data, type));
  }

  writeActivation(activation: Activation, values: Float32Array): void {
    const { buffer, type } = activation as CudaActivation;
    this.#device.write(buffer.address, type === "f32" ? values : new Uint8Array(halves(values, type).buffer));
  }

  poisonPages(pages: Uint32Array): void {
    this.#live.state.poison(pages);
  }

  /** Gives everything back. */
  [Symbol.dispose](): void {
    this.#context?.peers?.leave();
    this.#context = null;
    this.#device[Symbol.dispose]();
  }

  #prefillTile(state: CudaState): PrefillTile | null {
    const { capability, sharedBytes } = this.#device.properties;
    return prefillTiles(state.spec.heads, capability, elementOf(state)).find((tile) =>
      tile.sharedBytes <= sharedBytes
    ) ?? null;
  }

  #packOptions(plan: BatchPlan): PackOptions {
    const { state, prefill } = this.#live, { spec } = state;
    const tensor = prefill === null ? "never" : this.#options.tensorDecode ?? "long";
    const sequences = bucket(plan.row.length), { multiprocessors } = this.#device.properties;
    // In a decode step groups of sampled rows begin at the same place for all sizes of a bucket.
    const room = Math.max(headerWords + 5 * sequences, headerWords + sampleWords * sequences);
    return {
      state: spec,
      alignWords: 2 ** Math.ceil(Math.log2(Math.max(64, room))),
      maxGroup: Math.max(1, Math.floor(mostLogitsBytes / (4 * spec.vocabSize))),
      tileTokens: prefill?.tokens ?? 1,
      decodeTokens: prefill === null ? Infinity : mostDecodeTokens,
      cut: (lengths, decodeOnly) =>
        cutKeys(lengths, decodeOnly, spec.heads, multiprocessors, tensor, elementOf(state)),
    };
  }

  #upload(what: string, values: Float32Array) {
    const buffer = this.#device.alloc(values.byteLength, what);
    this.#device.write(buffer.address, values);
    return buffer;
  }
}

/**
 * Opens an NVIDIA GPU.
 *
 * @throws {CudaError} where there is none that can be used, with what to do.
 */
export async function createCudaBackend(options: CudaOptions = {}): Promise<Backend> {
  const device = openDevice(options.address ?? null);
  return new CudaBackend(device, await describe(device.properties), options);
}

/**
 * A backend on a GPU that computes what it should.
 *
 * @throws {CudaError} where there is none, with the reason.
 */
export async function createTestedCudaBackend(options: CudaOptions): Promise<Backend> {
  await selfTest(() => createCudaBackend({ address: options.address ?? null, halfFrom: 0 }));
  return await createCudaBackend(options);
}
