// One forward on the CPU: turns the decoder's calls into programs and runs them.
//
// Operations are collected as long as they concern one bank; a change of bank, a collective and the sampling run
// what there is. Products of many tokens are cut into chunks of 512, so that packed inputs and sums stay small.

import type { BatchPlan, StepResult } from "../plan.ts";
import type {
  Activation,
  AttentionArgs,
  Collective,
  LinearArgs,
  Matrix,
  MoeArgs,
  Norm,
  Ops,
  SampleArgs,
} from "../ops.ts";
import type { Bank } from "./bank.ts";
import { ExpertBuffers, recordExperts } from "./experts.ts";
import { LogitsBuffers, sampleRows } from "./logits.ts";
import { type CpuMatrix, type CpuRopeTable, type CpuVector, dtypeCode } from "./matrix.ts";
import { Epilogue, Kind, Real } from "./program.ts";
import type { CpuState } from "./state.ts";
import type { ThreadGroup } from "./threads.ts";
import {
  type CpuActivation,
  maxChunk,
  ownPackNumbers,
  rowsPerUnit,
  StepTokens,
  Workspace,
} from "./workspace.ts";

/** Packing in every thread's own scratch pays below so many numbers; a single token always does. */
const ownPackLimit = 4096;
/** `embed`: an id outside of this rank's rows. */
const notOurs = 0xffffffff;

/** What forwards share: threads, state, and the buffers of each bank. */
export class ForwardContext {
  /** Buffers of mixtures of experts. */
  readonly experts: ExpertBuffers;
  /** Buffers of the sampling. */
  readonly logits: LogitsBuffers;
  readonly #workspaces = new Map<Bank, Workspace>();

  /** Buffers are made when they are first needed. */
  constructor(
    readonly state: CpuState,
    readonly threads: ThreadGroup,
    readonly collective: Collective | null,
    /** Multiply-adds of an average operation for each thread that is used. */
    readonly workPerThread: number,
  ) {
    this.experts = new ExpertBuffers(Math.min(maxChunk, state.spec.maxTokens));
    this.logits = new LogitsBuffers(state.spec);
  }

  /** The buffers in a bank. */
  workspace(bank: Bank): Workspace {
    let workspace = this.#workspaces.get(bank);
    if (workspace === undefined) {
      workspace = new Workspace(bank, this.state.spec, this.threads.threads);
      this.#workspaces.set(bank, workspace);
    }
    return workspace;
  }
}

/** A matrix product among addresses of one bank. */
export interface Product {
  /** [tokens, columns] with so many bytes from row to row. */
  readonly input: number;
  /** Bytes from row to row. */
  readonly inputStride: number;
  /** Rows of the product. */
  readonly tokens: number;
  /** Address of the input rows' numbers; 0 takes them in order. */
  readonly rows: number;
  /** Applied to the input first. */
  readonly norm: Norm | null;
  /** [rows, columns] */
  readonly weight: CpuMatrix;
  /** [rows] */
  readonly bias: CpuVector | null;
  /** Address of [tokens, rows], or half as wide for "silu-mul". */
  readonly output: number;
  /** Bytes from row to row. */
  readonly outputStride: number;
  /** As in `LinearArgs`. */
  readonly epilogue: keyof typeof Epilogue;
}

/** The decoder's view of one forward of a plan. */
export class Forward implements Ops {
  /** Shared with other forwards. */
  readonly context: ForwardContext;
  /** The forward's tokens. */
  readonly tokens: StepTokens;
  readonly #plan: BatchPlan;
  readonly #step: number;
  #current: Workspace | null = null;
  /** Multiply-adds of what has been collected. */
  #work = 0;
  /** Set by `sample`. */
  result: StepResult | null = null;

  /** Forward `step` of the plan. */
  constructor(context: ForwardContext, plan: BatchPlan, step: number) {
    this.context = context;
    this.tokens = new StepTokens(plan, step, context.state);
    this.#plan = plan;
    this.#step = step;
  }

  embed(table: Matrix, output: Activation): void {
    const { spec, bank, address } = table as CpuMatrix;
    const workspace = this.enter(bank);
    const { vocabStart } = this.context.state.spec;
    this.tokens.ids.forEach((id, t) => {
      const row = id - vocabStart;
      bank.words[workspace.ids / 4 + t] = row < 0 || row >= spec.rows ? notOurs : row;
    });
    const to = (output as CpuActivation).write(bank);
    this.push(Kind.Embed, [
      ...[workspace.ids, this.tokens.count, address, dtypeCode[spec.dtype], spec.columns],
      ...[to, output.width * 4],
    ]);
  }

  linear({ input, norm, weight, bias, output, epilogue }: LinearArgs): void {
    const matrix = weight as CpuMatrix, { bank } = matrix;
    const from = input as CpuActivation, to = output as CpuActivation;
    const { count } = this.tokens;
    this.enter(bank);
    this.product({
      input: from.read(bank, count * from.width * 4),
      inputStride: from.width * 4,
      tokens: count,
      rows: 0,
      norm: norm ?? null,
      weight: matrix,
      bias: (bias ?? null) as CpuVector | null,
      output: epilogue === "add" ? to.read(bank, count * to.width * 4) : to.write(bank),
      outputStride: to.width * 4,
      epilogue,
    });
  }

