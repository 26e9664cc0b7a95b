// An executor that runs plans on the hash model and trusts nobody.
//
// It keeps token pool, page table and key/value slots exactly as a device would, from the plans alone. A plan is
// executed as late as the protocol allows (when its result is read), while poisoned pages are emptied at once: so a
// page freed too early is empty, or somebody else's, by the time a step in flight touches it. Every slot is written
// at most once between two poisonings; a second write means that two owners share it.

import assert from "node:assert/strict";
import { type BatchPlan, type StepResult, tokenCount } from "../../../kernels/plan.ts";
import { type SampledRow, sampledRows, SampleFlag } from "../../../kernels/sampling.ts";
import type { SchedulerConfig } from "../../../engine/scheduler/config.ts";
import type { ToExecutor } from "../../../engine/messages.ts";
import { spareRows } from "../../../engine/workers/fairness.ts";
import { draw, type DrawParams, hiddenState, keyValue, logprob } from "./fake_model.ts";

const empty = 0;
const unknown = -1;

/** Checks the protocol and computes. Throws an assertion error on any violation. */
export class FakeExecutor {
  /** Results that the scheduler has not received yet. */
  readonly results: StepResult[] = [];
  /** Every plan so far. */
  readonly plans: BatchPlan[] = [];
  readonly #config: SchedulerConfig;
  readonly #slots: Uint32Array;
  readonly #table: Int32Array[];
  readonly #pool: Int32Array[];
  /** Sent and not executed, oldest first. */
  readonly #running: BatchPlan[] = [];
  /** Of each row, what the logits that are kept of it follow from. */
  readonly #kept = new Map<number, { readonly kv: number; readonly position: number }>();

  constructor(config: SchedulerConfig) {
    const { numPages, pageSize, maxRunningRequests, contextLength } = config;
    this.#config = config;
    this.#slots = new Uint32Array(numPages * pageSize).fill(empty);
    const rows = Array.from({ length: maxRunningRequests + spareRows });
    this.#table = rows.map(() => new Int32Array(Math.ceil(contextLength / pageSize)).fill(unknown));
    this.#pool = rows.map(() => new Int32Array(contextLength).fill(unknown));
  }

  /** Plans without an answer that the scheduler has seen. */
  get unread(): number {
    return this.results.length + this.#running.length;
  }

  receive(message: ToExecutor): void {
    switch (message.type) {
      case "plan":
        this.plans.push(message.plan);
        this.#running.push(message.plan);
        if (!message.plan.draws) this.#finish(1);
        assert.ok(this.#unanswered(false) <= (this.#config.overlap ? 2 : 1), "too many forwards unread");
        assert.ok(this.#unanswered(true) <= 1, "a draw behind another one");
        return;
      case "drain":
        assert.ok(this.#running.length > 0, "drain with nothing in flight");
        this.#finish(0);
        return;
      case "poison":
        for (const page of message.pages) {
          const { pageSize } = this.#config;
          this.#slots.fill(empty, page * pageSize, (page + 1) * pageSize);
        }
    }
  }

  #finish(left: number): void {
    while (this.#running.length > left) this.results.push(this.#execute(this.#running.shift()!));
  }

  #unanswered(draws: boolean): number {
    const last = this.plans.slice(this.plans.length - this.unread);
    return last.filter((plan) => (plan.draws ?? false) === draws).length;
  }

  #execute(plan: BatchPlan): StepResult {
    this.#checkShape(plan);
    this.#write(plan);
    const rows = sampledRows(plan.sampling), samples = rows.length;
    const topCount = Math.max(0, ...rows.map(({ logprobs }) => logprobs - 1));
    const result = {
      id: plan.id,
      tokens: new Uint32Array(plan.steps * samples),
      logprobs: new Float32Array(plan.steps * samples).fill(NaN),
      topCount,
      topTokens: new Uint32Array(plan.steps * samples * topCount),
      topLogprobs: new Float32Array(plan.steps * samples * topCount),
      ...(plan.hidden ? { hidden: new Float32Array(2 * samples) } : {}),
      // Fast for a while, then slow for a while, the same in every run.
      milliseconds: plan.id % 64 < 48 ? 1 : 30,
    };
    for (let step = 0; step < plan.steps; step++) this.#forward(plan, rows, step, result);
    return result;
  }

  #checkShape(plan: BatchPlan): void {
    const { maxStepTokens, maxStepSamples, maxDecodeSteps, maxPrefillTokens, maxRunningRequests } =
      this.#config;
    const { sampling, row, extendLength } = plan, rows = sampledRows(sampling);
    assert.ok(row.length > 0, "an empty plan");
    assert.equal(new Set(row).size, row.length, "a row twice in a plan");
    assert.ok(row.every((r) => r < maxRunningRequests + spareRows));
    assert.ok(extendLength.every((n) => n > 0));
    assert.ok(tokenCount(plan) <= maxStepTokens, "more tokens than the executor has room for");
    assert.ok(extendLength.filter((n) => n > 1).reduce((a, b) => a + b, 0) <= maxPrefillTokens);
    assert.ok(rows.length <= maxStepSamples, "more sampled rows than the executor has room for");
    assert.ok(plan.steps >= 1 && plan.steps <= Math.max(1, maxDecodeSteps));
    if (plan.steps > 1) {
      assert.ok(extendLength.every((n) => n === 1) && rows.length === row.length);
      assert.ok(rows.every(({ flags }) => flags === SampleFlag.Draw), "a burst only decodes");
    }
    assert.ok(rows.every(({ token }, i) => i === 0 || token > rows[i - 1]!.token), "ascending");
    assert.ok(sampling.biasRow.every((r, i) => i === 0 || r >= sampling.biasRow[i - 1]!), "ascending");
  }

