// One forward on the CPU: turns the decoder's calls into operations.

import type { BatchPlan, StepResult } from "../plan.ts";
import type {
  Activation,
  AttentionArgs,
  Collective,
  LinearArgs,
  Matrix,
  MoeArgs,
  NormArgs,
  Ops,
  SampleArgs,
} from "../ops.ts";
import type { Bank } from "./bank.ts";
import { ExpertBuffers, recordExperts } from "./experts.ts";
import { hiddenOnly, hiddenRows } from "./hidden.ts";
import { LogitsBuffers, moveKept, sampleRows } from "./logits.ts";
import type { CpuMatrix, CpuRopeTable, CpuVector } from "./matrix.ts";
import { normAddress, Recorder } from "./recorder.ts";
import type { Logits } from "./sampling.ts";
import type { CpuState } from "./state.ts";
import type { ThreadGroup } from "./threads.ts";
import { type CpuActivation, maxChunk, rowsPerUnit, StepTokens } from "./workspace.ts";

/** `embed`: an id outside of this rank's rows. */
const notOurs = 0xffffffff;

/** What forwards share: state, recorder and buffers. */
export class ForwardContext {
  /** Runs what is recorded. */
  readonly recorder: Recorder;
  /** Buffers of mixtures of experts. */
  readonly experts: ExpertBuffers;
  /** Buffers of the sampling. */
  readonly logits: LogitsBuffers;

  /** Buffers are made when they are first needed. */
  constructor(
    readonly state: CpuState,
    threads: ThreadGroup,
    readonly collective: Collective | null,
    /** Multiply-adds of an average operation for each thread that is used. */
    workPerThread: number,
  ) {
    this.recorder = new Recorder(state, threads, workPerThread);
    this.experts = new ExpertBuffers(Math.min(maxChunk, state.spec.maxTokens));
    this.logits = new LogitsBuffers(state.spec);
  }
}

/** The decoder's view of one forward of a plan. */
export class Forward implements Ops {
  readonly #context: ForwardContext;
  readonly #recorder: Recorder;
  readonly #tokens: StepTokens;
  readonly #plan: BatchPlan;
  readonly #step: number;
  /** Set by `sample`. */
  result: StepResult | null = null;
  readonly draws: boolean;

  /** Forward `step` of the plan. */
  constructor(context: ForwardContext, plan: BatchPlan, step: number) {
    this.#context = context;
    this.#recorder = context.recorder;
    this.#tokens = new StepTokens(plan, step, context.state);
    this.#plan = plan;
    this.#step = step;
    this.draws = plan.draws === true;
    this.#recorder.begin(this.#tokens);
  }

