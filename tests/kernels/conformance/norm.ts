// Norms by themselves.

import assert from "node:assert/strict";
import type { Ops } from "../../../kernels/ops.ts";
import { Random } from "../../random.ts";
import { plan } from "../plans.ts";
import { baseState, Pair, type Suite, tokensOnly } from "./pair.ts";

/** Registers it. */
export function testNorm({ test }: Suite): void {
  test("a norm by itself equals the reference, in some columns, added or in place, alone and over ranks", async (tested) => {
    const pair = new Pair(tested, baseState);
    const random = new Random(21);
    for (const [width, first, columns] of [[64, 0, 64], [192, 64, 96], [3000, 8, 2304]] as const) {
      const values = random.normals(columns, 0.3).map((v) => 1 + v);
      const weight = pair.each((b) => b.createVector(values));
      for (const count of [1, 7, 130]) {
        const run = (forward: (ops: Ops, i: number) => void) => pair.run(plan(1, tokensOnly(count)), forward);
        const input = pair.activation(width, random.normals(count * width, 2));
        const output = pair.activation(width, random.normals(count * width));
        const sums = pair.activation(8, random.normals(count * 8));
        const norm = (i: number) => ({ weight: weight[i]!, epsilon: 1e-5 });
        await run((ops, i) =>
          ops.norm({ input: input[i]!, norm: norm(i), first, output: output[i]!, epilogue: "add" })
        );
        assert.ok(await pair.error(output, count) < 1e-5, `added, ${width} ${count}`);
        await run((ops, i) => ops.squares(input[i]!, first, columns, sums[i]!, 3));
        assert.ok(await pair.error(sums, count) < 1e-5, `squares, ${width} ${count}`);
        await run((ops, i) => {
          const whole = { sums: sums[i]!, column: 3, count: 2 * columns };
          const args = { input: input[i]!, output: input[i]!, first, norm: norm(i), whole };
          ops.norm({ ...args, epilogue: "store" });
        });
        assert.ok(await pair.error(input, count) < 1e-5, `in place, over ranks, ${width} ${count}`);
      }
    }
  });
}
