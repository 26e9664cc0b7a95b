import assert from "node:assert/strict";
import { type GgufWeights, writeGguf } from "../../bench/peers/gguf.ts";
import { openModel } from "../../engine/model/open.ts";

const reference = (name: string) => new URL(`../data/reference/${name}`, import.meta.url).pathname;

/** Reads what the writer writes, by the format's specification. */
class Reader {
  readonly #view: DataView;
  at = 0;
  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  u32(): number {
    this.at += 4;
    return this.#view.getUint32(this.at - 4, true);
  }
  u64(): number {
    this.at += 8;
    return Number(this.#view.getBigUint64(this.at - 8, true));
  }
  string(): string {
    const length = this.u64();
    this.at += length;
    return new TextDecoder().decode(new Uint8Array(this.#view.buffer, this.at - length, length));
  }
  value(type: number): unknown {
    switch (type) {
      case 4:
      case 5:
        return this.u32();
      case 6:
        this.at += 4;
        return this.#view.getFloat32(this.at - 4, true);
      case 8:
        return this.string();
      case 9: {
        const element = this.u32(), count = this.u64();
        return Array.from({ length: count }, () => this.value(element));
      }
      default:
        throw new Error(`value type ${type}`);
    }
  }
}

/** Bytes of an element by the number of its type. */
const elementBytes: Readonly<Record<number, number>> = { 0: 4, 1: 2, 8: 34 / 32 };

/** The first weights of a tensor. */
function firstWeights(data: Uint8Array, dtype: GgufWeights): number[] {
  const view = new DataView(data.buffer, data.byteOffset);
  if (dtype === "f16") return Array.from({ length: 1000 }, (_, i) => view.getFloat16(2 * i, true));
  return Array.from({ length: 1024 }, (_, i) => {
    const block = (i >> 5) * 34;
    return view.getFloat16(block, true) * view.getInt8(block + 2 + i % 32);
  });
}

for (const dtype of ["f16", "q8_0"] as const) {
  Deno.test(`a ${dtype} GGUF file has the shape's metadata and every tensor, aligned, up to the last byte`, async () => {
    const { config } = await openModel(reference("qwen3-tied"), { dummy: true });
    const path = await Deno.makeTempFile();
    try {
      const written = await writeGguf(path, config, dtype);
      const bytes = await Deno.readFile(path);
      assert.equal(bytes.length, written);
      assert.equal(new TextDecoder().decode(bytes.subarray(0, 4)), "GGUF");
      const reader = new Reader(bytes);
      reader.at = 4;
      assert.equal(reader.u32(), 3);
      const tensorCount = reader.u64(), valueCount = reader.u64();
      const values = new Map(
        Array.from({ length: valueCount }, () => [reader.string(), reader.value(reader.u32())]),
      );
      assert.equal(values.get("qwen3.block_count"), config.numLayers);
      assert.equal(values.get("qwen3.attention.head_count_kv"), config.numKvHeads);
      assert.equal((values.get("tokenizer.ggml.tokens") as string[]).length, config.vocabSize);
      const tensors = Array.from({ length: tensorCount }, () => ({
        name: reader.string(),
        dimensions: Array.from({ length: reader.u32() }, () => reader.u64()),
        elementBytes: elementBytes[reader.u32()]!,
        offset: reader.u64(),
      }));
      assert.equal(tensorCount, 2 + 11 * config.numLayers);
      assert.ok(!tensors.some(({ name }) => name === "output.weight")); // tied
      const data = Math.ceil(reader.at / 32) * 32;
      let end = 0;
      for (const { name, dimensions, elementBytes, offset } of tensors) {
        assert.equal(offset % 32, 0, name);
        assert.equal(offset, Math.ceil(end / 32) * 32, name);
        end = offset + dimensions.reduce((product, size) => product * size, elementBytes);
      }
      assert.equal(bytes.length, data + Math.ceil(end / 32) * 32);
      const embedding = tensors.find(({ name }) => name === "token_embd.weight")!;
      assert.deepEqual(embedding.dimensions, [config.hiddenSize, config.vocabSize]);
      const weights = firstWeights(bytes.subarray(data), dtype);
      assert.ok(weights.every((weight) => Math.abs(weight) <= 0.03001) && new Set(weights).size > 200);
    } finally {
      await Deno.remove(path);
    }
  });
}

Deno.test("a shape that llama.cpp would read differently is refused", async () => {
  const { config } = await openModel(reference("qwen3-moe"), { dummy: true });
  await assert.rejects(writeGguf("unused.gguf", config, "f16"), /dense Qwen3/);
});
