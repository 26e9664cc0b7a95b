// The CPU backend: WebAssembly SIMD on threads, with nothing to install.
//
// Weights, activations and pages live in WebAssembly memories (`bank.ts`); a forward becomes programs of kernel
// operations (`forward.ts`) that all threads run together (`threads.ts`). Steps run when they are read. All sums
// are taken in one order whatever a token is batched with, so results have the same bits for any batch size,
// chunking, page size and number of threads.

import type { BatchPlan, StepResult } from "../plan.ts";
import { joinResults } from "../results.ts";
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
import type { DType } from "../formats/mod.ts";
import { Bank } from "./bank.ts";
import { formats } from "./formats.ts";
import { Forward, ForwardContext } from "./forward.ts";
import { CpuMatrix, CpuRopeTable, CpuVector, stagingRoom } from "./matrix.ts";
import { compileKernels, type Kernels } from "./module.ts";
import { CpuState, kvFormats } from "./state.ts";
import { ThreadGroup } from "./threads.ts";
import { CpuActivation } from "./workspace.ts";

/** Options of {@link createCpuBackend}. */
export interface CpuOptions {
  /** Threads, the caller's included; the default is this rank's share of the logical processors. */
  readonly threads?: number;
  /** This rank's end of a group. */
  readonly collective?: Collective;
  /**
   * For benches, "started": waits for all threads; otherwise the first runs may do without. For tests, "always": and
   * uses them for the smallest work.
   */
  readonly allThreads?: "started" | "always";
  /** For tests: size of a memory in pages of 64 KiB, so that small models take several. */
  readonly memoryPages?: number;
  /** For tests: the build without relaxed SIMD. */
  readonly plain?: boolean;
}

/**
 * Multiply-adds of an average operation that make a further thread worth its barrier: some ten microseconds. A small
 * model's single token is done sooner alone.
 */
const workPerThread = 150_000;

/** More threads than this do not pay, and each takes scratch. */
const mostThreads = 64;

/** Compiles the kernels and starts the threads. Throws a RangeError for an impossible number of threads. */
export async function createCpuBackend(options: CpuOptions = {}): Promise<Backend> {
  const share = Math.floor(navigator.hardwareConcurrency / (options.collective?.size ?? 1));
  const threads = options.threads ?? Math.min(mostThreads, Math.max(1, share));
  if (!Number.isInteger(threads) || threads < 1 || threads > mostThreads) {
    throw new RangeError(`the number of threads must be 1 to ${mostThreads}, not ${threads}`);
  }
  const kernels = compileKernels(options.memoryPages, options.plain);
  const group = new ThreadGroup(threads, kernels);
  const backend = new CpuBackend(
    kernels,
    group,
    options.collective ?? null,
    options.allThreads === "always" ? 0 : workPerThread,
  );
  if (options.allThreads) await group.ready();
  return backend;
}

class CpuBackend implements Backend {
  readonly info: DeviceInfo;
  readonly dtypes = Object.keys(formats) as DType[];
  readonly roundsInputs = true;
  readonly drawsLater = false;
  readonly kvFormats = kvFormats;
  weightBytes = 0;
  readonly #kernels: Kernels;
  readonly #threads: ThreadGroup;
  readonly #collective: Collective | null;
  readonly #workPerThread: number;
  readonly #banks: Bank[] = [];
  readonly #staging = new Map<Bank, { address: number; bytes: number }>();
  #context: ForwardContext | null = null;
  /** Steps recorded and not run yet, in order. */
  readonly #pending: CpuStep[] = [];

  constructor(kernels: Kernels, group: ThreadGroup, collective: Collective | null, workPerThread: number) {
    const { threads } = group;
    this.#kernels = kernels;
    this.#threads = group;
    this.#collective = collective;
    this.#workPerThread = workPerThread;
    // The first memory goes out at once, so that the threads are soon ready.
    this.#place(0);
    const memory = Deno.systemMemoryInfo();
    this.info = {
      kind: "cpu",
      description: `CPU, ${threads} thread${threads === 1 ? "" : "s"}, WebAssembly ${
        kernels.relaxed ? "relaxed SIMD" : "SIMD"
      }`,
      software: false,
      memoryBytes: memory.available,
    };
  }

