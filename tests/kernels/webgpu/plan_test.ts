import assert from "node:assert/strict";
import { mostWords, type PackOptions, packPlan } from "../../../kernels/webgpu/plan/pack.ts";
import { contentAt, Sample, sampleWords, Word } from "../../../kernels/webgpu/plan/words.ts";
import { plan, samplingRows } from "../plans.ts";

const options: PackOptions = {
  state: {
    numLayers: 1,
    heads: { numHeads: 2, numKvHeads: 1, headDim: 16 },
    vocabSize: 100,
    vocabStart: 0,
    pageSize: 4,
    numPages: 10,
    maxRows: 4,
    contextLength: 30,
    maxTokens: 64,
    maxSamples: 8,
    hiddenSize: 64,
  },
  alignWords: 64,
  maxGroup: 2,
  tileTokens: 8,
  decodeTokens: 2,
  cut: (lengths) => ({ splitKeys: 32, splits: lengths.length, threads: 32, headBlock: 1, batch: 2 }),
};

/** Words of the region at a byte offset. */
const region = (words: Uint32Array, offset: number) => words.subarray(offset / 4);

Deno.test("regions begin at multiples of the alignment and the window covers the longest", () => {
  const packed = packPlan(
    plan(1, [{ row: 0, cached: 3, extend: 1 }, {
      row: 1,
      cached: 9,
      extend: 1,
    }], { steps: 3 }),
    options,
  );
  assert.equal(packed.forwards.length, 3);
  const offsets = packed.forwards.flatMap((
    f,
  ) => [f.offset, ...f.groups.map((g) => g.offset)]);
  assert.equal(new Set(offsets).size, 6);
  for (const offset of offsets) assert.equal(offset % 256, 0);
  assert.ok(packed.regionBytes >= 4 * (contentAt + 2 * sampleWords));
});

Deno.test("each forward of a burst sees its sequences one position further", () => {
  const packed = packPlan(
    plan(1, [{ row: 2, cached: 7, extend: 1 }], { steps: 3 }),
    options,
  );
  packed.forwards.forEach(({ offset, groups }, step) => {
    const body = region(packed.words, offset);
    assert.equal(body[Word.Tokens], 1);
    assert.deepEqual([...body.subarray(contentAt, contentAt + 3)], [
      0,
      2,
      7 + step,
    ]);
    const tokens = body[Word.TokensAt]!;
    assert.deepEqual([...body.subarray(tokens, tokens + 2)], [2, 7 + step]);
    const record = region(packed.words, groups[0]!.offset).subarray(contentAt);
    assert.equal(record[Sample.position], 7 + step);
    assert.equal(
      region(packed.words, groups[0]!.offset)[Word.ResultsAt],
      2 * step,
    );
  });
});

Deno.test("short extensions become single queries, long ones tiles that end with the sequence", () => {
  const packed = packPlan(
    plan(1, [{ row: 0, cached: 5, extend: 2 }, {
      row: 1,
      cached: 3,
      extend: 19,
    }, {
      row: 3,
      cached: 0,
      extend: 1,
    }]),
    options,
  );
  const [forward] = packed.forwards;
  const body = region(packed.words, forward!.offset);
  assert.equal(forward!.decodes, 3);
  assert.deepEqual([...body.subarray(contentAt, contentAt + 9)], [
    0,
    0,
    5,
    1,
    0,
    6,
    21,
    3,
    0,
  ]);
  assert.equal(forward!.tiles, 3);
  const tiles = body[Word.TilesAt]!;
  assert.deepEqual([...body.subarray(tiles, tiles + 12)], [
    2,
    1,
    3,
    8,
    10,
    1,
    11,
    8,
    18,
    1,
    19,
    3,
  ]);
});

Deno.test("a forward is of single tokens only if every sequence computes one", () => {
  const decodeOnly = (...lengths: number[]) => {
    const sequences = lengths.map((extend, row) => ({ row, cached: 3, extend }));
    return packPlan(plan(1, sequences), options).forwards[0]!.decodeOnly;
  };
  assert.deepEqual([decodeOnly(1), decodeOnly(1, 1, 1)], [true, true]);
  assert.deepEqual([decodeOnly(2), decodeOnly(1, 2, 1), decodeOnly(1, 9)], [false, false, false]);
});

Deno.test("sampled rows are grouped by what fits the logits, in order", () => {
  const sequences = [0, 1, 2].map((row) => ({ row, cached: row, extend: 2 }));
  const packed = packPlan(plan(1, sequences), options);
  const { groups } = packed.forwards[0]!;
  assert.deepEqual(groups.map(({ first, count }) => [first, count]), [[0, 2], [
    2,
    1,
  ]]);
  const last = region(packed.words, groups[1]!.offset);
  assert.equal(last[Word.Samples], 1);
  assert.equal(last[Word.ResultsAt], 4);
  const record = last.subarray(contentAt);
  assert.deepEqual([
    record[Sample.token],
    record[Sample.row],
    record[Sample.position],
  ], [5, 2, 3]);
});

Deno.test("what stood in the room for a plan is not in it", () => {
  const sequences = [0, 1, 2].map((row) => ({ row, cached: 3, extend: 1 }));
  const sampling = samplingRows(sequences, [
    { bias: [[5, 1.5], [6, -1]], mask: new Uint32Array(4).fill(0xffffffff) },
    { bias: [[2, 3]], logprobs: 4 },
    {},
  ]);
  const first = plan(1, sequences, { sampling, pages: [[1, 2, 7]] });
  const used = new Uint32Array(mostWords(first, options));
  packPlan(first, options, used);
  for (const next of [plan(2, sequences.slice(1)), plan(3, sequences)]) {
    assert.deepEqual(packPlan(next, options, used), packPlan(next, options));
  }
});

Deno.test("the last of several writes to a page-table entry counts, and token runs become pairs", () => {
  const packed = packPlan(
    plan(1, [], {
      pages: [[1, 2, 7], [0, 0, 3], [1, 2, 9]],
      tokens: [{ row: 1, first: 4, ids: [50, 51] }, {
        row: 0,
        first: 0,
        ids: [52],
      }],
    }),
    options,
  );
  assert.deepEqual([packed.pageWrites, packed.tokenWrites], [2, 3]);
  assert.deepEqual(
    [...packed.words.subarray(contentAt, contentAt + 10)],
    [10, 9, 0, 3, 34, 50, 35, 51, 0, 52],
  );
});

Deno.test("biases of the same token are added up, and only what is needed is asked of the sampler", () => {
  const sequences = [{ row: 0, cached: 4, extend: 1 }, {
    row: 1,
    cached: 8,
    extend: 1,
  }];
  const sampling = samplingRows(sequences, [
    { bias: [[5, 1.5], [6, -1], [5, 2]] },
    { frequencyPenalty: 0.5, topK: 3 },
  ]);
  const packed = packPlan(plan(1, sequences, { sampling }), options);
  // Top-k of a greedy row needs no limits.
  assert.deepEqual(packed.needs, {
    history: 9,
    biases: 2,
    kept: null,
    limits: false,
    logprobs: false,
    masks: false,
    wholeRows: true,
  });
  const body = region(packed.words, packed.forwards[0]!.groups[0]!.offset);
  const at = body[contentAt + Sample.biasAt]!;
  assert.equal(body[contentAt + Sample.biasCount], 2);
  const floats = new Float32Array(body.slice(at, at + 4).buffer);
  assert.deepEqual([body[at], floats[1], body[at + 2], floats[3]], [
    5,
    3.5,
    6,
    -1,
  ]);
});