  embed(table: Matrix, output: Activation, scale = 1): void {
    const { spec, bank, address, format } = table as CpuMatrix;
    const { ids } = this.#recorder.enter(bank);
    const { vocabStart } = this.#context.state.spec;
    this.#tokens.ids.forEach((id, t) => {
      const row = id - vocabStart;
      bank.words[ids / 4 + t] = row < 0 || row >= spec.rows ? notOurs : row;
    });
    const to = (output as CpuActivation).write(bank);
    this.#recorder.push("embed", {
      ...{ ids, tokens: this.#tokens.count, weights: address, format },
      ...{ columns: spec.columns, output: to, outputStride: output.width * 4, scale },
    });
  }

  linear({ input, norm, weight, bias, output, epilogue, gate }: LinearArgs): void {
    const matrix = weight as CpuMatrix, { bank } = matrix;
    const from = input as CpuActivation, to = output as CpuActivation;
    const { count } = this.#tokens;
    this.#recorder.enter(bank);
    this.#recorder.product({
      input: from.read(bank, count * from.width * 4),
      inputStride: from.width * 4,
      tokens: count,
      rows: 0,
      norm: norm ?? null,
      weight: matrix,
      bias: (bias ?? null) as CpuVector | null,
      epilogue,
      gate,
      output: epilogue === "add" ? to.read(bank, count * to.width * 4) : to.write(bank),
      outputStride: to.width * 4,
    });
  }

  norm({ input, norm, first, output, epilogue, whole }: NormArgs): void {
    // Where nothing else says which memory: the one that the input is in.
    const bank = (input as CpuActivation).home!;
    this.#recorder.enter(bank);
    const to = output as CpuActivation, sums = whole?.sums as CpuActivation | undefined;
    this.#recorder.push("norm", {
      ...this.#normWords(bank, input as CpuActivation, first, norm.weight.length),
      ...{ norm: normAddress(norm, bank), epsilon: norm.epsilon },
      ...{ output: to.read(bank, this.#tokens.count * to.width * 4) + first * 4, outputStride: to.width * 4 },
      ...{ add: epilogue === "add" ? 1 : 0, count: whole?.count ?? 0 },
      ...sums === undefined ? { sums: 0, sumsStride: 0 } : {
        sums: sums.read(bank, this.#tokens.count * sums.width * 4) + whole!.column * 4,
        sumsStride: sums.width * 4,
      },
    });
  }

  squares(input: Activation, first: number, count: number, output: Activation, column: number): void {
    const bank = (input as CpuActivation).home!, to = output as CpuActivation;
    this.#recorder.enter(bank);
    this.#recorder.push("squares", {
      ...this.#normWords(bank, input as CpuActivation, first, count),
      ...{ output: to.write(bank) + column * 4, outputStride: to.width * 4, norm: 0, epsilon: 0 },
      ...{ add: 0, count: 0, sums: 0, sumsStride: 0 },
    });
  }

  #normWords(bank: Bank, input: CpuActivation, first: number, columns: number) {
    const { count: tokens } = this.#tokens, inputStride = input.width * 4;
    return { input: input.read(bank, tokens * inputStride) + first * 4, inputStride, tokens, columns };
  }

  attention(args: AttentionArgs): void {
    const { qkv, heads, qNorm, kNorm, rope, output, layer, scale, window, softCap, sinks } = args;
    const { state } = this.#context;
    const { bank, keys, values, keyScales, valueScales } = state.layers[layer]!;
    const { rows, positions, runs, scratch, scratchBytes } = this.#recorder.enter(bank);
    const { count, pairs, runs: { length } } = this.#tokens;
    const { cosine, sine } = rope as CpuRopeTable;
    const words = {
      qkv: (qkv as CpuActivation).read(bank, count * qkv.width * 4),
      stride: qkv.width * 4,
      tokens: count,
      rows,
      positions,
      heads: heads.numHeads,
      kvHeads: heads.numKvHeads,
      headDim: heads.headDim,
      cosine: cosine.in(bank),
      sine: sine.in(bank),
      qNorm: normAddress(qNorm, bank),
      qEpsilon: qNorm?.epsilon ?? 0,
      kNorm: normAddress(kNorm, bank),
      kEpsilon: kNorm?.epsilon ?? 0,
      keys,
      values,
      keyScales,
      valueScales,
      numberBytes: state.numberBytes,
      pageTable: state.pageTable(bank),
      pagesPerRow: state.pagesPerRow,
      pageShift: state.pageShift,
      runs,
      runCount: length / 4,
      output: (output as CpuActivation).write(bank),
      outputStride: output.width * 4,
      scale,
      window: window ?? 0,
      scratch,
      scratchBytes,
      unitRows: rowsPerUnit(heads),
      softCap: softCap ?? 0,
      sinks: (sinks as CpuVector | undefined)?.in(bank) ?? 0,
    };
    this.#recorder.push("ropeStore", words);
    this.#recorder.push("attention", words, 2 * pairs * heads.numHeads * heads.headDim);
  }

  moe(args: MoeArgs): void {
    recordExperts(this.#recorder, this.#context.experts, args);
  }

  allReduce(partial: Activation, output: Activation, epilogue: "store" | "add"): void {
    this.flush();
    const source = partial as CpuActivation, target = output as CpuActivation;
    const bank = source.home!;
    const length = this.#tokens.count * partial.width;
    const from = source.read(bank, length * 4) / 4;
    const sum = bank.floats.slice(from, from + length);
    this.#context.collective!.allReduce(sum);
    const to = (epilogue === "add" ? target.read(bank, length * 4) : target.write(bank)) / 4;
    if (epilogue === "add") { for (let i = 0; i < length; i++) bank.floats[to + i]! += sum[i]!; }
    else bank.floats.set(sum, to);
  }

  sample({ input, norm, head, softCap }: SampleArgs): void {
    const weight = head as CpuMatrix, { bank } = weight;
    const logits = this.#context.logits.in(bank), from = input as CpuActivation;
    const { samples } = this.#recorder.enter(bank);
    if (this.draws) {
      this.result = this.#sampled(logits, weight);
      return;
    }
    const at = from.read(bank, this.#tokens.count * from.width * 4);
    let hidden: Float32Array | null = null;
    if (this.#plan.hidden) {
      this.flush();
      hidden = hiddenRows(bank, at, from.width, norm, this.#plan);
      if (this.#plan.hidden === "only") {
        this.result = hiddenOnly(this.#plan, hidden);
        return;
      }
    }
    this.#recorder.product({
      input: at,
      inputStride: from.width * 4,
      rows: samples,
      tokens: this.#tokens.samples.length,
      norm,
      weight,
      bias: null,
      epilogue: softCap == null ? "store" : "cap",
      cap: softCap,
      output: logits.address,
      outputStride: logits.stride,
    });
    this.flush();
    const sampled = this.#sampled(logits, weight);
    this.result = hidden === null ? sampled : { ...sampled, hidden };
  }

  #sampled(logits: Logits, { spec: { rows } }: CpuMatrix): StepResult {
    const { state, collective } = this.#context;
    moveKept(state, logits, rows, this.#plan, this.#tokens);
    return sampleRows(state, collective, logits, rows, this.#plan, this.#step, this.#tokens);
  }

  /** Runs what has been recorded. */
  flush(): void {
    this.#recorder.flush();
  }
}
