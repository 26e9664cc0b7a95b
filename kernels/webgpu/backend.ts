// The WebGPU backend: owns device, weights and state, and turns batch plans into recorded steps.

import { dtypes } from "../formats/mod.ts";
import type { BatchPlan } from "../plan.ts";
import { warmUpPlans } from "./plan/warm_up.ts";
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
import { matrixBytes } from "../ops.ts";
import { kvFormats } from "./attention/cache.ts";
import { decodeCut } from "./attention/cut.ts";
import { prefillTile } from "./attention/prefill.ts";
import { BufferAllocator, type DeviceBuffer } from "./device/buffers.ts";
import { type Context, DeviceActivation } from "./record/context.ts";
import { GpuDevice } from "./device/device.ts";
import { computesHalf, type DeviceCaps, elementBytes } from "./shader/kernel.ts";
import { DeviceOps } from "./operations.ts";
import { probeMemory } from "./device/memory.ts";
import { PipelineCache } from "./device/pipelines.ts";
import { type PackOptions, packPlan } from "./plan/pack.ts";
import { Word } from "./plan/words.ts";
import { PlanSlot } from "./plan/slot.ts";
import { Readback } from "./device/readback.ts";
import { tapeKey, Tapes } from "./record/tapes.ts";
import { prepare, Recorder } from "./record/recorder.ts";
import { resultBytes, returnedWords } from "../results.ts";
import { historyLength } from "./sample/operation.ts";
import { scatter } from "./plan/scatter.ts";
import { DeviceState, SharedBuffers } from "./state/state.ts";
import { DeviceStep, serialWords } from "./record/step.ts";
import { DeviceMatrix, DeviceRope, DeviceVector } from "./state/weights.ts";

/** Bytes uploaded between two waits for the device, so that copies in flight do not fill the host's memory. */
const uploadWindow = 256 * 2 ** 20;

/** Sequences that extend by no more tokens go through the decode kernel, which splits long contexts. */
const mostDecodeTokens = 4;

/** Most bytes of logits at a time; more sampled rows go through the head in groups. */
const mostLogitsBytes = 256 * 2 ** 20;

/** Smallest result buffer, so that it need not grow for every other plan. */
const leastResultBytes = 2 ** 16;

/** How to open a backend; the defaults are right except in tests. */
export interface WebGpuOptions {
  /** The rank's end of a tensor-parallel group. */
  readonly collective?: Collective;
  /**
   * Whether prompt chunks go through the tiled attention kernel; otherwise token by token through the decode kernel.
   * Default: on a real GPU. A software driver is no faster with it, and compiles it for seconds.
   */
  readonly tiledPrefill?: boolean;
  /** Replaces what is found out about the device. */
  readonly caps?: Partial<DeviceCaps>;
}

/** A backend on a WebGPU device. */
export class WebGpuBackend implements Backend {
  readonly info: DeviceInfo;
  readonly #gpu: GpuDevice;
  readonly #readback: Readback;
  readonly #allocator: BufferAllocator;
  readonly #pipelines: PipelineCache;
  readonly #collective: Collective | null;
  readonly #tiledPrefill: boolean;
  readonly #plans: PlanSlot;
  #context: (Context & { readonly tapes: Tapes }) | null = null;
  readonly dtypes = dtypes;
  readonly kvFormats = kvFormats;
  /** On a GPU alone, where one binding can show all that is kept. */
  get drawsLater(): boolean {
    const { vocabSize, maxRows } = this.#live.state.spec, bytes = 4 * (maxRows + 1) * (vocabSize + 3);
    return !this.info.software && this.#collective === null && bytes <= this.#gpu.caps.maxBindingBytes;
  }
  #weightBytes = 0;
  #uploaded = 0;
  #serial = 0;

  /** `createWebGpuBackend` is the way to make one. */
  constructor(gpu: GpuDevice, readback: Readback, options: WebGpuOptions) {
    this.#gpu = gpu;
    this.#readback = readback;
    const { collective } = options;
    this.#collective = collective !== undefined && collective.size > 1 ? collective : null;
    this.#tiledPrefill = options.tiledPrefill ?? !gpu.caps.software;
    this.#allocator = new BufferAllocator(gpu);
    this.#pipelines = new PipelineCache(gpu);
    this.#plans = new PlanSlot(gpu, this.#pipelines);
    this.info = gpu.describe();
  }

  get weightBytes(): number {
    return this.#weightBytes;
  }

  get #live() {
    if (this.#context === null) throw new Error("createState has not been called");
    return this.#context;
  }

