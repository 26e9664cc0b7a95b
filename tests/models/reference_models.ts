// Whole models against logits and greedy tokens that an independent implementation computed in float32. Registered
// once per backend by the test files beside it.

import type { Register } from "../gpu.ts";
import assert from "node:assert/strict";
import { ReferenceBackend } from "../../kernels/reference/backend.ts";
import type { Ops, RecordedStep } from "../../kernels/ops.ts";
import type { BatchPlan } from "../../kernels/plan.ts";
import type { BackendFactory } from "../kernels/conformance.ts";
import { relativeError } from "../random.ts";
import { LoadedModel, readReference } from "./harness.ts";
import { modelTest, referenceModels } from "./references.ts";

const defaultTolerance = 5e-3;
/** A greedy token may differ where the reference's own choice is this close to our maximum … */
const tie = 0.05;
/**
 * … or this many standard deviations of the difference of two logits that are as far off as the worst prompt's were. A
 * float64 forward that rounds where the matrix units do changes 7 tokens of six models, by up to 2.9 of them.
 */
const deviations = 4;
/**
 * A router's ties: at position 18 of prompt 2 experts 6 and 4 of the first layer are 1.4e-4 apart, at position 27 of
 * prompt 3 experts 2 and 3 of the second 5e-4 (the next ones 3e-3). So rounding may choose the other one, and what
 * follows is then another network's: its logits and greedy tokens are those of a float64 forward in which that expert
 * gets a little more, but for so few of 47 tokens.
 */
const routerTies = { model: "gpt-oss", prompts: [2, 3], nudges: [[4, 3e-4], [3, 1e-3]], most: 3 } as const;

const pocket = new URL("../../models/pocket/", import.meta.url).pathname;

/** All reference models on one backend, or some of them. */
export function testReferenceModels(
  name: string,
  create: BackendFactory,
  register: Register = Deno.test,
  only: {
    readonly models: readonly string[];
    readonly pageSizes: readonly number[];
    /** Where products take inputs that are rounded to bfloat16. */
    readonly tolerance?: number;
  } | null = null,
): void {
  for (const model of only?.models ?? referenceModels) {
    for (const pageSize of only?.pageSizes ?? [1, 16, 64]) {
      modelTest(
        register,
        model,
        `${name}: ${model} gives the reference's logits and greedy tokens, alone and batched, pages of ${pageSize}`,
        (directory) => checkModel(create, directory, pageSize, only?.tolerance ?? defaultTolerance),
      );
    }
  }

  if (only !== null) return;
  register(
    `${name}: pocket gives the reference's logits and 64 greedy tokens from tokens that stay on the device`,
    async () => {
      using backend = await create();
      const loaded = await LoadedModel.load(pocket, backend, 16);
      for (const { prompt, logits, greedy } of await readReference(pocket + "reference.safetensors")) {
        const first = await loaded.prefill([{ row: 0, ids: prompt, everyPosition: false }]);
        assert.ok(relativeError(first.logits!, logits.slice(-2048)) <= defaultTolerance);
        const tokens = [...first.tokens];
        while (tokens.length < greedy.length) {
          const steps = Math.min(5, greedy.length - tokens.length);
          const result = await loaded.decode(
            [{ row: 0, position: prompt.length + tokens.length - 1 }],
            steps,
          );
          tokens.push(...result.tokens);
        }
        assert.deepEqual(tokens, greedy);
      }
    },
  );
}

async function checkModel(
  create: BackendFactory,
  directory: string,
  pageSize: number,
  tolerance: number,
): Promise<void> {
  using backend = await create();
  const loaded = await LoadedModel.load(directory, backend, pageSize);
  const { vocabSize } = loaded.model.config;
  const cases = await readReference(`${directory}/reference.safetensors`);
  assert.equal(cases.length, 4);
  const prompts = cases.map(({ prompt, logits }, row) => ({
    row,
    ids: prompt,
    everyPosition: logits.length > vocabSize,
  }));
  const tied: readonly number[] = directory.endsWith(routerTies.model) ? routerTies.prompts : [];
  using reference = new NudgedBackend();
  const other = tied.length > 0 ? await LoadedModel.load(directory, reference, 16) : null;
  const otherLogits = other && (await other.prefill(prompts)).logits!;
  let worst = 0;
  const check = (logits: Float32Array, at: number, i: number, what: string) => {
    const { length } = cases[i]!.logits;
    let error = relativeError(logits, cases[i]!.logits);
    if (error > tolerance && tied.includes(i)) {
      error = relativeError(logits, otherLogits!.subarray(at, at + length));
    }
    worst = Math.max(worst, error);
    assert.ok(error <= tolerance, `${what}: ${error}`);
  };
  let at = 0;
  for (const [i, prompt] of prompts.entries()) {
    const result = await loaded.prefill([prompt]);
    check(result.logits!, at, i, `prompt ${i} alone`);
    at += cases[i]!.logits.length;
  }
  const together = await loaded.prefill(prompts);
  at = 0;
  for (const [i, { logits }] of cases.entries()) {
    check(together.logits!.subarray(at, at + logits.length), at, i, `prompt ${i} in a batch`);
    at += logits.length;
  }
  // Greedy continuation of all four in one batch, fed with the reference's tokens so that a tie does not derail it.
  const length = Math.min(...cases.map(({ greedy }) => greedy.length));
  const left = cases.map((_, i) => tied.includes(i) ? routerTies.most : 0);
  for (let step = 0; step + 1 < length; step++) {
    const rows = cases.map(({ prompt, greedy }, row) => ({
      row,
      position: prompt.length + step,
      id: greedy[step]!,
    }));
    const result = await loaded.decode(rows), otherResult = await other?.decode(rows);
    cases.forEach(({ greedy }, i) => {
      const logits = result.logits!.subarray(i * vocabSize, (i + 1) * vocabSize);
      const expected = greedy[step + 1]!;
      const chosen = result.tokens[i]!;
      const deviation = Math.SQRT2 * worst * Math.hypot(...logits) / Math.sqrt(vocabSize);
      assert.ok(
        chosen === expected || logits[chosen]! - logits[expected]! <= Math.max(tie, deviations * deviation) ||
          (tied.includes(i) && chosen === otherResult!.tokens[i]) || left[i]!-- > 0,
        `prompt ${i}, token ${step + 1}: ${chosen} instead of ${expected}`,
      );
    });
  }
}

/** Chooses the other experts of `routerTies`: their biases are a little larger. */
class NudgedBackend extends ReferenceBackend {
  override record(plan: BatchPlan, forward: (ops: Ops) => void): RecordedStep {
    return super.record(plan, (ops) => {
      let layer = 0;
      const moe = ops.moe.bind(ops);
      ops.moe = (args) => {
        const nudge = routerTies.nudges[layer++];
        const { data } = args.routerBias as unknown as { readonly data: Float64Array };
        const bias = data.map((v, expert) => expert === nudge?.[0] ? v + nudge[1] : v);
        moe({ ...args, routerBias: Object.assign(Object.create(args.routerBias!), { data: bias }) });
      };
      forward(ops);
    });
  }
}
