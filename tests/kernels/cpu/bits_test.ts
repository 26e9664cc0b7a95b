// The CPU backend promises the same bits whatever a token is computed with: any batch, chunking, page size, number
// of threads and number of memories. Whole forwards of the embedded model are compared here.

import assert from "node:assert/strict";
import { type CpuOptions, createCpuBackend } from "../../../kernels/cpu/backend.ts";
import type { DTypeOption } from "../../../engine/weights/device_types.ts";
import { type DType, dtypes, formats } from "../../../kernels/formats/mod.ts";
import type { KvDType } from "../../../kernels/kv_format.ts";
import { encode } from "../numbers.ts";
import { LoadedModel } from "../../models/harness.ts";
import { Random, relativeError } from "../../random.ts";
import { plan, smallState } from "../plans.ts";

const pocket = new URL("../../../models/pocket/", import.meta.url).pathname;
const vocabSize = 2048;
const prompts = [41, 1, 130, 7].map((length, seed) => {
  const random = new Random(seed);
  return Array.from({ length }, () => random.int(0, vocabSize - 1));
});

async function withModel<T>(
  options: CpuOptions,
  pageSize: number,
  use: (model: LoadedModel) => Promise<T>,
  dtype: DTypeOption = "auto",
  kvDType: KvDType = "auto",
): Promise<T> {
  using backend = await createCpuBackend({ ...options, allThreads: "always" });
  return await use(await LoadedModel.load(pocket, backend, pageSize, { dtype, kvDType }));
}

/** Logits of every position of a prompt, computed whole and alone. */
const alone = (
  options: CpuOptions,
  pageSize: number,
  ids: readonly number[],
  dtype?: DTypeOption,
  kvDType?: KvDType,
) =>
  withModel(
    options,
    pageSize,
    async (model) => {
      const result = await model.prefill([{ row: 0, ids, everyPosition: true }]);
      return result.logits!.slice(0, ids.length * vocabSize);
    },
    dtype,
    kvDType,
  );

/** Logits of the last token when the prompt comes one token at a time. */
const tokenByToken = (ids: readonly number[], dtype?: DTypeOption, kvDType?: KvDType) =>
  withModel(
    { threads: 1 },
    16,
    async (model) => {
      let logits = new Float32Array();
      for (const [position, id] of ids.entries()) {
        const result = await model.decode([{ row: 1, position, id }]);
        logits = result.logits!.slice(0, vocabSize);
      }
      return logits;
    },
    dtype,
    kvDType,
  );

Deno.test("a prompt's logits have the same bits with any threads, page size and number of memories", async () => {
  const ids = prompts[0]!.slice(0, 30);
  const expected = await alone({ threads: 1 }, 16, ids);
  assert.ok(
    expected.some((v) => v !== 0) && expected.every((v) => Number.isFinite(v)),
  );
  const variants: [CpuOptions, pageSize: number][] = [
    [{ threads: 2 }, 16],
    [{ threads: 5 }, 64],
    [{ threads: 1 }, 1],
    [{ threads: 2 }, 4],
    [{ threads: 2, memoryPages: 128 }, 16],
  ];
  for (const [options, pageSize] of variants) {
    assert.deepEqual(
      await alone(options, pageSize, ids),
      expected,
      JSON.stringify([options, pageSize]),
    );
  }
});

Deno.test("a prompt's logits have the same bits whole, token by token, and batched with others", async () => {
  const whole = await Promise.all(
    prompts.map((ids) =>
      withModel({ threads: 1 }, 16, async (model) => {
        const result = await model.prefill([{
          row: 0,
          ids,
          everyPosition: false,
        }]);
        return result.logits!.slice(0, vocabSize);
      })
    ),
  );
  assert.deepEqual(await tokenByToken(prompts[0]!), whole[0]);
  assert.deepEqual(await tokenByToken(prompts[3]!), whole[3]);
  await withModel({ threads: 2 }, 16, async (model) => {
    const result = await model.prefill(
      prompts.map((ids, row) => ({ row, ids, everyPosition: false })),
    );
    prompts.forEach((_, row) => {
      assert.deepEqual(
        result.logits!.slice(row * vocabSize, (row + 1) * vocabSize),
        whole[row],
      );
    });
  });
});