  createMatrix(spec: MatrixSpec): Matrix {
    this.#gpu.check();
    this.#weightBytes += matrixBytes(spec);
    return new DeviceMatrix(spec, this.#allocator, this.#gpu.caps.maxBindingBytes);
  }

  writeRows(matrix: Matrix, firstRow: number, data: Uint8Array): void {
    (matrix as DeviceMatrix).scatter(firstRow, data, (buffer, offset, bytes) => {
      this.#allocator.write(buffer, offset, bytes);
    });
    this.#uploaded += data.byteLength;
    if (this.#uploaded < uploadWindow) return;
    this.#uploaded = 0;
    this.#gpu.queue.submit([]);
    this.#readback.wait();
  }

  createVector(values: Float32Array): Vector {
    this.#weightBytes += values.byteLength;
    return new DeviceVector(values, (part) => this.#upload("vector", part));
  }

  createRopeTable(cosine: Float32Array, sine: Float32Array, half: number): RopeTable {
    const positions = cosine.length / half;
    return new DeviceRope(positions, half, this.#upload("cosine", cosine), this.#upload("sine", sine));
  }

  async probeMemory(bytes: number): Promise<number> {
    return await probeMemory(bytes);
  }

  createState(spec: StateSpec): void {
    const state = new DeviceState(spec, this.#allocator);
    const shared = new SharedBuffers(this.#allocator, this.#pipelines);
    this.#context = {
      gpu: this.#gpu,
      pipelines: this.#pipelines,
      state,
      shared,
      collective: this.#collective,
      tapes: new Tapes(shared),
    };
  }

  createActivation(width: number, kind: ActivationKind): Activation {
    const { maxTokens } = this.#live.state.spec;
    const element = kind === "attended" && computesHalf(this.#gpu.caps) ? "f16" : "f32";
    const bytes = elementBytes(element) * maxTokens * width;
    return new DeviceActivation(
      width,
      element,
      this.#allocator.create(`activation of width ${width}`, bytes),
    );
  }

  record(plan: BatchPlan, forward: (ops: Ops) => void): RecordedStep {
    this.#gpu.check();
    const context = this.#live;
    const serial = ++this.#serial;
    const packed = packPlan(plan, this.#packOptions(context));
    packed.words[Word.Serial] = serial;
    const slot = this.#plans.fit(packed);
    const rows = resultBytes(packed.samples, plan.steps, packed.topCount);
    const staging = this.#readback.acquire(4 * (serialWords + returnedWords(packed)) + rows);
    const results = context.shared.get("results", Math.max(rows, leastResultBytes), serial);
    const recorder = new Recorder(this.#gpu, this.#readback, slot.group);
    const { needs, topCount } = packed;
    const common = { context, recorder, serial, results, needs, topCount };
    if (packed.pageWrites + packed.tokenWrites > 0) {
      recorder.region(0);
      recorder.dispatch(
        prepare(this.#pipelines, scatter(packed.pageWrites + packed.tokenWrites), {
          pageTable: context.state.pageTable,
          tokenPool: context.state.tokenPool,
        }),
      );
    }
    const returned = packed.returned === null ? null : {
      ...packed.returned,
      only: plan.hidden === "only",
      staging: staging.buffer,
      offset: 4 * serialWords + rows,
    };
    packed.forwards.forEach((shape, step) => {
      const run = () => forward(new DeviceOps({ ...common, shape, step, returned, handover: null }));
      // What is returned goes to a buffer of this step alone.
      if (returned !== null) return run();
      const history = historyLength(needs, step, context.state.spec.contextLength);
      const key = tapeKey(shape, needs, history, topCount, results.id);
      context.tapes.record(recorder, forward, key, shape, run);
    });
    recorder.copy(slot.buffer, 4 * Word.Serial, staging.buffer, 0, 4);
    if (rows > 0) recorder.copy(results.gpu, 0, staging.buffer, 4 * serialWords, rows);
    return new DeviceStep({
      gpu: this.#gpu,
      readback: this.#readback,
      plan,
      packed,
      planBuffer: slot.buffer,
      segments: recorder.finish(),
      staging,
      serial,
      rows: rows / 4,
      done: (serial) => context.shared.release(serial),
    });
  }

  warmUpPlans(): Iterable<BatchPlan> {
    return warmUpPlans(this.#live.state.spec, this.info.software, this.drawsLater);
  }

  async readActivation(activation: Activation, rows: number): Promise<Float32Array> {
    const { buffer, width, element } = activation as DeviceActivation;
    const bytes = elementBytes(element) * rows * width;
    const staging = this.#readback.acquire(bytes);
    const encoder = this.#gpu.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer.gpu, 0, staging.buffer, 0, bytes);
    this.#gpu.queue.submit([encoder.finish()]);
    const data = await this.#readback.read(staging, bytes);
    this.#gpu.check();
    return element === "f16" ? new Float32Array(new Float16Array(data)) : new Float32Array(data);
  }

  writeActivation(activation: Activation, values: Float32Array): void {
    const { buffer, element } = activation as DeviceActivation;
    this.#allocator.write(buffer, 0, element === "f16" ? new Float16Array(values) : values);
  }

  poisonPages(pages: Uint32Array): void {
    this.#live.state.poison(pages);
  }

  /** Destroys buffers and device. */
  [Symbol.dispose](): void {
    this.#context = null;
    this.#allocator[Symbol.dispose]();
    this.#gpu[Symbol.dispose]();
  }

  #packOptions({ state }: Context): PackOptions {
    const { caps, offsetAlignment } = this.#gpu;
    const rowBytes = 4 * state.spec.vocabSize;
    const tile = this.#tiledPrefill ? prefillTile(state.spec.heads, caps) : null;
    return {
      state: state.spec,
      alignWords: Math.max(64, offsetAlignment / 4),
      maxGroup: Math.max(1, Math.floor(Math.min(caps.maxBindingBytes, mostLogitsBytes) / rowBytes)),
      tileTokens: tile?.tokens ?? 1,
      decodeTokens: tile === null ? Infinity : mostDecodeTokens,
      cut: (lengths, decodeOnly) => decodeCut(lengths, decodeOnly, state.spec.heads, caps),
    };
  }

  #upload(label: string, values: Float32Array): DeviceBuffer {
    const buffer = this.#allocator.create(label, values.byteLength);
    this.#allocator.write(buffer, 0, values);
    return buffer;
  }
}

/**
 * Opens the fastest WebGPU adapter.
 *
 * @throws {NoAdapterError} where there is none, with what to install.
 * @throws {DeviceError} where it cannot be used.
 */
export async function createWebGpuBackend(options: WebGpuOptions = {}): Promise<Backend> {
  const gpu = await GpuDevice.open(options.caps);
  const readback = await Readback.create(gpu, 4096);
  return new WebGpuBackend(gpu, readback, options);
}
