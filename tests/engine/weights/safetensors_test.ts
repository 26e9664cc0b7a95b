// Headers of safetensors files and index files, honest and hostile.

import assert from "node:assert/strict";
import fc from "fast-check";
import { ModelError } from "../../../engine/model/json.ts";
import { readSafetensorsHeader, type TensorInfo } from "../../../engine/weights/safetensors.ts";
import { parseSafetensorsHeader } from "../../../engine/weights/safetensors.ts";
import { parseWeightMap, readTensorIndex } from "../../../engine/weights/tensor_index.ts";
import { float32, safetensors, temporaryFolder, withHeader } from "./files.ts";

/** The error of one line that a file with this header and so many bytes of data gives. */
function refusal(header: string, dataBytes: number): string {
  const text = new TextEncoder().encode(header);
  try {
    parseSafetensorsHeader(text, 8 + text.length + dataBytes, "m");
  } catch (error) {
    assert.ok(error instanceof ModelError, String(error));
    assert.ok(!error.message.includes("\n") && error.message.length < 400, error.message);
    return error.message;
  }
  return "accepted";
}

function entry(dtype: unknown, shape: unknown, offsets: unknown): string {
  return JSON.stringify({ t: { dtype, shape, data_offsets: offsets } });
}

Deno.test("tensors of a file lie where its header says", async () => {
  await using folder = await temporaryFolder({
    "model.safetensors": safetensors({ b: float32([1, 2], [2]), a: float32([3, 4, 5, 6], [2, 2]) }),
  });
  const index = await readTensorIndex(folder.path);
  const { file, offset, bytes, shape } = index.get("a")!;
  assert.deepEqual(shape, [2, 2]);
  const data = await Deno.readFile(file);
  assert.deepEqual([...new Float32Array(data.slice(offset, offset + bytes).buffer)], [3, 4, 5, 6]);
});

Deno.test("every lie about types, shapes and offsets is refused with the tensor's name", () => {
  assert.equal(refusal(entry("F32", [2], [0, 8]), 8), "accepted");
  assert.equal(refusal(entry("F32", [], [0, 4]), 4), "accepted");
  assert.equal(refusal(entry("F32", [0, 5], [0, 0]), 0), "accepted");
  const refused: [string, number, RegExp][] = [
    [entry("F33", [2], [0, 8]), 8, /^m: tensor "t" has an unknown type "F33"$/],
    [entry("constructor", [2], [0, 8]), 8, /unknown type/],
    [entry("F32", [-2], [0, 8]), 8, /invalid shape \[-2\]$/],
    [entry("F32", [2.5], [0, 10]), 10, /invalid shape/],
    [entry("F32", "2", [0, 8]), 8, /invalid shape/],
    [entry("F32", [1, 1, 1, 1, 1, 1, 1, 1, 1], [0, 4]), 4, /invalid shape/],
    [entry("F32", [2], [8, 0]), 8, /offsets are \[8,0\]$/],
    [entry("F32", [2], [-8, 0]), 8, /invalid offsets/],
    [entry("F32", [2], [0]), 8, /invalid offsets/],
    [entry("F32", [2], [0, 1e300]), 8, /invalid offsets/],
    [entry("F32", [2], [0, 12]), 12, /takes 8 bytes/],
    [entry("BF16", [1 << 30, 1 << 30, 1 << 30], [0, 8]), 8, /takes .* bytes, but its offsets/],
    [entry("F32", [4], [0, 16]), 8, /need \d+ bytes, but the file has \d+ \(truncated\?\)$/],
    [entry("F32", [2], [0, 8]), 9, /1 bytes follow after the last tensor/],
    [entry("F32", [2], [8, 16]), 16, /8 unused bytes before tensor "t"/],
    [
      JSON.stringify({
        a: { dtype: "F32", shape: [2], data_offsets: [0, 8] },
        b: { dtype: "F32", shape: [2], data_offsets: [4, 12] },
      }),
      12,
      /^m: tensor "b" overlaps another one$/,
    ],
    ["[]", 0, /not a JSON object/],
    ["{", 0, /not valid JSON/],
    ['{"t": 5}', 0, /not described by an object/],
    ['{"t": null}', 0, /not described by an object/],
  ];
  for (const [header, dataBytes, message] of refused) assert.match(refusal(header, dataBytes), message);
});

Deno.test("a length of the header beyond the file or the limit is refused before memory is taken", async () => {
  const lie = async (length: bigint, size: number, message: RegExp) => {
    const file = new Uint8Array(size);
    if (size >= 8) new DataView(file.buffer).setBigUint64(0, length, true);
    await using folder = await temporaryFolder({ "model.safetensors": file });
    await assert.rejects(readSafetensorsHeader(`${folder.path}/model.safetensors`), {
      name: "ModelError",
      message,
    });
  };
  await lie(0n, 7, /7 bytes are too few/);
  await lie(100n, 16, /claims 100 bytes, but the file has 16/);
  await lie(0xffff_ffff_ffff_ffffn, 64, /claims 18446744073709551615 bytes/);
  await using folder = await temporaryFolder({ "model.safetensors": "" });
  const path = `${folder.path}/model.safetensors`;
  using file = await Deno.open(path, { write: true });
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, 80n << 30n, true);
  await file.write(prefix);
  await file.truncate(100 * 2 ** 30); // sparse
  await assert.rejects(readSafetensorsHeader(path), /is more than the \d+ allowed/);
});

Deno.test("files that are missing, folders or without weights give one line", async () => {
  await using folder = await temporaryFolder({});
  await assert.rejects(readTensorIndex(folder.path), {
    message: `${folder.path}/model.safetensors: no such file`,
  });
  await Deno.mkdir(`${folder.path}/model.safetensors.index.json`);
  await assert.rejects(readTensorIndex(folder.path), { name: "ModelError" });
});

