// Collects operations and runs them on all threads.
//
// Operations are collected as long as they concern one bank; a change of bank, a collective and the sampling run
// what there is. Products of many tokens are cut into chunks of 256, so that packed inputs and sums stay small.

import { type Gate, type LinearArgs, type Norm, silu } from "../ops.ts";
import type { Bank } from "./bank.ts";
import type { CpuMatrix, CpuVector } from "./matrix.ts";
import { epilogues, type Operation, type Words } from "./operations.ts";
import type { CpuState } from "./state.ts";
import type { ThreadGroup } from "./threads.ts";
import { maxChunk, ownPackNumbers, type StepTokens, Workspace } from "./workspace.ts";

/** Packing in every thread's own scratch pays below so many numbers; a single token always does. */
const ownPackLimit = 4096;

/** A matrix product among addresses of one bank: its words, and the objects that the others follow from. */
export type Product =
  & Pick<Words<"linear">, "input" | "inputStride" | "tokens" | "rows" | "output" | "outputStride">
  & Pick<LinearArgs, "gate">
  & { readonly epilogue: typeof epilogues[number]; readonly cap?: number | null | undefined }
  & { readonly weight: CpuMatrix; readonly norm: Norm | null; readonly bias: CpuVector | null };

/** Operations on their way to the threads, with the buffers of each bank. */
export class Recorder {
  /** Of the forward that is recorded. */
  tokens!: StepTokens;
  readonly #workspaces = new Map<Bank, Workspace>();
  #current: Workspace | null = null;
  /** Multiply-adds of what has been collected. */
  #work = 0;

  /** `workPerThread` are the multiply-adds of an average operation for each thread that is used. */
  constructor(readonly state: CpuState, readonly threads: ThreadGroup, readonly workPerThread: number) {}

  /** Begins a forward. */
  begin(tokens: StepTokens): void {
    this.tokens = tokens;
    this.#current = null;
  }

  /** The workspace of a bank, which becomes the one that operations are added to. */
  enter(bank: Bank): Workspace {
    if (this.#current?.bank === bank) return this.#current;
    this.flush();
    let workspace = this.#workspaces.get(bank);
    if (workspace === undefined) {
      workspace = new Workspace(bank, this.state.spec, this.threads.threads);
      this.#workspaces.set(bank, workspace);
    }
    workspace.fill(this.tokens);
    return this.#current = workspace;
  }

  /** Appends an operation of so many multiply-adds in the current bank. */
  push<K extends Operation>(kind: K, words: Words<K>, work = 0): void {
    this.#work += work;
    const { program } = this.#current!;
    if (program.full) this.flush();
    program.push(kind, words);
  }

  /** Runs what has been collected. */
  flush(): void {
    const program = this.#current?.program;
    if (!program || program.count === 0) return;
    const { count } = program, { threads, workPerThread } = this;
    const useful = workPerThread === 0 ? threads.threads : Math.floor(this.#work / count / workPerThread);
    program.count = 0;
    this.#work = 0;
    threads.run(this.#current!.bank, program.address, count, Math.max(1, Math.min(threads.threads, useful)));
  }

  /** Appends a product in the current bank. */
  product(
    { input, inputStride, rows, weight, norm, bias, tokens, output, outputStride, ...end }: Product,
  ): void {
    const { columns } = weight.spec, workspace = this.#current!;
    // A single token streams the weights: longer runs of panels keep the prefetcher going.
    const run = Math.max(1, Math.min(8, Math.floor(weight.panels / (8 * this.threads.threads))));
    const words = productWords(weight, workspace, norm, end.epilogue, end.gate);
    if (end.cap != null) words.limit = end.cap;
    words.inputStride = inputStride;
    words.outputStride = outputStride;
    words.bias = bias?.biasOf(weight) ?? 0;
    for (let first = 0; first < tokens; first += maxChunk) {
      const count = Math.min(maxChunk, tokens - first);
      const own = count === 1 ? columns <= ownPackNumbers : count * columns <= ownPackLimit;
      words.input = rows === 0 ? input + first * inputStride : input;
      words.rows = rows === 0 ? 0 : rows + first * 4;
      words.tokens = count;
      words.packed = own ? 0 : workspace.packed();
      words.output = output + first * outputStride;
      words.claimPanels = count > 1 ? 1 : run;
      if (!own) this.push("pack", words);
      this.push("linear", words, count * weight.spec.rows * columns);
    }
  }
}

/** The words of a product: those that follow from its matrix, norm and epilogue; zeros for the others. */
export function productWords(
  weight: CpuMatrix,
  { scratch, scratchBytes }: Workspace,
  norm: Norm | null,
  epilogue: typeof epilogues[number],
  gate: Gate = silu,
): { -readonly [K in keyof Words<"linear">]: number } {
  const { bank, spec, panels, address, format } = weight;
  // One literal without spreads: it is made for every product of every step.
  return {
    input: 0,
    inputStride: 0,
    rows: 0,
    tokens: 0,
    columns: spec.columns,
    norm: normAddress(norm, bank),
    epsilon: norm?.epsilon ?? 0,
    packed: 0,
    packRoom: ownPackNumbers,
    weights: address,
    format,
    panels,
    results: spec.layout === "paired" ? spec.rows / 2 : spec.rows,
    bias: 0,
    output: 0,
    outputStride: 0,
    epilogue: epilogues.indexOf(epilogue),
    scratch,
    scratchBytes,
    claimPanels: 1,
    groups: 0,
    expertBytes: 0,
    alpha: gate.alpha,
    beta: gate.beta,
    limit: gate.limit,
    plus: gate.plus,
  };
}

/** Address of a norm's weights in a bank; 0 for none. */
export const normAddress = (norm: Norm | null | undefined, bank: Bank): number =>
  norm ? (norm.weight as CpuVector).in(bank) : 0;
