// Drawing tokens: parameters, masks, log-probabilities, scored rows, and what comes back of sampled rows.

import assert from "node:assert/strict";
import { draw, penalize } from "../../../kernels/reference/sampling.ts";
import { allows, sampledRow, SampleFlag } from "../../../kernels/sampling.ts";
import { Random, relativeError } from "../../random.ts";
import { encode } from "../numbers.ts";
import { plan, samplingRows, type TestSampling } from "../plans.ts";
import { baseState, Pair, type Suite } from "./pair.ts";

/** Registers them. */
export function testSampling({ test }: Suite): void {
  for (const [vocabSize, dtype] of [[64, "f32"], [1000, "q8"], [5003, "f32"]] as const) {
    test(`sampling chooses what the reference chooses from the same logits, under masks, too, vocabulary ${vocabSize}`, async (tested) => {
      const hidden = 32, rows = 12;
      tested.createState({ ...baseState, vocabSize });
      const random = new Random(vocabSize);
      const head = tested.createMatrix({ name: "h", rows: vocabSize, columns: hidden, dtype });
      tested.writeRows(head, 0, encode(random.normals(vocabSize * hidden, 0.6), dtype, hidden));
      const norm = { weight: tested.createVector(new Float32Array(hidden).fill(1)), epsilon: 1e-6 };
      const input = tested.createActivation(hidden, "residual");
      for (let round = 0; round < 6; round++) {
        const parameters: TestSampling[] = Array.from({ length: rows }, (_, s) => ({
          temperature: random.pick([0, 0.3, 0.7, 1, 1.5]),
          topK: random.pick([0, 0, 1, 5, 40, vocabSize]),
          topP: random.pick([1, 1, 0.9, 0.5, 0.05]),
          minP: random.pick([0, 0, 0.05, 0.3]),
          presencePenalty: random.pick([0, 0.5, -1]),
          frequencyPenalty: random.pick([0, 0.4]),
          repetitionPenalty: random.pick([1, 1.3]),
          promptLength: 6,
          seed: [random.int(0, 2 ** 32 - 1), random.int(0, 5)] as const,
          logprobs: random.pick([0, 1, 4, 21]),
          bias: s % 3 === 0 ? [[s, -Infinity], [s + 1, 2.5]] as const : [],
          ...(s % 2 === 1 ? { mask: randomMask(random, vocabSize) } : {}),
        }));
        const sequences = parameters.map((_, row) => ({ row, cached: 12, extend: 1 }));
        const tokens = sequences.map(({ row }) => ({
          row,
          first: 0,
          // Repeats, and tokens that stand in prompt and output.
          ids: Array.from({ length: 13 }, (_, i) => (row * 5 + (i % 5) * 3) % vocabSize),
        }));
        const sampling = samplingRows(sequences, parameters);
        tested.writeActivation(input, random.normals(rows * hidden));
        const recorded = tested.record(
          plan(round, sequences, { tokens, sampling, returnLogits: true }),
          (ops) => ops.sample({ input, norm, head, softCap: round % 2 === 0 ? null : 10 }),
        );
        recorded.submit();
        const result = await recorded.read();
        if (round % 2 === 1) assert.ok(result.logits!.every((logit) => Math.abs(logit) < 10));
        parameters.forEach((p, s) => {
          const logits = Float64Array.from(result.logits!.subarray(s * vocabSize, (s + 1) * vocabSize));
          const row = sampledRow(sampling, s);
          const penalized = penalize(logits, row, Uint32Array.from(tokens[s]!.ids));
          const expected = draw(penalized, row, 13);
          assert.ok(row.mask === undefined || allows(row.mask, expected));
          assert.equal(result.tokens[s], expected, `round ${round} row ${s} ${JSON.stringify(p)}`);
          assertLogprobs(result, s, p.logprobs!, logits);
        });
      }
    });
  }

  test("a scored row reports the token that stands there and leaves the pool alone", async (tested) => {
    const vocabSize = 64, hidden = 16;
    tested.createState(baseState);
    const random = new Random(9);
    const head = tested.createMatrix({ name: "h", rows: vocabSize, columns: hidden, dtype: "f32" });
    tested.writeRows(head, 0, encode(random.normals(vocabSize * hidden), "f32", hidden));
    const norm = { weight: tested.createVector(new Float32Array(hidden).fill(1)), epsilon: 1e-6 };
    const input = tested.createActivation(hidden, "residual");
    tested.writeActivation(input, random.normals(5 * hidden));
    const ids = [7, 3, 9, 1, 4];
    const sampling = samplingRows([1, 1, 3].map((extend) => ({ row: 0, cached: 0, extend })), [
      { token: 0, sequence: 0, flags: SampleFlag.Score, logprobs: 3 },
      { token: 1, sequence: 0, flags: SampleFlag.Score, logprobs: 1 },
      { token: 4, sequence: 0, flags: SampleFlag.Draw, logprobs: 1 },
    ]);
    const recorded = tested.record(
      plan(1, [{ row: 0, cached: 0, extend: 5 }], {
        tokens: [{ row: 0, first: 0, ids }],
        sampling,
        returnLogits: true,
      }),
      (ops) => ops.sample({ input, norm, head }),
    );
    recorded.submit();
    const result = await recorded.read();
    assert.deepEqual([...result.tokens.subarray(0, 2)], [3, 9]);
    [3, 1, 1].forEach((n, s) =>
      assertLogprobs(
        result,
        s,
        n,
        Float64Array.from(result.logits!.subarray(s * vocabSize, (s + 1) * vocabSize)),
      )
    );
  });

  for (const hidden of ["also", "only"] as const) {
    test(`sampled rows come back as they are after the last norm (hidden: ${hidden})`, async (tested) => {
      const { vocabSize, hiddenSize } = baseState;
      const pair = new Pair(tested, baseState);
      const random = new Random(11);
      const head = pair.matrix(
        { name: "h", rows: vocabSize, columns: hiddenSize, dtype: "bf16" },
        random.normals(vocabSize * hiddenSize),
      );
      const weight = random.normals(hiddenSize), input = pair.activation(hiddenSize, null);
      const norms = pair.each((backend) => ({ weight: backend.createVector(weight), epsilon: 1e-5 }));
      // Chunks and decodes, rows of which some are drawn and some are not; the count of rows differs.
      for (const [round, extends_] of [[1, 1, 1], [7], [3, 1, 20], [1]].entries()) {
        const sequences = extends_.map((extend, row) => ({ row, cached: 4, extend }));
        const values = random.normals(32 * hiddenSize);
        const tokens = sequences.map(({ row }) => ({ row, first: 0, ids: Array(30).fill(5) }));
        const sampling = samplingRows(sequences, [{ flags: SampleFlag.Score }]);
        const step = plan(round, sequences, { tokens, sampling, hidden });
        const [found, expected] = await Promise.all(pair.backends.map((backend, i) => {
          backend.writeActivation(input[i]!, values);
          const recorded = backend.record(step, (ops) => {
            ops.sample({ input: input[i]!, norm: norms[i]!, head: head[i]! });
          });
          recorded.submit();
          return recorded.read();
        }));
        assert.equal(found!.hidden!.length, sequences.length * hiddenSize);
        assert.ok(relativeError(found!.hidden!, expected!.hidden!) < 1e-5);
        if (hidden === "also") assert.deepEqual(found!.tokens, expected!.tokens);
      }
    });
  }
}

