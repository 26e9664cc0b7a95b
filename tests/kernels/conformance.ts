// One suite for every backend: each operation, over a sweep of shapes and on random data, against the float64
// reference. Called once per backend by the test files beside it.

import type { Register } from "../gpu.ts";
import assert from "node:assert/strict";
import { allows, sampledRow, SampleFlag } from "../../kernels/sampling.ts";
import { type DType, formats } from "../../kernels/formats/mod.ts";
import type {
  Activation,
  ActivationKind,
  Backend,
  HeadLayout,
  Matrix,
  MatrixSpec,
  Ops,
  StateSpec,
} from "../../kernels/ops.ts";
import { gelu } from "../../kernels/ops.ts";
import { type KvDType, kvDTypes } from "../../kernels/kv_format.ts";
import { ReferenceBackend } from "../../kernels/reference/backend.ts";
import { encode } from "./numbers.ts";
import { draw, penalize } from "../../kernels/reference/sampling.ts";
import { Random, relativeError } from "../random.ts";
import type { BatchPlan } from "../../kernels/plan.ts";
import { plan, samplingRows, scatteredPages, type TestSampling, type TestSequence } from "./plans.ts";

export type BackendFactory = () => Promise<Backend>;

/** Largest ‖Δ‖/‖ref‖ of one operation: f16 products within a K-step are allowed, a wrong element is not. */
export const tolerance = 2e-3;

/** The same for products with a matrix, where a backend rounds more coarsely than float16. */
export type Tolerances = (dtype: DType, columns: number) => number;

/** A gate with everything; its limits are met often. */
const clamped = { alpha: 1.7, beta: 0.05, limit: 1.5, plus: 1 };

const baseState: StateSpec = {
  numLayers: 1,
  heads: { numHeads: 2, numKvHeads: 1, headDim: 16 },
  vocabSize: 64,
  vocabStart: 0,
  pageSize: 16,
  numPages: 64,
  maxRows: 16,
  contextLength: 256,
  maxTokens: 160,
  maxSamples: 32,
  hiddenSize: 64,
};

/** The same calls on the backend under test and on the reference. */
class Pair {
  readonly backends: readonly [Backend, Backend];
  constructor(tested: Backend, state: StateSpec) {
    this.backends = [tested, new ReferenceBackend()];
    for (const backend of this.backends) backend.createState(state);
  }

  each<T>(make: (backend: Backend) => T): [T, T] {
    return [make(this.backends[0]), make(this.backends[1])];
  }

  matrix(spec: MatrixSpec, values: Float32Array): [Matrix, Matrix] {
    return this.each((backend) => {
      const matrix = backend.createMatrix(spec);
      const bytes = encode(values, spec.dtype, spec.columns);
      // In two pieces of whole rows, as a loader would.
      const rows = spec.rows * (spec.experts ?? 1),
        half = Math.ceil(rows / 2),
        rowBytes = bytes.length / rows;
      backend.writeRows(matrix, 0, bytes.subarray(0, half * rowBytes));
      if (half < rows) backend.writeRows(matrix, half, bytes.subarray(half * rowBytes));
      return matrix;
    });
  }

  activation(
    width: number,
    values: Float32Array | null,
    kind: ActivationKind = "residual",
  ): [Activation, Activation] {
    return this.each((backend) => {
      const activation = backend.createActivation(width, kind);
      if (values) backend.writeActivation(activation, values);
      return activation;
    });
  }

  /** Largest relative error of any one token's row. */
  async error(activation: readonly [Activation, Activation], rows: number): Promise<number> {
    const [tested, reference] = await Promise.all(
      this.backends.map((b, i) => b.readActivation(activation[i]!, rows)),
    );
    const width = activation[0].width;
    let worst = 0;
    for (let t = 0; t < rows; t++) {
      const row = [t * width, (t + 1) * width] as const;
      worst = Math.max(worst, relativeError(tested!.subarray(...row), reference!.subarray(...row)));
    }
    return worst;
  }
}

/** Decode rows (one token each) that give a step of T tokens. */
/** The backend's formats with scales. */
const quantized = ({ dtypes }: Backend) => dtypes.filter((dtype) => formats[dtype].quantized);

