// Products of one token with quantized weights, without a GPU: what their launches promise, and the kernels themselves,
// compiled for the processor, against float64.

import fc from "fast-check";
import assert from "node:assert/strict";
import { mostSharedBytes } from "../../../kernels/cuda/gemm/launch.ts";
import { type QuantizedType, quantizedTypes } from "../../../kernels/cuda/linear/quantized.ts";
import { planStream } from "../../../kernels/cuda/linear/stream.ts";
import { modules } from "../../../kernels/cuda/modules.ts";
import { unpack } from "../../../kernels/cuda/unpack.ts";
import { formats } from "../../../kernels/formats/mod.ts";
import { aligned, bf16, bf16Bits, numbers } from "./emulator/data.ts";
import { emulate, emulatedTest, type Run } from "./emulator/emulator.ts";

Deno.test("the launch of any product of one token fits the device, and names a compiled kernel", () => {
  const compiled = new Map(quantizedTypes.map((type) => [type, unpack(modules[`stream_${type}`])]));
  const shapes = fc.record({
    dtype: fc.constantFrom(...quantizedTypes),
    features: fc.integer({ min: 1, max: 25_000 }).map((n) => 8 * n),
    columns: fc.integer({ min: 1, max: 96 }).map((n) => 256 * n),
    paired: fc.boolean(),
    norm: fc.boolean(),
  });
  let found = 0;
  fc.assert(fc.property(shapes, fc.constantFrom(80, 86, 90), (shape, capability) => {
    const most = mostSharedBytes(capability);
    const plan = planStream(shape, 132, most);
    if (plan === null) return;
    found++;
    assert.ok(plan.sharedBytes <= most && plan.threads <= 256 && plan.threads % 32 === 0);
    assert.ok(plan.blocks >= 1 && plan.blocks <= 3 * 132 && plan.slots >= 2 && plan.slots <= 3);
    assert.ok(plan.blocks <= shape.features / (shape.paired ? 8 : 16));
    assert.ok(compiled.get(shape.dtype)!.includes(`.entry ${plan.kernel}(`), plan.kernel);
  }));
  assert.ok(found > 10);
});

Deno.test("the products of a token of models of 0.6, 8 and 32 billion weights have such kernels", () => {
  for (const dtype of quantizedTypes) {
    for (
      const [hidden, inner, qkv] of [[1024, 3072, 4096], [4096, 12288, 6144], [5120, 25600, 10240]] as const
    ) {
      const plan = (features: number, columns: number, paired: boolean, norm: boolean) =>
        planStream({ dtype, features, columns, paired, norm }, 132, mostSharedBytes(90));
      assert.ok(plan(qkv, hidden, false, true), "q/k/v");
      assert.ok(plan(hidden, hidden, false, false), "output");
      assert.ok(plan(inner, hidden, true, true), "gate and up");
      assert.ok(plan(hidden, inner, false, false), "down");
      assert.ok(plan(151_936, hidden, false, false), "head");
    }
  }
});

/** A library's entry: everything but sizes is a pointer. */
const entry = `
extern "C" void run(int which, int grid, int threads, long shared, const void* x, const float* norm, const u8* w,
                    const float* bias, void* y, int N, int K, int epilogue, int slots) {
  emulated::launch(grid, threads, shared, [=] {
    (which == 0 ? stream_norm : which == 1 ? stream_norm_pair : stream_plain)(x, norm, 1e-6f, w, bias, y, F32, N, K,
                                                                              epilogue, slots);
  });
}`;

for (const dtype of quantizedTypes) {
  emulatedTest(`${dtype}: the kernels of one token, run thread by thread, give what float64 gives`, () => {
    const library = { source: "linear/stream.cu", defines: { KIND: dtype.toUpperCase() }, entry };
    return emulate({ ...library, parameters: "iiilpppppiiii" }, (run) => compare(dtype, run));
  });
}

function compare(dtype: QuantizedType, run: Run): void {
  // The second and third leave warps without a step; blocks have several tiles, one, and none left.
  const cases = [
    {
      features: 48,
      columns: 256,
      paired: false,
      norm: true,
      add: false,
      bias: true,
      multiprocessors: 2,
      blocks: 2,
    },
    {
      features: 40,
      columns: 2816,
      paired: true,
      norm: true,
      add: false,
      bias: true,
      multiprocessors: 1,
      blocks: 3,
    },
    {
      features: 112,
      columns: 2304,
      paired: false,
      norm: false,
      add: true,
      bias: false,
      multiprocessors: 4,
      blocks: 3,
    },
    {
      features: 16,
      columns: 4096,
      paired: true,
      norm: true,
      add: false,
      bias: false,
      multiprocessors: 2,
      blocks: 2,
    },
    {
      features: 32,
      columns: 12288,
      paired: false,
      norm: false,
      add: true,
      bias: true,
      multiprocessors: 1,
      blocks: 1,
    },
  ];
  const slots = new Set<number>();
  for (
    const [i, { features, columns, paired, norm, add, bias, multiprocessors, blocks }] of cases.entries()
  ) {
    const shape = { dtype, features, columns, paired, norm };
    const plan = planStream(shape, multiprocessors, mostSharedBytes(90));
    assert.ok(plan !== null && plan.blocks >= blocks, JSON.stringify(shape));
    slots.add(plan.slots);
    const rows = paired ? 2 * features : features;
    const weights = formats[dtype].encode(numbers(rows * columns, 100 + i), columns);
    const values = formats[dtype].decode(weights, columns);
    const x = numbers(columns, 200 + i), gains = numbers(columns, 300 + i).map((g) => 1 + g);
    const biases = numbers(rows, 400 + i), y = numbers(features, 500 + i), before = y.slice();
    const input = Float64Array.from(x, (v, k) => bf16(norm ? Math.fround(v * gains[k]!) : v));
    const scale = norm ? 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / columns + 1e-6) : 1;
    run(
      ["stream_norm", "stream_norm_pair", "stream_plain"].indexOf(plan.kernel),
      blocks,
      plan.threads,
      BigInt(plan.sharedBytes),
      norm ? x : bf16Bits(input),
      norm ? gains : null,
      aligned(weights),
      bias ? biases : null,
      y,
      features,
      columns,
      add ? 1 : paired ? 2 : 0,
      plan.slots,
    );
    const sum = (row: number) => {
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += values[row * columns + k]! * input[k]!;
      return sum * scale + (bias ? biases[row]! : 0);
    };
    let difference = 0, size = 0;
    for (let n = 0; n < features; n++) {
      const own = sum(n);
      const right = paired ? own / (1 + Math.exp(-own)) * sum(features + n) : own + (add ? before[n]! : 0);
      difference += (y[n]! - right) ** 2, size += right ** 2;
    }
    const error = Math.sqrt(difference / size);
    assert.ok(error < 2e-5, `${JSON.stringify(cases[i])}: relative error ${error}`);
  }
  assert.deepEqual([...slots].sort(), [2, 3]);
}