  attention({ qkv, heads, qNorm, kNorm, rope, output, layer, scale, window }: AttentionArgs): void {
    const { state } = this.context;
    const { bank, keys, values, keyScales, valueScales } = state.layers[layer]!;
    const workspace = this.enter(bank);
    const { count, runs, pairs } = this.tokens;
    const from = (qkv as CpuActivation).read(bank, count * qkv.width * 4);
    const table = rope as CpuRopeTable;
    const norms = [qNorm, kNorm].flatMap((norm) => normArgs(norm ?? null, bank));
    this.push(Kind.RopeStore, [
      ...[from, qkv.width * 4, count],
      ...[heads.numHeads, heads.numKvHeads, heads.headDim, workspace.rows, workspace.positions],
      ...[table.cosine.in(bank), table.sine.in(bank), ...norms],
      ...[keys, values, state.pageTable(bank), state.pagesPerRow, state.pageShift, keyScales, valueScales],
    ]);
    this.push(Kind.Attention, [
      ...[from, qkv.width * 4],
      ...[workspace.runs, runs.length / 4, heads.numHeads, heads.numKvHeads, heads.headDim],
      ...[(output as CpuActivation).write(bank), output.width * 4],
      ...[keys, values, state.pageTable(bank), state.pagesPerRow, state.pageShift],
      ...[new Real(scale), window ?? 0, workspace.scratch, workspace.scratchBytes, rowsPerUnit(heads)],
      ...[keyScales, valueScales],
    ], 2 * pairs * heads.numHeads * heads.headDim);
  }

  moe(args: MoeArgs): void {
    recordExperts(this, args);
  }

  allReduce(partial: Activation, output: Activation, epilogue: "store" | "add"): void {
    this.flush();
    const source = partial as CpuActivation, target = output as CpuActivation;
    const bank = source.home!;
    const length = this.tokens.count * partial.width;
    const from = source.read(bank, length * 4) / 4;
    const sum = bank.floats.slice(from, from + length);
    this.context.collective!.allReduce(sum);
    const to = (epilogue === "add" ? target.read(bank, length * 4) : target.write(bank)) / 4;
    if (epilogue === "add") { for (let i = 0; i < length; i++) bank.floats[to + i]! += sum[i]!; }
    else bank.floats.set(sum, to);
  }

  sample({ input, norm, head }: SampleArgs): void {
    const matrix = head as CpuMatrix, { bank } = matrix;
    const count = this.tokens.samples.length;
    const logits = this.context.logits.in(bank);
    const from = input as CpuActivation;
    const workspace = this.enter(bank);
    this.product({
      input: from.read(bank, this.tokens.count * from.width * 4),
      inputStride: from.width * 4,
      tokens: count,
      rows: workspace.samples,
      norm,
      weight: matrix,
      bias: null,
      output: logits.address,
      outputStride: logits.stride,
      epilogue: "store",
    });
    this.flush();
    this.result = sampleRows(this.context, logits, matrix.spec.rows, this.#plan, this.#step, this.tokens);
  }

  /** The workspace of a bank, which becomes the one that operations are added to. */
  enter(bank: Bank): Workspace {
    if (this.#current?.bank !== bank) {
      this.flush();
      this.#current = this.context.workspace(bank);
      this.#current.fill(this.tokens);
    }
    return this.#current!;
  }

  /** Appends an operation of so many multiply-adds in the current bank. */
  push(kind: number, args: readonly (number | Real)[], work = 0): void {
    this.#work += work;
    const { program } = this.#current!;
    if (program.full) this.flush();
    program.push(kind, args);
  }

  /** Runs what has been collected. */
  flush(): void {
    const program = this.#current?.program;
    if (!program || program.count === 0) return;
    const { count } = program, { threads, workPerThread } = this.context;
    const useful = workPerThread === 0 ? threads.threads : Math.floor(this.#work / count / workPerThread);
    program.count = 0;
    this.#work = 0;
    threads.run(this.#current!.bank, program.address, count, Math.max(1, Math.min(threads.threads, useful)));
  }

  /** Appends a product in the current bank. */
  product(product: Product): void {
    const { weight, norm, bias, rows, tokens } = product;
    const { bank, spec, panels } = weight, { columns } = spec;
    const workspace = this.#current!;
    const threads = this.context.threads.threads;
    for (let first = 0; first < tokens; first += maxChunk) {
      const count = Math.min(maxChunk, tokens - first);
      const start = rows === 0 ? product.input + first * product.inputStride : product.input;
      const input = [
        ...[start, product.inputStride, rows === 0 ? 0 : rows + first * 4, count, columns],
        ...normArgs(norm, bank),
      ];
      const own = count === 1 ? columns <= ownPackNumbers : count * columns <= ownPackLimit;
      let packed = 0;
      // A single token is its own packed form, unless it is quantised.
      if (count === 1 && norm === null && rows === 0 && spec.dtype !== "q8") {
        packed = start;
      } else if (!own) {
        packed = workspace.packed();
        this.push(Kind.Pack, [...input, packed, 0, dtypeCode[spec.dtype]]);
      }
      // A single token streams the weights: longer runs of panels keep the prefetcher going.
      const group = count > 1 ? 1 : Math.max(1, Math.min(8, Math.floor(panels / (8 * threads))));
      this.push(Kind.Linear, [
        ...[...input, packed, weight.address, dtypeCode[spec.dtype], panels],
        ...[spec.layout === "paired" ? spec.rows / 2 : spec.rows, bias === null ? 0 : bias.biasOf(weight)],
        ...[product.output + first * product.outputStride, product.outputStride, Epilogue[product.epilogue]],
        ...[workspace.scratch, workspace.scratchBytes, ownPackNumbers, group],
      ], count * spec.rows * columns);
    }
  }
}

/** Weight address and epsilon of a norm; address 0 for none. */
export function normArgs(norm: Norm | null, bank: Bank): (number | Real)[] {
  return norm === null ? [0, 0] : [(norm.weight as CpuVector).in(bank), new Real(norm.epsilon)];
}