Deno.test("eight-bit weights keep that promise: threads, chunks, and batches", async () => {
  const ids = prompts[0]!.slice(0, 30);
  const whole = (options: CpuOptions, pageSize = 16) => alone(options, pageSize, ids, "int8");
  const expected = await whole({ threads: 1 });
  assert.ok(expected.some((v) => v !== 0) && expected.every((v) => Number.isFinite(v)));
  assert.deepEqual(await whole({ threads: 3 }), expected);
  assert.deepEqual(await whole({ threads: 2, memoryPages: 128 }, 4), expected);
  assert.deepEqual(await tokenByToken(ids, "int8"), expected.subarray(-vocabSize));
  await withModel(
    { threads: 2 },
    16,
    async (model) => {
      // 5, 6 and 7 tokens in all: panels of four, and one, two or three behind them.
      for (const others of [1, 2, 3]) {
        const rows = Array.from({ length: others + 1 }, (_, row) => ({
          row,
          ids: row === 0 ? ids.slice(0, 4) : [row],
          everyPosition: false,
        }));
        const { logits } = await model.prefill(rows);
        assert.deepEqual(
          logits!.slice(0, vocabSize),
          expected.slice(3 * vocabSize, 4 * vocabSize),
          `${others}`,
        );
      }
    },
    "int8",
  );
});

Deno.test("a cache of eight bits keeps that promise: threads, pages, and token by token", async () => {
  const ids = prompts[0]!.slice(0, 30);
  const whole = (options: CpuOptions, pageSize = 16) => alone(options, pageSize, ids, "auto", "int8");
  const expected = await whole({ threads: 1 });
  assert.ok(expected.some((v) => v !== 0) && expected.every((v) => Number.isFinite(v)));
  assert.notDeepEqual(await alone({ threads: 1 }, 16, ids), expected);
  assert.deepEqual(await whole({ threads: 3 }, 64), expected);
  assert.deepEqual(await whole({ threads: 2, memoryPages: 128 }, 4), expected);
  assert.deepEqual(await tokenByToken(ids, "auto", "int8"), expected.subarray(-vocabSize));
});

for (const dtype of dtypes.filter((dtype) => formats[dtype].quantized)) {
  Deno.test(`a product with ${dtype} weights is the same with and without relaxed SIMD, but for float32's rounding`, () =>
    checkBothBuilds(dtype));
}

/** Sums of a block are exact in both builds; one adds a block to the next in one rounding, the other in two. */
async function checkBothBuilds(dtype: DType): Promise<void> {
  const rows = 70, columns = formats[dtype].blockColumns === 8 ? 104 : 768;
  const random = new Random(3);
  const weights = encode(random.normals(rows * columns), dtype, columns);
  const inputs = random.normals(7 * columns);
  const results = [];
  for (const plain of [false, true]) {
    using backend = await createCpuBackend({ threads: 1, plain });
    backend.createState(smallState);
    const weight = backend.createMatrix({ name: "w", rows, columns, dtype });
    backend.writeRows(weight, 0, weights);
    const input = backend.createActivation(columns, "hidden"),
      output = backend.createActivation(rows, "hidden");
    backend.writeActivation(input, inputs);
    const recorded = backend.record(
      plan(1, [{ row: 0, cached: 0, extend: 7, sample: false }]),
      (ops) => ops.linear({ input, weight, output, epilogue: "store" }),
    );
    recorded.submit();
    await recorded.read();
    results.push(await backend.readActivation(output, 7));
  }
  assert.ok(results[0]!.every((v) => v !== 0));
  const error = relativeError(results[1]!, results[0]!);
  assert.ok(error < 5e-7, `${error}`);
}