  get #live(): ForwardContext {
    if (this.#context === null) throw new Error("createState has not been called");
    return this.#context;
  }

  /** A bank with room for so many bytes; a new one if the last is full. */
  #place(bytes: number): Bank {
    const last = this.#banks.at(-1);
    if (last?.fits(bytes)) return last;
    const bank = new Bank(this.#banks.length, this.#kernels);
    if (!bank.fits(bytes)) throw new RangeError(`${bytes} bytes do not fit into one WebAssembly memory`);
    this.#banks.push(bank);
    this.#threads.attach(bank);
    return bank;
  }

  createMatrix(spec: MatrixSpec): Matrix {
    const matrix = new CpuMatrix(spec, (bytes) => this.#place(bytes));
    this.weightBytes += matrix.byteLength;
    return matrix;
  }

  writeRows(matrix: Matrix, firstRow: number, data: Uint8Array): void {
    const { bank, spec } = matrix as CpuMatrix;
    const bytes = stagingRoom(spec.columns, spec.dtype);
    let staging = this.#staging.get(bank);
    if (staging === undefined || staging.bytes < bytes) {
      this.#staging.set(bank, staging = { address: bank.allocate(bytes), bytes });
    }
    (matrix as CpuMatrix).writeRows(firstRow, data, staging.address);
  }

  createVector(values: Float32Array): Vector {
    this.weightBytes += values.byteLength;
    return new CpuVector(values.slice());
  }

  createRopeTable(cosine: Float32Array, sine: Float32Array, half: number): RopeTable {
    return new CpuRopeTable(cosine, sine, half);
  }

  createState(spec: StateSpec): void {
    const state = new CpuState(spec, (bytes) => this.#place(bytes));
    this.#context = new ForwardContext(state, this.#threads, this.#collective, this.#workPerThread);
  }

  createActivation(width: number, _kind: ActivationKind): Activation {
    return new CpuActivation(width, this.#live.state.spec.maxTokens);
  }

  record(plan: BatchPlan, forward: (ops: Ops) => void): RecordedStep {
    return new CpuStep(this.#live, plan, forward, this.#pending);
  }

  readActivation(activation: Activation, rows: number): Promise<Float32Array> {
    for (const step of [...this.#pending]) step.run();
    const buffer = activation as CpuActivation;
    const bank = buffer.home ?? this.#banks[0]!;
    const from = buffer.read(bank, rows * buffer.width * 4) / 4;
    return Promise.resolve(bank.floats.slice(from, from + rows * buffer.width));
  }

  writeActivation(activation: Activation, values: Float32Array): void {
    const buffer = activation as CpuActivation;
    const bank = buffer.home ?? this.#banks[0]!;
    bank.floats.set(values, buffer.write(bank) / 4);
  }

  poisonPages(pages: Uint32Array): void {
    this.#live.state.poison(pages);
  }

  [Symbol.dispose](): void {
    this.#threads[Symbol.dispose]();
    this.#context = null;
  }
}

/** A step that runs when it is read, after those before it. */
class CpuStep implements RecordedStep {
  #result: StepResult | null = null;
  #submitted = 0;

  constructor(
    readonly context: ForwardContext,
    readonly plan: BatchPlan,
    readonly forward: (ops: Ops) => void,
    readonly pending: CpuStep[],
  ) {}

  submit(): void {
    this.#submitted = performance.now();
    this.pending.push(this);
  }

  read(): StepResult {
    while (this.#result === null) {
      const next = this.pending[0];
      if (next === undefined) throw new Error("a step was read before it was submitted");
      next.run();
    }
    return this.#result;
  }

  run(): void {
    this.pending.splice(this.pending.indexOf(this), 1);
    const { context, plan } = this;
    context.state.apply(plan);
    const results: StepResult[] = [];
    for (let i = 0; i < plan.steps; i++) {
      const ops = new Forward(context, plan, i);
      this.forward(ops);
      ops.flush();
      if (ops.result) results.push(ops.result);
    }
    this.#result = joinResults(results, plan.id, performance.now() - this.#submitted);
  }
}
