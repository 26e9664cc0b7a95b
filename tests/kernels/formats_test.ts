// The quantised formats: what their rows mean, how near encoding comes, and what it does with odd numbers.

import assert from "node:assert/strict";
import { type DType, dtypes, formats } from "../../kernels/formats/mod.ts";
import { Random, relativeError } from "../random.ts";
import { decode } from "./numbers.ts";

const quantized = dtypes.filter((dtype) => formats[dtype].quantized);

/** ‖error‖ / ‖values‖ of normally distributed numbers, rounded; measured, and a little more. */
const bounds: Readonly<Partial<Record<DType, number>>> = {
  q8: 5.6e-3,
  q4_0: 8.9e-2,
  q4_1: 8.1e-2,
  q4_k: 8.1e-2,
  q5_k: 4e-2,
  q6_k: 2e-2,
};

for (const dtype of quantized) {
  const { blockColumns, encode, decode: fast, rowBytes } = formats[dtype];
  const widths = blockColumns === 8 ? [8, 40, 1024] : [256, 1024];

  Deno.test(`${dtype}: rows mean what its definition says, in float32`, () => {
    for (const columns of widths) {
      const data = encode(new Random(columns).normals(9 * columns), columns);
      assert.equal(data.length, 9 * rowBytes(columns));
      assert.equal(rowBytes(columns) % 8, 0);
      const expected = Float32Array.from(decode(data, dtype, columns));
      assert.equal(fast(data, columns).findIndex((value, i) => value !== expected[i]), -1);
    }
  });

  Deno.test(`${dtype}: encoding rounds to nearest, and hardly changes what it has encoded`, () => {
    for (const columns of widths) {
      const values = new Random(columns).normals(200 * columns);
      const rounded = fast(encode(values.slice(), columns), columns);
      const error = relativeError(rounded, values);
      assert.ok(error < bounds[dtype]!, `${columns} columns: ${error}`);
      assert.ok(columns < 256 || error > bounds[dtype]! * 0.8, `${columns} columns: ${error} is too good`);
      const again = fast(encode(rounded.slice(), columns), columns);
      const moved = relativeError(again, rounded);
      assert.ok(moved < 5e-3, `${columns} columns: ${moved} when encoded again`);
    }
  });

  Deno.test(`${dtype}: zeros stay zeros, one sign stays one sign, and a NaN shows`, () => {
    const columns = 2 * blockColumns * (blockColumns === 8 ? 8 : 1);
    const back = (values: Float32Array) => fast(encode(values, columns), columns);
    assert.ok(back(new Float32Array(columns)).every((value) => value === 0));
    for (const sign of [1, -1]) {
      const values = Float32Array.from({ length: columns }, (_, i) => sign * (3 + i % 7 / 10));
      assert.ok(relativeError(back(values.slice()), values) < 0.04, `${relativeError(back(values), values)}`);
    }
    const values = new Random(5).normals(columns);
    values[columns - 3] = NaN;
    const found = back(values);
    assert.ok(Number.isNaN(found[columns - 3]!) && !Number.isNaN(found[0]!));
  });
}