/** The reported log-probabilities of a sampled row are those of its logits. */
export function assertLogprobs(
  result: {
    tokens: Uint32Array;
    logprobs: Float32Array;
    topCount: number;
    topTokens: Uint32Array;
    topLogprobs: Float32Array;
  },
  s: number,
  wanted: number,
  logits: Float64Array,
): void {
  if (wanted === 0) return assert.ok(Number.isNaN(result.logprobs[s]));
  const max = Math.max(...logits);
  const logTotal = max + Math.log(logits.reduce((sum, v) => sum + Math.exp(v - max), 0));
  assert.ok(Math.abs(result.logprobs[s]! - (logits[result.tokens[s]!]! - logTotal)) < 1e-3);
  const order = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b);
  for (let i = 0; i < wanted - 1; i++) {
    assert.equal(result.topTokens[s * result.topCount + i], order[i]);
    assert.ok(
      Math.abs(result.topLogprobs[s * result.topCount + i]! - (logits[order[i]!]! - logTotal)) < 1e-3,
    );
  }
}

/** One token, a few, half of them, or all but a few. */
export function randomMask(random: Random, vocabSize: number): Uint32Array {
  const mask = new Uint32Array(Math.ceil(vocabSize / 32));
  const share = random.pick([0, 0.01, 0.5, 0.99]);
  const certain = random.int(0, vocabSize - 1);
  for (let token = 0; token < vocabSize; token++) {
    if (token === certain || random.next() < share) mask[token >> 5]! |= 1 << (token & 31);
  }
  return mask;
}
