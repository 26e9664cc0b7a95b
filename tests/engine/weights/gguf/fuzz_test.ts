// Damaged and hostile GGUF files: an error of one line, little memory, no hang.

import assert from "node:assert/strict";
import { ModelError } from "../../../../engine/model/json.ts";
import { openGguf } from "../../../../engine/weights/gguf/open.ts";
import { readGgufHeader } from "../../../../engine/weights/gguf/header.ts";
import { tokenizerFiles } from "../../../../engine/weights/gguf/tokenizer.ts";
import { Random } from "../../../random.ts";
import { GgufBuilder, tinyGguf } from "./builder.ts";

const runs = Number(Deno.env.get("RADISH_TEST_RUNS") ?? 2000);

Deno.test(`${runs} corrupted files are opened or refused with one line`, async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/m.gguf`;
  const whole = tinyGguf().build();
  const random = new Random(11);
  let refused = 0;
  const before = Deno.memoryUsage().rss;
  try {
    for (let run = 0; run < runs; run++) {
      const data = whole.slice(0, random.int(0, 4) === 0 ? random.int(0, whole.length) : whole.length);
      for (let i = random.int(0, 4); i >= 0 && data.length > 0; i--) {
        // The header is where the danger is; some damage is a whole length or count.
        const at = Math.min(data.length - 1, random.int(0, 1500));
        if (random.int(0, 2) === 0) data.fill(random.pick([0, 0xff, 0x7f]), at, at + 8);
        else data[at] = random.int(0, 255);
      }
      await Deno.writeFile(path, data);
      try {
        await openGguf(path, false);
        tokenizerFiles(await readGgufHeader(path), path);
      } catch (error) {
        assert.ok(error instanceof ModelError, `run ${run}: ${error}`);
        assert.ok(!error.message.includes("\n") && error.message.length < 400, error.message);
        refused++;
      }
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  assert.ok(refused > runs / 4, `${refused} were refused`);
  assert.ok(Deno.memoryUsage().rss - before < 300e6, "memory was taken for what a file only claims");
});

const cases: [string, (file: GgufBuilder) => void, RegExp][] = [
  ["another format", (file) => file.magic = "GGML", /not a GGUF file/],
  ["version 1", (file) => file.version = 1, /GGUF version 1 is not supported; versions 2 and 3 are/],
  ["a big-endian file", (file) => file.version = 0x3000000, /big-endian/],
  ["a count of tensors", (file) => file.tensorCount = 2n ** 60n, /claims 1152921504606846976 tensors/],
  ["a count of entries", (file) => file.entryCount = 2n ** 40n, /metadata entries, more than the file/],
  ["an alignment of 7", (file) => file.set("general.alignment", 7), /general.alignment is 7/],
  ["a key twice", (file) => file.entries.push(["general.architecture", "llama"]), /stands there twice/],
  [
    "another architecture",
    (file) => file.set("general.architecture", "bert"),
    /unsupported architecture "bert"; known/,
  ],
  ["a missing width", (file) => file.remove("llama.embedding_length"), /"hidden_size" is missing/],
  ["an absurd width", (file) => file.set("llama.embedding_length", 2 ** 31 - 8), /"hidden_size" must be/],
  ["a tensor outside", (file) => file.tensors[0]!.offset = 1 << 30, /but the file has \d+ \(truncated\?\)/],
  ["an overlap", (file) => file.tensors[1]!.offset = 0, /overlaps another one/],
  ["an odd offset", (file) => file.tensors[1]!.offset += 4, /not a multiple of 32/],
  ["a huge shape", (file) => file.tensors[0]!.shape = [2 ** 31, 2 ** 31], /too large|has \d+ \(truncated/],
  ["an unknown type", (file) => file.tensors[0]!.type = 99, /unknown type 99/],
  ["a type without a decoder", (file) => file.tensors[0]!.type = 24, /has type I8, which cannot be loaded/],
];

for (const [name, damage, message] of cases) {
  Deno.test(`${name} is refused by name`, async () => {
    const folder = await Deno.makeTempDir();
    const file = tinyGguf();
    damage(file);
    try {
      await Deno.writeFile(`${folder}/m.gguf`, file.build());
      const { openModel } = await import("../../../../engine/model/open.ts");
      const { loadDecoderWeights } = await import("../../../../engine/model/load.ts");
      const load = async () => {
        const model = await openModel(`${folder}/m.gguf`);
        const { createReferenceBackend } = await import("../../../../kernels/reference/backend.ts");
        using backend = await createReferenceBackend();
        await loadDecoderWeights(model, backend, { dtype: "auto", shard: { rank: 0, size: 1 } });
      };
      await assert.rejects(load, (error) => {
        assert.ok(error instanceof ModelError, String(error));
        assert.match(error.message, message);
        return true;
      });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}
