// Number formats, exhaustively where they are small enough.

import assert from "node:assert/strict";
import { formats } from "../../../kernels/formats/mod.ts";
import { convert, storedTypes } from "../../../engine/weights/convert.ts";
import { decode } from "../../kernels/numbers.ts";
import { Random } from "../../random.ts";

const all16 = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);

Deno.test("every bfloat16 survives the way to float32 and back", () => {
  const wide = storedTypes.get("BF16")!.decode(all16);
  const back = new Uint16Array(formats.bf16.encode(wide, 65536).buffer);
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
  const rounded = storedTypes.get("BF16")!.decode(formats.bf16.encode(values, 10_000));
  assert.deepEqual([...rounded.slice(0, 7)], [1, 1 + 2 ** -6, -1, 0, -0, Infinity, Infinity]);
  for (let i = 7; i < values.length; i++) {
    const step = 2 ** (Math.floor(Math.log2(Math.abs(values[i]!))) - 7);
    assert.ok(Math.abs(rounded[i]! - values[i]!) <= step / 2, `${values[i]} became ${rounded[i]}`);
  }
});

Deno.test("what float16 cannot hold becomes its largest number, not infinity", () => {
  const halves = new Float16Array(formats.f16.encode(Float32Array.of(1e6, -1e6, 65504, 1.5), 4).buffer);
  assert.deepEqual([...halves], [65504, -65504, 65504, 1.5]);
});

Deno.test("every bfloat16 becomes the nearest float16, or the largest of its sign", () => {
  const wide = storedTypes.get("BF16")!.decode(all16);
  const halves = new Float16Array(convert(all16, "BF16", "f16", 65536).buffer);
  const nearest = new Float16Array(wide);
  for (let i = 0; i < 65536; i++) {
    const expected = Math.abs(nearest[i]!) === Infinity ? Math.sign(wide[i]!) * 65504 : nearest[i];
    assert.ok(Object.is(halves[i], expected), `${wide[i]} became ${halves[i]}`);
  }
});

Deno.test("fp8 e4m3 spans ±448 with subnormals and has no infinity", () => {
  const values = storedTypes.get("F8_E4M3")!.decode(Uint8Array.from({ length: 256 }, (_, i) => i));
  assert.deepEqual(
    [values[0], values[1], values[8], values[0x38], values[0x7e], values[0xfe], values[0x7f], values[0xff]],
    [0, 2 ** -9, 2 ** -6, 1, 448, -448, NaN, NaN],
  );
  for (let i = 1; i < 0x7f; i++) assert.ok(values[i]! > values[i - 1]!);
});

Deno.test("a type that needs no change keeps its bytes", () => {
  assert.equal(convert(all16, "BF16", "bf16", 65536), all16);
  assert.notEqual(convert(all16, "BF16", "f32", 65536), all16);
});

/** Rows of q8 as numbers, by the float64 reference. */
const eightBit = (values: Float32Array, columns: number) =>
  decode(formats.q8.encode(values, columns), "q8", columns);

Deno.test("an eight-bit weight is off by half of its block's scale at most, whatever the block's size and place", () => {
  const random = new Random(6);
  for (const columns of [8, 32, 40, 264]) {
    const values = random.normals(20 * columns);
    for (let i = 0; i < values.length; i++) values[i]! *= 2 ** random.int(-3, 3);
    // Rows of very different size: scales down to float16's smallest, and up to its largest.
    for (let row = 0; row < 20; row++) {
      for (let c = 0; c < columns; c++) values[row * columns + c]! *= 2 ** (2 * (row - 10));
    }
    const back = eightBit(values, columns);
    for (let first = 0; first < values.length;) {
      const end = Math.min(first + 32, first - first % columns + columns);
      const block = values.subarray(first, end);
      const most = Math.max(...block.map(Math.abs));
      // Rounded up to a float16, of eleven bits or a multiple of 2⁻²⁴.
      const scale = Math.max(most / 127 * (1 + 2 ** -10), most / 127 + 2 ** -24);
      block.forEach((value, i) => {
        const error = Math.abs(back[first + i]! - value);
        assert.ok(error <= scale / 2, `${value} became ${back[first + i]} where the largest is ${most}`);
      });
      first = end;
    }
  }
});

Deno.test("eight-bit rows are numbers, scales of whole and partial blocks, and zeros up to eight bytes", () => {
  const values = new Float32Array(2 * 40).fill(0.25);
  values[3] = -127;
  values[40 + 39] = 254;
  const bytes = formats.q8.encode(values, 40);
  assert.equal(bytes.length, 2 * 48);
  const numbers = new Int8Array(bytes.buffer), halves = new Float16Array(bytes.buffer);
  assert.deepEqual([...numbers.subarray(0, 5)], [0, 0, 0, -127, 0]);
  assert.deepEqual([halves[20], halves[22]], [1, 0]);
  assert.deepEqual([numbers[48 + 38], numbers[48 + 39]], [0, 127]);
  assert.deepEqual([halves[24 + 21], halves[24 + 22], halves[24 + 23]], [2, 0, 0]);
  assert.ok(numbers.subarray(32, 40).every((n) => n === 127));
});

Deno.test("zeros stay zero, infinity becomes the largest eight-bit value, and a NaN shows in its whole block", () => {
  const values = new Float32Array(4 * 32).fill(1);
  values.fill(0, 0, 32);
  values[33] = -Infinity;
  values[34] = 1e30;
  values[70] = NaN;
  const back = eightBit(values, 32);
  assert.ok(back.subarray(0, 32).every((v) => v === 0));
  assert.deepEqual([...back.subarray(32, 36)], [0, -127 * 65504, 127 * 65504, 0]);
  assert.ok(back.subarray(64, 96).every(Number.isNaN));
  assert.ok(back.subarray(96).every((v) => Math.abs(v - 1) < 1 / 254));
});

Deno.test("every stored type becomes the eight-bit rows of its float32 values", () => {
  const random = new Random(7);
  const columns = 72;
  const values = random.normals(6 * columns);
  for (const [stored, type] of [["BF16", "bf16"], ["F16", "f16"], ["F32", "f32"]] as const) {
    const bytes = formats[type].encode(values, columns);
    const rows = convert(bytes, stored, "q8", columns);
    assert.deepEqual(rows, formats.q8.encode(storedTypes.get(stored)!.decode(bytes), columns));
    const back = decode(rows, "q8", columns);
    assert.ok(values.every((value, i) => Math.abs(value - back[i]!) < 0.03), stored);
  }
  const codes = Uint8Array.from({ length: 2 * columns }, () => random.int(0, 0x7e));
  assert.deepEqual(
    convert(codes, "F8_E4M3", "q8", columns),
    formats.q8.encode(storedTypes.get("F8_E4M3")!.decode(codes), columns),
  );
});
