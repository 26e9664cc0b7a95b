// A weight format that only this test knows, to show what a new one takes: an object that says how its rows are
// stored, one that says how a WebGPU kernel reads them, and an entry in each registry. Everything else follows. (The
// CPU's kernels are compiled ahead of time: there the file is in `kernels/cpu/assembly/formats/`.)

import assert from "node:assert/strict";
import type { Format } from "../../kernels/formats/format.ts";
import { type DType, formats, rowBytes } from "../../kernels/formats/mod.ts";
import { type Backend, matrixBytes } from "../../kernels/ops.ts";
import { createReferenceBackend } from "../../kernels/reference/backend.ts";
import { createWebGpuBackend } from "../../kernels/webgpu/backend.ts";
import type { WebGpuFormat } from "../../kernels/webgpu/formats/format.ts";
import { formats as webGpuFormats } from "../../kernels/webgpu/formats/mod.ts";
import { gpuTest } from "../gpu.ts";
import { Random, relativeError } from "../random.ts";
import { plan, smallState } from "./plans.ts";

/** Fixed point: a byte, less 128, divided by 64. */
const fixed8: Format = {
  option: null,
  quantized: true,
  blockColumns: 8,
  rowBytes: (columns) => columns,
  encode: (values) =>
    Uint8Array.from(values, (value) => Math.max(0, Math.min(255, Math.round(value * 64) + 128))),
  decode: (data) => Float32Array.from(data, (byte) => (byte - 128) / 64),
};

/** The same for WebGPU: eight numbers are two words. */
const fixed8InWgsl: WebGpuFormat = {
  element: "vec2<u32>",
  vecBytes: 8,
  half: false,
  variables: (name) => [[name, "vec2<u32>"]],
  load: (name, { buffer, row, vec, index = `${row} + ${vec}` }, keyword) =>
    `${keyword}${name} = ${buffer}[${index}];`,
  numbers: (name) => [`unpack_fixed8(${name}.x)`, `unpack_fixed8(${name}.y)`],
  functions: () =>
    `fn unpack_fixed8(w: u32) -> vec4<f32> {
  let bytes = (vec4<u32>(w) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
  return (vec4<f32>(bytes) - vec4<f32>(128.0)) / vec4<f32>(64.0);
}`,
};

const name = "fixed8" as DType;
Object.assign(formats, { [name]: fixed8 });
Object.assign(webGpuFormats, { [name]: fixed8InWgsl });

const rows = 40, columns = 24;

/** [tokens, rows]: a product on a backend, and in float64 from what the format says that its rows mean. */
async function products(backend: Backend, tokens: number): Promise<[Float32Array, Float32Array]> {
  const random = new Random(tokens);
  const stored = fixed8.encode(random.normals(rows * columns, 0.5), columns);
  const input = random.normals(tokens * columns);
  const weight = backend.createMatrix({ name: "w", rows, columns, dtype: name });
  backend.writeRows(weight, 0, stored);
  backend.createState(smallState);
  const x = backend.createActivation(columns, "residual"), y = backend.createActivation(rows, "residual");
  backend.writeActivation(x, input);
  const step = backend.record(
    plan(1, [{ row: 0, cached: 0, extend: tokens, sample: false }]),
    (ops) => ops.linear({ input: x, weight, output: y, epilogue: "store" }),
  );
  step.submit();
  await step.read();
  const values = fixed8.decode(stored, columns);
  const expected = Float32Array.from({ length: tokens * rows }, (_, at) => {
    const t = Math.floor(at / rows), n = at % rows;
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += values[n * columns + k]! * input[t * columns + k]!;
    return sum;
  });
  return [await backend.readActivation(y, tokens), expected];
}

const backends = { reference: createReferenceBackend, webgpu: createWebGpuBackend } as const;

for (const [device, create] of Object.entries(backends)) {
  const register = device === "webgpu" ? gpuTest : Deno.test;
  register(`a weight format is one object and one entry in a registry for ${device}`, async () => {
    for (const tokens of [1, 5]) {
      using backend = await create();
      const [actual, expected] = await products(backend, tokens);
      assert.ok(relativeError(actual, expected) < 1e-5, `${tokens} tokens`);
      assert.equal(backend.weightBytes, rows * columns);
    }
  });
}

Deno.test("what a row takes follows from the registered format", () => {
  assert.equal(rowBytes(name, columns), columns);
  assert.equal(matrixBytes({ name: "w", rows, columns, dtype: name, experts: 3 }), 3 * rows * columns);
});
