// Rows of the embedding table.

import assert from "node:assert/strict";
import { type DType, formats } from "../../../kernels/formats/mod.ts";
import type { Backend } from "../../../kernels/ops.ts";
import { Random } from "../../random.ts";
import { plan } from "../plans.ts";
import { baseState, Pair, quantized, type Suite } from "./pair.ts";

/** Registers it. */
export function testEmbed({ test }: Suite): void {
  test("embed gathers from the token pool, and gives zeros for other ranks' tokens", async (tested) => {
    for (const dtype of ["bf16", ...quantized(tested)] as const) await checkEmbed(tested, dtype);
  });
}

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
  await pair.run(step, (ops, i) => ops.embed(table[i]!, output[i]!, 3));
  const [rows, expected] = await Promise.all(
    pair.backends.map((b, i) => b.readActivation(output[i]!, ids.length)),
  );
  // A zero may have either sign.
  assert.equal(rows!.findIndex((value, i) => value !== expected![i]), -1);
  const first = rows!.subarray(0, columns), second = rows!.subarray(columns, 2 * columns);
  assert.ok(first.every((v) => v === 0) && second.some((v) => v !== 0));
}
