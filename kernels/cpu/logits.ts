// From logits to a step's result: raw logits on request, log-probabilities, chosen tokens, the token pool.

import type { BatchPlan, StepResult } from "../plan.ts";
import { emptyResult } from "../results.ts";
import type { Collective, StateSpec } from "../ops.ts";
import { gatherBest, gatherRows, needsWholeRow } from "../vocabulary.ts";
import { type Bank, Region } from "./bank.ts";
import { rowField, type SampledRow, sampledRows, SampleFlag } from "../sampling.ts";
import { LogitRow, type Logits } from "./sampling.ts";
import type { CpuState } from "./state.ts";
import type { StepTokens } from "./workspace.ts";

/** Room for the logits of a step, taken in the bank of the head. */
export class LogitsBuffers {
  readonly #rows: Region;
  readonly #scratch: Region;
  readonly #stride: number;

  /** Nothing is allocated before the first use. */
  constructor({ vocabSize, maxSamples }: StateSpec) {
    // A row is a whole number of vectors, so that scans may load past its end.
    this.#stride = Math.ceil(vocabSize / 16) * 64;
    this.#rows = new Region(this.#stride * maxSamples);
    this.#scratch = new Region(this.#stride * 2);
  }

  /** Buffers in a bank; earlier contents no longer count. */
  in(bank: Bank): Logits {
    const scratch = this.#scratch.write(bank);
    return {
      bank,
      address: this.#rows.write(bank),
      stride: this.#stride,
      scratch,
      indices: scratch + this.#stride,
    };
  }
}

/** Keeps the logits of rows that are drawn later, or brings back those that the plan draws from. */
export function moveKept(
  { kept }: CpuState,
  { bank, address, stride }: Logits,
  localRows: number,
  { sampling, draws }: BatchPlan,
  { rows }: StepTokens,
): void {
  const tokens = rowField(sampling, "token");
  rowField(sampling, "flags").forEach((flags, s) => {
    if (!draws && flags !== SampleFlag.Keep) return;
    const from = (address + s * stride) / 4, row = rows[tokens[s]!]!;
    if (draws) return bank.floats.set(kept.get(row)!, from);
    const room = kept.get(row) ?? new Float32Array(localRows);
    room.set(bank.floats.subarray(from, from + localRows));
    kept.set(row, room);
  });
}

/** Samples or scores the rows of one forward whose logits (of `localRows` tokens, this rank's) have been computed. */
export function sampleRows(
  state: CpuState,
  collective: Collective | null,
  logits: Logits,
  localRows: number,
  plan: BatchPlan,
  step: number,
  tokens: StepTokens,
): StepResult {
  const { vocabSize, contextLength } = state.spec;
  const rows = sampledRows(plan.sampling), count = rows.length;
  const topCount = Math.max(0, ...rows.map(({ logprobs }) => logprobs - 1));
  const settled = collective === null
    ? new Map<number, number>()
    : gather(collective, logits, localRows, rows, plan.returnLogits === true, state.spec);
  const result = {
    ...emptyResult(plan.id, count, topCount),
    ...(plan.returnLogits ? { logits: copyLogits(logits, count, vocabSize) } : {}),
  };
  for (const [s, sampled] of rows.entries()) {
    if (sampled.flags === SampleFlag.Keep) continue;
    const row = new LogitRow(logits, s, vocabSize);
    const { token, sequence } = sampled;
    const position = tokens.positions[token]! + 1;
    const start = tokens.rows[token]! * contextLength;
    // What is reported is the model's own distribution; penalties then change the logits in place.
    const distribution = sampled.logprobs > 0 ? row.distribution(sampled.logprobs - 1) : null;
    if (sampled.flags === SampleFlag.Score) {
      result.tokens[s] = state.tokenPool[start + position]!;
    } else {
      const length = plan.cachedLength[sequence]! + plan.extendLength[sequence]! + step;
      const draw = () => {
        row.penalize(sampled, state.tokenPool.subarray(start, start + length));
        return row.draw(sampled, position);
      };
      const drawn = settled.get(s) ?? draw();
      result.tokens[s] = drawn;
      if (position < contextLength) state.tokenPool[start + position] = drawn;
    }
    if (distribution) result.logprobs[s] = row.rawLogit(result.tokens[s]!) - distribution.logTotal;
    distribution?.top.forEach((id, i) => {
      result.topTokens[s * topCount + i] = id;
      result.topLogprobs[s * topCount + i] = distribution.topLogprobs[i]!;
    });
  }
  return result;
}

function copyLogits({ bank, address, stride }: Logits, count: number, vocabSize: number): Float32Array {
  const all = new Float32Array(count * vocabSize);
  for (let s = 0; s < count; s++) {
    const from = (address + s * stride) / 4;
    all.set(bank.floats.subarray(from, from + vocabSize), s * vocabSize);
  }
  return all;
}

/**
 * Exchanges what the ranks of a group have: the token of each greedy row comes back, the other rows' logits are
 * made whole in place.
 */
function gather(
  collective: Collective,
  { bank, address, stride }: Logits,
  localRows: number,
  sampled: readonly SampledRow[],
  whole: boolean,
  { vocabSize, vocabStart }: StateSpec,
): Map<number, number> {
  const greedy: number[] = [], others: number[] = [];
  for (const [s, row] of sampled.entries()) (whole || needsWholeRow(row) ? others : greedy).push(s);
  const candidates = greedy.map((s) => {
    const at = address + s * stride;
    const best = bank.exports.argmax(at, localRows);
    return { value: bank.floats[at / 4 + best]!, token: vocabStart + best };
  });
  const best = gatherBest(collective, candidates);
  const rows = { data: bank.floats, offset: address / 4, stride: stride / 4 };
  gatherRows(collective, vocabSize, others, rows, rows);
  return new Map(greedy.map((s, i) => [s, best[i]!.token]));
}
