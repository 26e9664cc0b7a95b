// The CPU backend promises the same bits whatever a token is computed with: any batch, chunking, page size, number
// of threads and number of memories. Whole forwards of the embedded model are compared here.

import assert from "node:assert/strict";
import { type CpuOptions, createCpuBackend } from "../../../kernels/cpu/backend.ts";
import { LoadedModel } from "../../models/harness.ts";
import { Random } from "../../random.ts";

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
): Promise<T> {
  using backend = await createCpuBackend({ ...options, allThreads: "always" });
  return await use(await LoadedModel.load(pocket, backend, pageSize));
}

/** Logits of every position of a prompt, computed whole and alone. */
const alone = (options: CpuOptions, pageSize: number, ids: readonly number[]) =>
  withModel(options, pageSize, async (model) => {
    const result = await model.prefill([{ row: 0, ids, everyPosition: true }]);
    return result.logits!.slice(0, ids.length * vocabSize);
  });

/** Logits of the last token when the prompt comes one token at a time. */
const tokenByToken = (ids: readonly number[]) =>
  withModel({ threads: 1 }, 16, async (model) => {
    let logits = new Float32Array();
    for (const [position, id] of ids.entries()) {
      const result = await model.decode([{ row: 1, position, id }]);
      logits = result.logits!.slice(0, vocabSize);
    }
    return logits;
  });

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
