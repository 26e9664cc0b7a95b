// Products with matrices: every format, epilogue and number of tokens.

import assert from "node:assert/strict";
import { type DType, formats } from "../../../kernels/formats/mod.ts";
import { gelu } from "../../../kernels/ops.ts";
import { Random } from "../../random.ts";
import { plan } from "../plans.ts";
import { baseState, clamped, Pair, quantized, type Suite, tokensOnly } from "./pair.ts";

/** Registers them. */
export function testLinear({ test, tolerances }: Suite): void {
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
          await pair.run(step, (ops, i) =>
            ops.linear({
              input: input[i]!,
              norm: c.norm ? { weight: norm[i]!, epsilon: 1e-5 } : undefined,
              weight: (c.epilogue === "gate-mul" ? paired : plain)[i]!,
              bias: c.bias ? bias[i]! : undefined,
              output: output[i]!,
              epilogue: c.epilogue,
              gate: "gate" in c ? c.gate : undefined,
            }));
          const error = await pair.error(output, count);
          assert.ok(
            error < tolerances(dtype, columns),
            `${rows}×${columns} ${dtype} ${JSON.stringify(c)} T=${count}: ${error}`,
          );
        }
      }
    }
  });
}
