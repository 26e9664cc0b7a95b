// Products of one token with matrices that are large enough for the kernels that stay, on an NVIDIA GPU.

import assert from "node:assert/strict";
import { createCudaBackend } from "../../../kernels/cuda/backend.ts";
import { cudaTest } from "../../cuda.ts";
import { Random } from "../../random.ts";
import { baseState, Pair, tokensOnly } from "../conformance/pair.ts";
import { plan } from "../plans.ts";

const rows = 4112, columns = 2048;

/** Rounding input, weight and result to bfloat16 (float16) changes a result by this much at most. */
const tolerances = { bf16: 6e-3, f16: 1e-3 };

const cases = [
  { epilogue: "store", bias: true, norm: false },
  { epilogue: "store", bias: true, norm: true },
  { epilogue: "add", bias: false, norm: false },
  { epilogue: "gate-mul", bias: true, norm: false },
  { epilogue: "gate-mul", bias: false, norm: true },
] as const;

for (const dtype of ["bf16", "f16"] as const) {
  cudaTest(`cuda: products of a token with a large ${dtype} matrix equal the reference`, async () => {
    using backend = await createCudaBackend();
    const pair = new Pair(backend, baseState), random = new Random(3);
    const weights = random.normals(rows * columns, 1 / Math.sqrt(columns));
    const plain = pair.matrix({ name: "w", rows, columns, dtype }, weights);
    const paired = pair.matrix({ name: "p", rows, columns, dtype, layout: "paired" }, weights);
    const biasValues = random.normals(rows, 0.5), normValues = random.normals(columns, 0.3).map((v) => 1 + v);
    const bias = pair.each((b) => b.createVector(biasValues));
    const norm = pair.each((b) => b.createVector(normValues));
    for (const made of cases) {
      const width = made.epilogue === "gate-mul" ? rows / 2 : rows;
      const input = pair.activation(columns, random.normals(columns, 2), made.norm ? "residual" : "hidden");
      const output = pair.activation(
        width,
        random.normals(width),
        made.epilogue === "add" ? "residual" : "hidden",
      );
      await pair.run(plan(1, tokensOnly(1)), (ops, i) =>
        ops.linear({
          input: input[i]!,
          norm: made.norm ? { weight: norm[i]!, epsilon: 1e-5 } : undefined,
          weight: (made.epilogue === "gate-mul" ? paired : plain)[i]!,
          bias: made.bias ? bias[i]! : undefined,
          output: output[i]!,
          epilogue: made.epilogue,
        }));
      const error = await pair.error(output, 1);
      assert.ok(error < tolerances[dtype], `${JSON.stringify(made)}: ${error}`);
    }
  });
}
