// What a step needs in a bank besides weights and pages: the program, scratch of each thread, packed inputs, and
// the step's own arrays. And the step's tokens, worked out once per forward.

import type { BatchPlan } from "../plan.ts";
import { rowField } from "../sampling.ts";
import type { Activation, HeadLayout, StateSpec } from "../ops.ts";
import { type Bank, Region } from "./bank.ts";
import { productRoom } from "./formats.ts";
import { Program } from "./program.ts";
import type { CpuState } from "./state.ts";

/** Most tokens of one product; more are cut into chunks. */
export const maxChunk = 256;
/** Rows (tokens times query heads of a group) that attention takes at once, unless one token has more. */
const attentionRows = 32;
/** Numbers that a thread packs into its own scratch, rather than all together behind a barrier. */
export const ownPackNumbers = 16384;

/** A buffer of [maxTokens, width] float32, which follows the layers through the banks. */
export class CpuActivation extends Region implements Activation {
  /** As many rows as a step has tokens at most. */
  constructor(readonly width: number, maxTokens: number) {
    super(width * maxTokens * 4);
  }
}

/** Most rows of an attention unit, a multiple of four. */
export function rowsPerUnit({ numHeads, numKvHeads }: HeadLayout): number {
  return Math.ceil(Math.max(attentionRows, numHeads / numKvHeads) / 4) * 4;
}

/** The step's buffers in one bank. */
export class Workspace {
  /** What is collected for this bank. */
  readonly program: Program;
  /** Address of the first thread's scratch. */
  readonly scratch: number;
  /** Bytes of scratch of each thread. */
  readonly scratchBytes: number;
  /** Rows of the embedding table, written by `embed`. */
  readonly ids: number;
  /** Address of each token's row. */
  readonly rows: number;
  /** Address of each token's position. */
  readonly positions: number;
  /** Address of the units of attention. */
  readonly runs: number;
  /** Address of the tokens whose logits are wanted. */
  readonly samples: number;
  #packed = 0;
  #packedColumns = 0;
  readonly #chunk: number;
  #filledFor: StepTokens | null = null;

  /** Takes all but the packed inputs, whose size depends on the matrices. */
  constructor(readonly bank: Bank, spec: StateSpec, threads: number) {
    const { headDim } = spec.heads;
    const most = rowsPerUnit(spec.heads);
    // As `assembly/linear.ts` and `assembly/attention.ts` lay it out.
    this.#chunk = Math.min(maxChunk, spec.maxTokens);
    const product = (ownPackNumbers + (this.#chunk + 4) * 32) * 4 + productRoom;
    const attention = 2 * most * headDim * 4 + 2 * most * 4 + (2 * 4 + 2) * 64 * 4 + 64 * 9 +
      64 * headDim * 2;
    this.scratchBytes = Math.ceil(Math.max(product, attention) / 4096) * 4096;
    this.scratch = bank.allocate(this.scratchBytes * threads);
    this.program = new Program(bank);
    this.ids = bank.allocate(spec.maxTokens * 4);
    this.rows = bank.allocate(spec.maxTokens * 4);
    this.positions = bank.allocate(spec.maxTokens * 4);
    this.runs = bank.allocate(spec.maxTokens * 16);
    this.samples = bank.allocate(spec.maxSamples * 4);
  }

  /** Room for a chunk of packed inputs of any matrix here. */
  packed(): number {
    if (this.bank.widest > this.#packedColumns) {
      this.#packedColumns = this.bank.widest;
      this.#packed = this.bank.allocate((this.#chunk + 4) * this.#packedColumns * 4);
    }
    return this.#packed;
  }

  /** Copies the step's arrays into the bank, unless they are there. */
  fill(tokens: StepTokens): void {
    if (this.#filledFor === tokens) return;
    this.#filledFor = tokens;
    const { words } = this.bank;
    words.set(tokens.rows, this.rows / 4);
    words.set(tokens.positions, this.positions / 4);
    words.set(tokens.runs, this.runs / 4);
    words.set(tokens.samples, this.samples / 4);
  }
}

/** Tokens of one forward of a plan. */
export class StepTokens {
  /** Tokens of the forward. */
  readonly count: number;
  /** Row and position of each token, and the id that stands there. */
  readonly rows: Uint32Array;
  /** Where each token stands in its row. */
  readonly positions: Uint32Array;
  /** Token ids. */
  readonly ids: Uint32Array;
  /** Units of attention: (row, first position, first token, tokens) of at most `rowsPerUnit` rows. */
  readonly runs: Uint32Array;
  /** Pairs of a token and a position that it sees. */
  readonly pairs: number;
  /** Tokens whose logits are wanted. */
  readonly samples: Uint32Array;

  /** Forward `step` of the plan. */
  constructor(plan: BatchPlan, step: number, state: CpuState) {
    const { heads, contextLength } = state.spec;
    const rows: number[] = [], positions: number[] = [], ids: number[] = [], runs: number[] = [];
    const longest = Math.max(1, Math.floor(rowsPerUnit(heads) / (heads.numHeads / heads.numKvHeads)));
    plan.row.forEach((row, b) => {
      const first = plan.cachedLength[b]! + step, count = plan.extendLength[b]!;
      for (let i = 0; i < count; i += longest) {
        runs.push(row, first + i, rows.length + i, Math.min(longest, count - i));
      }
      for (let i = 0; i < count; i++) {
        rows.push(row);
        positions.push(first + i);
        ids.push(state.tokenPool[row * contextLength + first + i]!);
      }
    });
    this.count = rows.length;
    this.pairs = positions.reduce((sum, position) => sum + position + 1, 0);
    this.rows = Uint32Array.from(rows);
    this.positions = Uint32Array.from(positions);
    this.ids = Uint32Array.from(ids);
    this.runs = Uint32Array.from(runs);
    this.samples = rowField(plan.sampling, "token");
  }
}
