// Products with int8 weights round their inputs to eight bits as well: what that costs, beside what the weights cost.

import assert from "node:assert/strict";
import { createCpuBackend } from "../../../kernels/cpu/backend.ts";
import { formats } from "../../../kernels/formats/mod.ts";
import { Random, relativeError } from "../../random.ts";
import { plan, smallState } from "../plans.ts";

const rows = 96, columns = 1024, tokens = 8;

/** [tokens, rows] in float64. */
function product(inputs: Float32Array, weights: Float32Array): Float64Array {
  return Float64Array.from({ length: tokens * rows }, (_, i) => {
    const x = Math.floor(i / rows) * columns, w = i % rows * columns;
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += inputs[x + k]! * weights[w + k]!;
    return sum;
  });
}

for (const plain of [false, true]) {
  Deno.test(`rounding inputs adds no more error than int8 weights have${plain ? ", plain SIMD" : ""}`, async () => {
    const random = new Random(9);
    const weights = random.normals(rows * columns), inputs = random.normals(tokens * columns);
    const bytes = formats.q8.encode(weights.slice(), columns), rounded = formats.q8.decode(bytes, columns);
    using backend = await createCpuBackend({ threads: 1, plain });
    backend.createState(smallState);
    const weight = backend.createMatrix({ name: "w", rows, columns, dtype: "q8" });
    backend.writeRows(weight, 0, bytes);
    const input = backend.createActivation(columns, "hidden"),
      output = backend.createActivation(rows, "hidden");
    backend.writeActivation(input, inputs);
    const step = plan(1, [{ row: 0, cached: 0, extend: tokens, sample: false }]);
    const recorded = backend.record(step, (ops) => ops.linear({ input, weight, output, epilogue: "store" }));
    recorded.submit();
    await recorded.read();
    const withRoundedWeights = product(inputs, rounded);
    const ofWeights = relativeError(withRoundedWeights, product(inputs, weights));
    const ofInputs = relativeError(await backend.readActivation(output, tokens), withRoundedWeights);
    assert.ok(ofWeights > 4e-3 && ofInputs < 1.1 * ofWeights, `inputs ${ofInputs}, weights ${ofWeights}`);
  });
}

Deno.test("not-a-number and infinite inputs show in the result, and a block of zeros adds nothing", async () => {
  using backend = await createCpuBackend({ threads: 1 });
  backend.createState(smallState);
  const weight = backend.createMatrix({ name: "w", rows: 32, columns: 64, dtype: "q8" });
  backend.writeRows(weight, 0, formats.q8.encode(new Float32Array(32 * 64).fill(0.5), 64));
  const input = backend.createActivation(64, "hidden"), output = backend.createActivation(32, "hidden");
  const inputs = new Float32Array(3 * 64).fill(1);
  inputs.fill(0, 128, 160);
  inputs[5] = NaN;
  inputs[69] = Infinity;
  backend.writeActivation(input, inputs);
  const step = plan(1, [{ row: 0, cached: 0, extend: 3, sample: false }]);
  const recorded = backend.record(step, (ops) => ops.linear({ input, weight, output, epilogue: "store" }));
  recorded.submit();
  await recorded.read();
  const sums = await backend.readActivation(output, 3);
  assert.ok(Number.isNaN(sums[0]) && !Number.isFinite(sums[32]), `${sums[0]}, ${sums[32]}`);
  assert.ok(Math.abs(sums[64]! - 16) < 0.1, `${sums[64]}`);
});