  #write(plan: BatchPlan): void {
    const seen = new Set<string>();
    for (let i = 0; i < plan.pageWrites.length; i += 3) {
      const [row, index, page] = plan.pageWrites.subarray(i, i + 3) as unknown as [number, number, number];
      assert.ok(page < this.#config.numPages, "the dummy page was handed out");
      assert.ok(!seen.has(`${row},${index}`), "a page-table entry is set twice");
      seen.add(`${row},${index}`);
      this.#table[row]![index] = page;
    }
    let at = 0;
    const rows = new Set<number>();
    for (let i = 0; i < plan.tokenWrites.length; i += 3) {
      const [row, position, count] = plan.tokenWrites.subarray(i, i + 3) as unknown as [
        number,
        number,
        number,
      ];
      assert.ok(!rows.has(row), "a row's ids are written twice");
      rows.add(row);
      // What a former owner of the row left behind must not be needed.
      this.#pool[row]!.fill(unknown);
      this.#pool[row]!.set(plan.tokenIds.subarray(at, at + count), position);
      at += count;
    }
    assert.equal(at, plan.tokenIds.length);
  }

  #forward(plan: BatchPlan, rows: readonly SampledRow[], step: number, result: StepResult): void {
    const { contextLength } = this.#config;
    // What counts as cached must be there before the forward, not written by a neighbour during it.
    plan.row.forEach((row, i) => this.#checkCached(row, plan.cachedLength[i]! + step));
    const tokenPosition: { row: number; position: number }[] = [];
    plan.row.forEach((row, i) => {
      const begin = plan.cachedLength[i]! + step;
      if (plan.draws) {
        assert.equal(plan.extendLength[i], 1);
        assert.deepEqual(this.#kept.get(row), { kv: this.#slots[this.#slot(row, begin)]!, position: begin });
        this.#kept.delete(row);
        tokenPosition.push({ row, position: begin });
        return;
      }
      for (let position = begin; position < begin + plan.extendLength[i]!; position++) {
        assert.ok(position < contextLength, "a position beyond the context");
        const token = this.#pool[row]![position]!;
        assert.notEqual(token, unknown, "a token that nobody wrote is computed");
        const slot = this.#slot(row, position);
        assert.equal(this.#slots[slot], empty, "a slot that belongs to someone is overwritten");
        const previous = position === 0 ? 0 : this.#slots[this.#slot(row, position - 1)]!;
        this.#slots[slot] = keyValue(previous, token, position);
        tokenPosition.push({ row, position });
      }
    });
    rows.forEach((sampled, sample) => {
      const { row, position } = tokenPosition[sampled.token]!;
      assert.equal(plan.row[sampled.sequence], row, "a sampled row of another sequence");
      this.#sample(plan, sampled, step * rows.length + sample, row, position, result);
    });
  }

  #sample(
    plan: BatchPlan,
    sampled: SampledRow,
    at: number,
    row: number,
    position: number,
    result: StepResult,
  ): void {
    const { vocabSize, contextLength } = this.#config;
    const kv = this.#slots[this.#slot(row, position)]!;
    assert.ok(position + 1 < contextLength, "a token beyond the context");
    if (sampled.flags === SampleFlag.Score && sampled.logprobs === 0) {
      assert.ok(result.hidden, "a row of which nothing is wanted");
      return result.hidden.set(hiddenState(kv, position), 2 * at);
    }
    assert.notEqual(plan.hidden, "only", "a row of which more is wanted than its state");
    if (sampled.flags === SampleFlag.Keep) {
      assert.ok(!plan.draws && sampled.logprobs === 0 && sampled.mask === undefined);
      this.#kept.set(row, { kv, position });
      return;
    }
    if (sampled.flags === SampleFlag.Draw) {
      this.#pool[row]![position + 1] = draw(kv, position, drawParams(sampled), vocabSize);
    } else {
      assert.equal(sampled.flags, SampleFlag.Score);
    }
    const token = this.#pool[row]![position + 1]!;
    assert.notEqual(token, unknown, "a token that nobody wrote is scored");
    result.tokens[at] = token;
    const asked = sampled.logprobs;
    if (asked === 0) return;
    const { logprob: value, top } = logprob(kv, token, asked - 1, vocabSize);
    result.logprobs[at] = value;
    top.forEach((alternative, i) => {
      result.topTokens[at * result.topCount + i] = alternative.id;
      result.topLogprobs[at * result.topCount + i] = alternative.logprob;
    });
  }

  /** Every visible slot must hold exactly what this row's own tokens give. */
  #checkCached(row: number, length: number): void {
    let kv = 0;
    for (let position = 0; position < length; position++) {
      const token = this.#pool[row]![position]!;
      kv = keyValue(kv, token, position);
      const found = this.#slots[this.#slot(row, position)]!;
      assert.notEqual(found, empty, "a freed or unwritten slot is read");
      assert.equal(found, kv, "a foreign slot is read");
    }
  }

  #slot(row: number, position: number): number {
    const { pageSize } = this.#config;
    const page = this.#table[row]![Math.floor(position / pageSize)]!;
    assert.notEqual(page, unknown, "a position without a page");
    return page * pageSize + position % pageSize;
  }
}

function drawParams({ seedLow, seedHigh, ...row }: SampledRow): DrawParams {
  return { ...row, seed: [seedLow, seedHigh] };
}
