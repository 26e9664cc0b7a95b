// Collects operations and runs them on all threads.
//
// Operations are collected as long as they concern one bank; a change of bank, a collective and the sampling run
// what there is. Products of many tokens are cut into chunks of 512, so that packed inputs and sums stay small.

import type { LinearArgs, Norm } from "../ops.ts";
import type { Bank } from "./bank.ts";
import { formatNumber } from "./formats.ts";
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
  & Pick<LinearArgs, "epilogue">
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
  product({ input, rows, weight, norm, bias, tokens, output, ...product }: Product): void {
    const { columns } = weight.spec, workspace = this.#current!;
    for (let first = 0; first < tokens; first += maxChunk) {
      const count = Math.min(maxChunk, tokens - first);
      const own = count === 1 ? columns <= ownPackNumbers : count * columns <= ownPackLimit;
      const start = rows === 0 ? input + first * product.inputStride : input;
      // A single token streams the weights: longer runs of panels keep the prefetcher going.
      const run = Math.min(8, Math.floor(weight.panels / (8 * this.threads.threads)));
      const words = {
        ...productWords(weight, workspace, norm, product.epilogue),
        ...{ input: start, inputStride: product.inputStride, rows: rows === 0 ? 0 : rows + first * 4 },
        ...{ tokens: count, packed: own ? 0 : workspace.packed(), bias: bias?.biasOf(weight) ?? 0 },
        ...{ output: output + first * product.outputStride, outputStride: product.outputStride },
        claimPanels: count > 1 ? 1 : Math.max(1, run),
      };
      if (!own) this.push("pack", words);
      this.push("linear", words, count * weight.spec.rows * columns);
    }
  }
}

/** The words of a product that follow from its matrix, norm and epilogue; none of experts. */
export function productWords(
  weight: CpuMatrix,
  { scratch, scratchBytes }: Workspace,
  norm: Norm | null,
  epilogue: LinearArgs["epilogue"],
) {
  const { bank, spec, panels } = weight;
  return {
    ...{ columns: spec.columns, ...normWords("norm", "epsilon", norm, bank), packRoom: ownPackNumbers },
    ...{ weights: weight.address, format: formatNumber(spec.dtype), panels, scratch, scratchBytes },
    ...{ results: spec.layout === "paired" ? spec.rows / 2 : spec.rows, groups: 0, expertBytes: 0 },
    epilogue: epilogues.indexOf(epilogue),
  };
}

/** Weight address and epsilon of a norm, under these names; address 0 for none. */
export function normWords<W extends string, E extends string>(
  weight: W,
  epsilon: E,
  norm: Norm | null,
  bank: Bank,
): Record<W | E, number> {
  const [address, value] = norm === null ? [0, 0] : [(norm.weight as CpuVector).in(bank), norm.epsilon];
  return { [weight]: address, [epsilon]: value } as Record<W | E, number>;
}
