// Number formats, exhaustively where they are small enough.

import assert from "node:assert/strict";
import { convert, fromFloat32, toFloat32 } from "../../../engine/weights/convert.ts";
import { Random } from "../../random.ts";

const all16 = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);

Deno.test("every bfloat16 survives the way to float32 and back", () => {
  const wide = toFloat32(all16, "BF16");
  const back = new Uint16Array(fromFloat32(wide, "bf16").buffer);
  for (let i = 0; i < 65536; i++) {
    if (Number.isNaN(wide[i])) assert.ok((back[i]! & 0x7fff) > 0x7f80);
    else assert.equal(back[i], i);
  }
});

Deno.test("float32 rounds to the nearest bfloat16, ties to even", () => {
  const random = new Random(5);
  const values = Float32Array.from(
    { length: 10_000 },
    () => (random.next() - 0.5) * 2 ** random.int(-40, 40),
  );
  values.set([1 + 2 ** -8, 1 + 3 * 2 ** -8, -(1 + 2 ** -8), 0, -0, Infinity, 3.4e38]);
  const rounded = toFloat32(fromFloat32(values, "bf16"), "BF16");
  assert.deepEqual([...rounded.slice(0, 7)], [1, 1 + 2 ** -6, -1, 0, -0, Infinity, Infinity]);
  for (let i = 7; i < values.length; i++) {
    const step = 2 ** (Math.floor(Math.log2(Math.abs(values[i]!))) - 7);
    assert.ok(Math.abs(rounded[i]! - values[i]!) <= step / 2, `${values[i]} became ${rounded[i]}`);
  }
});

Deno.test("what float16 cannot hold becomes its largest number, not infinity", () => {
  const halves = new Float16Array(fromFloat32(Float32Array.of(1e6, -1e6, 65504, 1.5), "f16").buffer);
  assert.deepEqual([...halves], [65504, -65504, 65504, 1.5]);
});

Deno.test("every bfloat16 becomes the nearest float16, or the largest of its sign", () => {
  const wide = toFloat32(all16, "BF16");
  const halves = new Float16Array(convert(all16, "BF16", "f16").buffer);
  const nearest = new Float16Array(wide);
  for (let i = 0; i < 65536; i++) {
    const expected = Math.abs(nearest[i]!) === Infinity ? Math.sign(wide[i]!) * 65504 : nearest[i];
    assert.ok(Object.is(halves[i], expected), `${wide[i]} became ${halves[i]}`);
  }
});

Deno.test("fp8 e4m3 spans ±448 with subnormals and has no infinity", () => {
  const values = toFloat32(Uint8Array.from({ length: 256 }, (_, i) => i), "F8_E4M3");
  assert.deepEqual(
    [values[0], values[1], values[8], values[0x38], values[0x7e], values[0xfe], values[0x7f], values[0xff]],
    [0, 2 ** -9, 2 ** -6, 1, 448, -448, NaN, NaN],
  );
  for (let i = 1; i < 0x7f; i++) assert.ok(values[i]! > values[i - 1]!);
});

Deno.test("a type that needs no change keeps its bytes", () => {
  assert.equal(convert(all16, "BF16", "bf16"), all16);
  assert.notEqual(convert(all16, "BF16", "f32"), all16);
});