const tokensOnly = (count: number): TestSequence[] => [{ row: 0, cached: 0, extend: count, sample: false }];

/** Registers the suite under a name. */
export function testBackend(
  name: string,
  create: BackendFactory,
  register: Register = Deno.test,
  tolerances: Tolerances = () => tolerance,
  caches: readonly KvDType[] = kvDTypes,
): void {
  const test = (title: string, body: (tested: Backend) => Promise<void>) =>
    register(`${name}: ${title}`, async () => {
      using tested = await create();
      await body(tested);
    });

  test("linear equals the reference for every dtype, epilogue and number of tokens", async (tested) => {
    const pair = new Pair(tested, baseState);
    const random = new Random(1);
    const shapes: [rows: number, columns: number, DType][] = [
      [64, 96, "bf16"],
      [336, 112, "bf16"],
      [50, 8, "f32"],
      [130, 264, "f16"],
      [514, 192, "bf16"],
      [96, 1032, "f32"],
      ...quantized(tested).flatMap((dtype): [number, number, DType][] =>
        // Blocks of 32 columns with a short last one, whole ones, and nothing but a short one; or blocks of 256.
        formats[dtype].blockColumns === 8
          ? [[130, 264, dtype], [514, 192, dtype], [50, 8, dtype]]
          : [[130, 512, dtype], [98, 256, dtype]]
      ),
      // Every second row begins at half of sixteen bytes; and many blocks.
      [130, 352, "q8"],
      [98, 3424, "q8"],
    ];
    for (const [rows, columns, dtype] of shapes) {
      const weights = random.normals(rows * columns, 1 / Math.sqrt(columns));
      const plain = pair.matrix({ name: "w", rows, columns, dtype }, weights);
      const paired = pair.matrix({ name: "p", rows, columns, dtype, layout: "paired" }, weights);
      const biasValues = random.normals(rows, 0.5),
        normValues = random.normals(columns, 0.3).map((v) => 1 + v);
      const bias = pair.each((b) => b.createVector(biasValues));
      const norm = pair.each((b) => b.createVector(normValues));
      const cases = [
        { epilogue: "store", bias: true, norm: false },
        { epilogue: "store", bias: true, norm: true },
        { epilogue: "store", bias: false, norm: true },
        { epilogue: "add", bias: false, norm: false },
        { epilogue: "add", bias: true, norm: false },
        { epilogue: "gate-mul", bias: false, norm: true },
        { epilogue: "gate-mul", bias: true, norm: true },
        { epilogue: "gate-mul", bias: true, norm: true, gate: gelu },
        { epilogue: "gate-mul", bias: false, norm: true, gate: clamped },
      ] as const;
      for (const c of cases) {
        const width = c.epilogue === "gate-mul" ? rows / 2 : rows;
        const kind = c.epilogue === "add" ? "residual" as const : "hidden" as const;
        const inputKind = c.norm ? "residual" as const : "hidden" as const;
        const tokens = random.pick([[1, 5, 64], [2, 8, 33], [3, 9, 130], [4, 16, 70], [1, 6, 7], [
          2,
          12,
          100,
        ]]);
        for (const count of tokens) {
          const input = pair.activation(columns, random.normals(count * columns, 2), inputKind);
          const output = pair.activation(width, random.normals(count * width), kind);
          const step = plan(1, tokensOnly(count));
          for (const [i, backend] of pair.backends.entries()) {
            const recorded = backend.record(step, (ops) =>
              ops.linear({
                input: input[i]!,
                norm: c.norm ? { weight: norm[i]!, epsilon: 1e-5 } : undefined,
                weight: (c.epilogue === "gate-mul" ? paired : plain)[i]!,
                bias: c.bias ? bias[i]! : undefined,
                output: output[i]!,
                epilogue: c.epilogue,
                gate: "gate" in c ? c.gate : undefined,
              }));
            recorded.submit();
            await recorded.read();
          }
          const error = await pair.error(output, count);
          assert.ok(
            error < tolerances(dtype, columns),
            `${rows}×${columns} ${dtype} ${JSON.stringify(c)} T=${count}: ${error}`,
          );
        }
      }
    }
  });

  test("a norm by itself equals the reference, in some columns, added or in place, alone and over ranks", async (tested) => {
    const pair = new Pair(tested, baseState);
    const random = new Random(21);
    for (const [width, first, columns] of [[64, 0, 64], [192, 64, 96], [3000, 8, 2304]] as const) {
      const values = random.normals(columns, 0.3).map((v) => 1 + v);
      const weight = pair.each((b) => b.createVector(values));
      for (const count of [1, 7, 130]) {
        const run = async (forward: (i: number, ops: Ops) => void) => {
          for (const [i, backend] of pair.backends.entries()) {
            const recorded = backend.record(plan(1, tokensOnly(count)), (ops) => forward(i, ops));
            recorded.submit();
            await recorded.read();
          }
        };
        const input = pair.activation(width, random.normals(count * width, 2));
        const output = pair.activation(width, random.normals(count * width));
        const sums = pair.activation(8, random.normals(count * 8));
        const norm = (i: number) => ({ weight: weight[i]!, epsilon: 1e-5 });
        await run((i, ops) =>
          ops.norm({ input: input[i]!, norm: norm(i), first, output: output[i]!, epilogue: "add" })
        );
        assert.ok(await pair.error(output, count) < 1e-5, `added, ${width} ${count}`);
        await run((i, ops) => ops.squares(input[i]!, first, columns, sums[i]!, 3));
        assert.ok(await pair.error(sums, count) < 1e-5, `squares, ${width} ${count}`);
        await run((i, ops) => {
          const whole = { sums: sums[i]!, column: 3, count: 2 * columns };
          const args = { input: input[i]!, output: input[i]!, first, norm: norm(i), whole };
          ops.norm({ ...args, epilogue: "store" });
        });
        assert.ok(await pair.error(input, count) < 1e-5, `in place, over ranks, ${width} ${count}`);
      }
    }
  });

  test("embed gathers from the token pool, and gives zeros for other ranks' tokens", async (tested) => {
    for (const dtype of ["bf16", ...quantized(tested)] as const) await checkEmbed(tested, dtype);
  });

  async function checkEmbed(tested: Backend, dtype: DType): Promise<void> {
    const pair = new Pair(tested, { ...baseState, vocabStart: 20 });
    const random = new Random(2);
    const columns = 5 * formats[dtype].blockColumns;
    const table = pair.matrix({ name: "e", rows: 24, columns, dtype }, random.normals(24 * columns));
    const output = pair.activation(columns, random.normals(3 * columns));
    const ids = [19, 20, 43, 44, 30, 0, 63];
    const step = plan(1, [{ row: 2, cached: 5, extend: 7, sample: false }], {
      tokens: [{ row: 2, first: 5, ids }],
    });
    for (const [i, backend] of pair.backends.entries()) {
      const recorded = backend.record(step, (ops) => ops.embed(table[i]!, output[i]!, 3));
      recorded.submit();
      await recorded.read();
    }
    const [rows, expected] = await Promise.all(
      pair.backends.map((b, i) => b.readActivation(output[i]!, ids.length)),
    );
    // A zero may have either sign.
    assert.equal(rows!.findIndex((value, i) => value !== expected![i]), -1);
    const first = rows!.subarray(0, columns), second = rows!.subarray(columns, 2 * columns);
    assert.ok(first.every((v) => v === 0) && second.some((v) => v !== 0));
  }

  const layouts: [
    HeadLayout,
    pageSize: number,
    qkNorm: boolean,
    window: number | null,
    softCap?: number | null,
    sinks?: boolean,
  ][] = [
    [{ numHeads: 4, numKvHeads: 2, headDim: 32 }, 16, true, null],
    [{ numHeads: 14, numKvHeads: 2, headDim: 16 }, 1, false, null],
    [{ numHeads: 8, numKvHeads: 8, headDim: 48 }, 4, false, 24],
    [{ numHeads: 16, numKvHeads: 2, headDim: 64 }, 64, true, null],
    [{ numHeads: 6, numKvHeads: 2, headDim: 128 }, 32, true, 50],
    [{ numHeads: 2, numKvHeads: 1, headDim: 256 }, 16, false, null],
    [{ numHeads: 14, numKvHeads: 2, headDim: 8 }, 16, false, null],
    [{ numHeads: 9, numKvHeads: 1, headDim: 80 }, 2, true, null],
    [{ numHeads: 8, numKvHeads: 4, headDim: 32 }, 16, false, 40, 2],
    [{ numHeads: 4, numKvHeads: 2, headDim: 256 }, 16, false, null, 2],
    [{ numHeads: 16, numKvHeads: 2, headDim: 64 }, 16, false, 48, null, true],
    [{ numHeads: 4, numKvHeads: 1, headDim: 128 }, 1, true, null, 3, true],
  ];
  const attentions = layouts.flatMap((layout) => caches.map((kvDType) => ({ kvDType, layout })));
  for (const { kvDType, layout } of attentions) {
    const [heads, pageSize, qkNorm, window, softCap = null, sunk = false] = layout;
    const { numHeads, numKvHeads, headDim } = heads;
    const title = `attention equals the reference: ${numHeads}/${numKvHeads} heads of ${headDim}, pages of ` +
      `${pageSize}${qkNorm ? ", q/k norm" : ""}${window ? `, window ${window}` : ""}` +
      `${softCap === null ? "" : `, scores capped`}${sunk ? ", sinks" : ""}` +
      `${kvDType === "auto" ? "" : `, cache in ${kvDType}`}`;
    test(title, async (tested) => {
      const contextLength = 512;
      const state: StateSpec = {
        ...baseState,
        heads,
        kvDType,
        pageSize,
        numPages: 4 * Math.ceil(contextLength / pageSize),
        contextLength,
      };
      const pair = new Pair(tested, state);
      const random = new Random(headDim);
      const width = (numHeads + 2 * numKvHeads) * headDim, half = headDim / 2;
      const angles = Array.from(
        { length: contextLength * half },
        (_, i) => Math.floor(i / half) / 100 ** (i % half / half),
      );
      const rope = pair.each((b) =>
        b.createRopeTable(Float32Array.from(angles, Math.cos), Float32Array.from(angles, Math.sin), half)
      );
      const qValues = random.normals(headDim, 0.2).map((v) => v + 1);
      const norm = pair.each((b) => ({ weight: b.createVector(qValues), epsilon: 1e-6 }));
      const sinkValues = random.normals(numHeads, 3);
      const sinks = pair.each((b) => sunk ? b.createVector(sinkValues) : undefined);
      const pages = scatteredPages([0, 3, 1], Math.ceil(contextLength / pageSize), state.numPages);
      // A read of a slot that nothing was written to would show.
      for (const b of pair.backends) b.poisonPages(Uint32Array.from({ length: state.numPages }, (_, i) => i));
      const qkv = pair.activation(width, null, "hidden");
      const output = pair.activation(numHeads * headDim, null, "attended");
      // The first tokens of sequences alone, prefill from nothing, a chunk behind a cached prefix beside decodes,
      // decodes with different lengths, one after the other so that each sees the keys of those before it.
      const sequence = (row: number, cached: number, extend: number): TestSequence => ({
        row,
        cached,
        extend,
      });
      const batches: TestSequence[][] = [
        [sequence(0, 0, 1), sequence(3, 0, 1)],
        [sequence(0, 1, 32), sequence(3, 1, 1), sequence(1, 0, 100)],
        [sequence(1, 100, 60), sequence(0, 33, 1), sequence(3, 2, 7)],
        [sequence(1, 160, 150), sequence(3, 9, 1)],
        [sequence(0, 34, 1), sequence(3, 10, 1), sequence(1, 310, 1)],
        [sequence(0, 35, 1), sequence(3, 11, 1), sequence(1, 311, 1)],
        [sequence(1, 312, 1)],
        [sequence(1, 313, 5), sequence(0, 36, 2)],
      ];
      for (const [id, sequences] of batches.entries()) {
        const count = sequences.reduce((sum, s) => sum + s.extend, 0);
        const values = random.normals(count * width, 1.5);
        const step = plan(id, sequences.map((s) => ({ ...s, sample: false })), id === 0 ? { pages } : {});
        for (const [i, backend] of pair.backends.entries()) {
          backend.writeActivation(qkv[i]!, values);
          const recorded = backend.record(step, (ops) => {
            ops.attention({
              qkv: qkv[i]!,
              heads,
              ...(qkNorm ? { qNorm: norm[i]!, kNorm: norm[i]! } : {}),
              rope: rope[i]!,
              output: output[i]!,
              layer: 0,
              scale: 1 / Math.sqrt(headDim),
              window,
              softCap,
              sinks: sinks[i],
            });
          });
          recorded.submit();
          await recorded.read();
        }
        const error = await pair.error(output, count);
        assert.ok(error < tolerance, `batch ${id}: ${error}`);
      }
    });
  }

  for (const full of [false, true]) {
    const with_ = full ? ", with biases and a clamped gate" : "";
    test(`mixture of experts equals the reference${with_}`, (tested) => checkExperts(tested, full));
  }

  async function checkExperts(tested: Backend, full: boolean): Promise<void> {
    const pair = new Pair(tested, baseState);
    const random = new Random(5);
    for (
      const [experts, perToken, hidden, inner, renormalize, dtype] of [
        [8, 2, 96, 64, true, "bf16"],
        [5, 3, 40, 24, false, "bf16"],
        [16, 4, 64, 32, true, "bf16"],
        [8, 2, 96, 64, true, "q8"],
        [5, 3, 40, 24, false, "q8"],
        ...quantized(tested).map((dtype) =>
          formats[dtype].blockColumns === 8
            ? [6, 2, 72, 40, true, dtype] as const
            : [4, 2, 256, 256, true, dtype] as const
        ),
        [6, 2, 352, 352, true, "q8"],
      ] as const
    ) {
      const router = pair.matrix(
        { name: "r", rows: experts, columns: hidden, dtype: "f32" },
        random.normals(experts * hidden, 0.3),
      );
      const gateUp = pair.matrix(
        { name: "g", rows: 2 * inner, columns: hidden, dtype, experts, layout: "paired" },
        random.normals(experts * 2 * inner * hidden, 1 / Math.sqrt(hidden)),
      );
      const down = pair.matrix(
        { name: "d", rows: hidden, columns: inner, dtype, experts },
        random.normals(experts * hidden * inner, 0.2),
      );
      const norm = pair.each((b) => ({
        weight: b.createVector(new Float32Array(hidden).fill(1)),
        epsilon: 1e-6,
      }));
      const biases = [experts, experts * 2 * inner, experts * hidden].map((length) => {
        const values = random.normals(length, 0.5);
        return pair.each((b) => b.createVector(values));
      });
      for (
        const [count, epilogue] of [[1, "add"], [3, "store"], [8, "add"], [24, "store"], [65, "add"]] as const
      ) {
        const input = pair.activation(hidden, random.normals(count * hidden));
        const output = pair.activation(hidden, random.normals(count * hidden));
        for (const [i, backend] of pair.backends.entries()) {
          const recorded = backend.record(plan(1, tokensOnly(count)), (ops) =>
            ops.moe({
              input: input[i]!,
              norm: norm[i]!,
              router: router[i]!,
              gateUp: gateUp[i]!,
              down: down[i]!,
              ...(full
                ? {
                  routerBias: biases[0]![i]!,
                  gateUpBias: biases[1]![i]!,
                  downBias: biases[2]![i]!,
                  gate: clamped,
                }
                : {}),
              expertsPerToken: perToken,
              renormalize,
              output: output[i]!,
              epilogue,
            }));
          recorded.submit();
          await recorded.read();
        }
        const error = await pair.error(output, count);
        assert.ok(
          error < tolerances(dtype, Math.min(hidden, inner)),
          `${experts} experts ${dtype}, T=${count}: ${error}`,
        );
      }
    }
  }

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
function assertLogprobs(
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
function randomMask(random: Random, vocabSize: number): Uint32Array {
  const mask = new Uint32Array(Math.ceil(vocabSize / 32));
  const share = random.pick([0, 0.01, 0.5, 0.99]);
  const certain = random.int(0, vocabSize - 1);
  for (let token = 0; token < vocabSize; token++) {
    if (token === certain || random.next() < share) mask[token >> 5]! |= 1 << (token & 31);
  }
  return mask;
}
