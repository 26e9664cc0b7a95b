// What the launches of kernels for few rows of quantized weights promise, without a GPU.

import fc from "fast-check";
import assert from "node:assert/strict";
import { mostSharedBytes } from "../../../kernels/cuda/gemm/launch.ts";
import { planQuantized, quantizedTypes, suits } from "../../../kernels/cuda/linear/quantized.ts";
import { modules } from "../../../kernels/cuda/modules.ts";
import { unpack } from "../../../kernels/cuda/unpack.ts";
import { formats } from "../../../kernels/formats/mod.ts";

const compiled = new Map(quantizedTypes.map((type) => [type, unpack(modules[`quantized_${type}`])]));

Deno.test("the launch of any product of few rows covers it, fits the device, and names a compiled kernel", () => {
  const shapes = fc.record({
    dtype: fc.constantFrom(...quantizedTypes),
    tokens: fc.integer({ min: 1, max: 64 }),
    features: fc.integer({ min: 1, max: 200_000 }),
    blocks: fc.integer({ min: 1, max: 60 }),
    paired: fc.boolean(),
    norm: fc.boolean(),
  });
  fc.assert(fc.property(shapes, fc.constantFrom(80, 86, 90), ({ blocks, ...rest }, capability) => {
    const shape = { ...rest, columns: blocks * Math.max(32, formats[rest.dtype].blockColumns) };
    fc.pre(suits(shape.dtype, shape.columns));
    const most = Math.min(112 * 1024, mostSharedBytes(capability));
    const plan = planQuantized(shape, 132, most);
    if (plan === null) return;
    assert.ok(plan.sharedBytes <= most && plan.threads <= 256 && plan.threads % 32 === 0);
    const each = /(?:n|pair)(\d+)$/.exec(plan.kernel);
    const parts = shape.tokens > 16 ? Math.ceil(shape.tokens / 32) : 1;
    assert.ok(plan.blocks / parts * Number(each?.[1]) >= shape.features);
    assert.ok(plan.kernel.startsWith("global") || shape.tokens <= 8);
    assert.ok(compiled.get(shape.dtype)!.includes(`.entry ${plan.kernel}(`), plan.kernel);
    assert.equal(plan.kernel.includes("pair"), shape.paired);
    assert.equal(plan.kernel.startsWith("norm"), shape.norm);
  }));
});

Deno.test("products of the shapes of models always have a kernel where no norm is asked for", () => {
  for (const dtype of quantizedTypes) {
    for (const columns of [1024, 2048, 2880, 3072, 4096, 5120, 9728, 12288, 14336, 17408]) {
      // Gate and up take the residual stream, which is narrower than the feed-forward's inside.
      for (const paired of columns > 8192 ? [false] : [false, true]) {
        const shape = { dtype, tokens: 16, features: 4096, columns, paired, norm: false };
        assert.ok(
          suits(dtype, columns) && planQuantized(shape, 132, 112 * 1024) !== null,
          `${dtype} ${columns}`,
        );
      }
    }
  }
});
