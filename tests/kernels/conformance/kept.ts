// Logits that are kept on the device, and drawn from later.

import assert from "node:assert/strict";
import { draw, penalize } from "../../../kernels/reference/sampling.ts";
import type { BatchPlan } from "../../../kernels/plan.ts";
import { sampledRow, SampleFlag } from "../../../kernels/sampling.ts";
import { Random } from "../../random.ts";
import { encode } from "../numbers.ts";
import { plan, samplingRows, type TestSampling } from "../plans.ts";
import { baseState, type Suite } from "./pair.ts";
import { assertLogprobs, randomMask } from "./sampling.ts";

/** Registers them. */
export function testKept({ test }: Suite): void {
  for (const [vocabSize, dtype] of [[64, "f32"], [1000, "q8"], [5003, "f32"]] as const) {
    test(`kept logits are drawn from later as they would have been at once, vocabulary ${vocabSize}`, async (tested) => {
      const hidden = 32, count = 12;
      tested.createState({ ...baseState, vocabSize });
      const random = new Random(vocabSize + 1);
      const head = tested.createMatrix({ name: "h", rows: vocabSize, columns: hidden, dtype });
      tested.writeRows(head, 0, encode(random.normals(vocabSize * hidden, 0.6), dtype, hidden));
      const norm = { weight: tested.createVector(new Float32Array(hidden).fill(1)), epsilon: 1e-6 };
      const input = tested.createActivation(hidden, "residual");
      const run = async (step: BatchPlan, softCap: number | null) => {
        const recorded = tested.record(step, (ops) => {
          assert.equal(ops.draws, step.draws === true);
          ops.sample({ input, norm, head, softCap });
        });
        recorded.submit();
        return await recorded.read();
      };
      for (let round = 0; round < 5; round++) {
        const softCap = round % 2 === 0 ? null : 10;
        // In no order, so that a set of logits is found by its row of the pool.
        const sequences = Array.from(
          { length: count },
          (_, s) => ({ row: (5 * s + 3) % 16, cached: 12, extend: 1 }),
        );
        const parameters: TestSampling[] = sequences.map((_, s) => ({
          temperature: random.pick([0, 0.7, 1.5]),
          topK: random.pick([0, 0, 5]),
          topP: random.pick([1, 0.9]),
          frequencyPenalty: random.pick([0, 0.4]),
          repetitionPenalty: random.pick([1, 1.3]),
          promptLength: 6,
          seed: [random.int(0, 2 ** 32 - 1), s] as const,
          logprobs: random.pick([0, 1, 4]),
          bias: s % 3 === 0 ? [[s, -Infinity], [s + 1, 2.5]] as const : [],
          ...(random.next() < 0.7 ? { mask: randomMask(random, vocabSize) } : {}),
        }));
        const tokens = sequences.map(({ row }) => ({
          row,
          first: 0,
          ids: Array.from({ length: 13 }, (_, i) => (row * 5 + (i % 5) * 3) % vocabSize),
        }));
        const values = random.normals(count * hidden);
        tested.writeActivation(input, values);
        const { logits } = await run(plan(0, sequences, { tokens, returnLogits: true }), softCap);
        const later = (s: number) => (s + round) % 3 !== 0;
        const kept = sequences.map((_, s): TestSampling =>
          later(s) ? { flags: SampleFlag.Keep } : parameters[s]!
        );
        const at = [...sequences.keys()].filter((s) => !later(s));
        const rest = [...sequences.keys()].filter(later);
        const first = await run(plan(1, sequences, { sampling: samplingRows(sequences, kept) }), softCap);
        // Other requests' forwards in between leave what is kept alone.
        tested.writeActivation(input, random.normals(count * hidden));
        const others = at.map((s) => sequences[s]!);
        await run(
          plan(2, others, { sampling: samplingRows(others, at.map((s) => parameters[s]!)) }),
          softCap,
        );
        const draws = rest.map((s) => sequences[s]!);
        const sampling = samplingRows(draws, rest.map((s) => parameters[s]!));
        const second = await run(plan(3, draws, { sampling, draws: true }), softCap);
        const expected = sequences.map((sequence, s) => {
          const own = Float64Array.from(logits!.subarray(s * vocabSize, (s + 1) * vocabSize));
          const row = sampledRow(samplingRows([sequence], [parameters[s]!]), 0);
          const [result, i] = later(s) ? [second, rest.indexOf(s)] as const : [first, s] as const;
          const token = draw(penalize(own, row, Uint32Array.from(tokens[s]!.ids)), row, 13);
          assert.equal(result.tokens[i], token, `round ${round} row ${s} ${JSON.stringify(parameters[s])}`);
          assertLogprobs(result, i, parameters[s]!.logprobs!, own);
          return token;
        });
        // They stand in the pool, where the next forward finds them.
        const scores = samplingRows(draws, draws.map(() => ({ flags: SampleFlag.Score })));
        const scored = await run(plan(4, draws, { sampling: scores }), softCap);
        assert.deepEqual([...scored.tokens], rest.map((s) => expected[s]!));
      }
    });
  }
}