Deno.test("no entry of an index names a file outside the folder", () => {
  const parse = (file: unknown) => parseWeightMap({ weight_map: { t: file } }, "index");
  assert.equal(parse("model-00001-of-00002.safetensors").get("t"), "model-00001-of-00002.safetensors");
  const bad = [
    "../m.safetensors",
    "/etc/m.safetensors",
    "a/b.safetensors",
    "a\\b.safetensors",
    "..safetensors",
    ".m.safetensors",
    "m.bin",
    "m.safetensors\n",
    "m\0.safetensors",
    `${"m".repeat(300)}.safetensors`,
    5,
    null,
    {},
  ];
  for (const file of bad) assert.throws(() => parse(file), /is not the name of a safetensors file$/);
  for (const json of [null, [], 5, {}, { weight_map: [] }, { weight_map: {} }]) {
    assert.throws(() => parseWeightMap(json, "index"), { name: "ModelError" });
  }
});

Deno.test("an index that names what a shard does not have is refused", async () => {
  await using folder = await temporaryFolder({
    "model.safetensors.index.json": JSON.stringify({
      weight_map: { a: "x.safetensors", b: "x.safetensors" },
    }),
    "x.safetensors": safetensors({ a: float32([1], [1]) }),
  });
  await assert.rejects(readTensorIndex(folder.path), /tensor "b" is not in x\.safetensors$/);
});

/** Whatever passes the check must be harmless: inside the file, disjoint, and of its shape's size. */
function assertSound(tensors: readonly TensorInfo[], fileSize: number): void {
  let end = 0;
  for (
    const { offset, bytes, shape, dtype } of tensors.toSorted((a, b) =>
      a.offset - b.offset || a.bytes - b.bytes
    )
  ) {
    assert.ok(Number.isSafeInteger(offset) && Number.isSafeInteger(bytes) && offset >= end);
    const width = Number(/\d+/.exec(dtype)?.[0] ?? 8) / 8;
    assert.equal(bytes, shape.reduce((n, size) => n * size, width));
    end = offset + bytes;
  }
  assert.ok(end <= fileSize);
}

/** Checks one hostile header: an error of one line, or tensors that are sound. */
function survive(header: Uint8Array, fileSize: number): boolean {
  let tensors: TensorInfo[];
  try {
    tensors = parseSafetensorsHeader(header, fileSize, "m");
  } catch (error) {
    assert.ok(error instanceof ModelError && !error.message.includes("\n") && error.message.length < 400);
    return false;
  }
  assertSound(tensors, fileSize);
  return true;
}

const oddNumber = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 12 }) },
  fc.constantFrom(-1, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 1e308, 0.5, -0),
);
const hostileEntry = fc.record({
  dtype: fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom("F32", "BF16", "U8") },
    fc.constantFrom("", "f32", "__proto__", 3),
  ),
  shape: fc.oneof(
    { weight: 8, arbitrary: fc.array(oddNumber, { maxLength: 4 }) },
    fc.constantFrom(null, "2", {}),
  ),
  data_offsets: fc.oneof(
    { weight: 8, arbitrary: fc.tuple(oddNumber, oddNumber) },
    fc.array(oddNumber),
    fc.constant(null),
  ),
});

Deno.test("6,000 hostile headers: an error of one line, or tensors that lie soundly in the file", () => {
  fc.assert(
    fc.property(
      fc.dictionary(
        fc.string({ maxLength: 4 }),
        fc.oneof({ weight: 9, arbitrary: hostileEntry }, fc.jsonValue()),
        { maxKeys: 3 },
      ),
      fc.integer({ min: 0, max: 40 }),
      (table, dataBytes) => {
        const header = new TextEncoder().encode(JSON.stringify(table));
        survive(header, 8 + header.length + dataBytes);
      },
    ),
    { numRuns: 6000, seed: 1 },
  );
});

Deno.test("6,000 damaged headers: flipped, cut and lengthened bytes do no harm, and honest ones pass", () => {
  let accepted = 0;
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.constantFrom("F32", "BF16", "I8"),
          fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }),
        ),
        { maxLength: 4 },
      ),
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 2 }),
      fc.integer({ min: -3, max: 3 }),
      (tensors, flips, growth) => {
        const file = safetensors(Object.fromEntries(tensors.map(([dtype, shape], i) => {
          const width = Number(/\d+/.exec(dtype)![0]) / 8;
          return [`t${i}`, {
            dtype,
            shape,
            data: new Uint8Array(shape.reduce((n, size) => n * size, width)),
          }];
        })));
        const headerBytes = Number(new DataView(file.buffer).getBigUint64(0, true));
        const header = file.slice(8, 8 + headerBytes);
        for (const [at, value] of flips) header[at % header.length] = value;
        const sound = survive(header, file.length + growth);
        if (flips.length === 0) assert.equal(sound, growth === 0);
        if (sound) accepted++;
      },
    ),
    { numRuns: 6000, seed: 2 },
  );
  assert.ok(accepted > 200, `${accepted} were accepted`);
});

Deno.test("a truncated file is refused whatever the cut", async () => {
  const whole = safetensors({ a: float32([1, 2, 3], [3]), b: float32([4], [1]) });
  await using folder = await temporaryFolder({});
  const path = `${folder.path}/model.safetensors`;
  for (let size = 0; size < whole.length; size++) {
    await Deno.writeFile(path, whole.subarray(0, size));
    await assert.rejects(readSafetensorsHeader(path), { name: "ModelError" });
  }
  await Deno.writeFile(path, withHeader("{}", 0));
  assert.deepEqual(await readSafetensorsHeader(path), []);
});
