import assert from "node:assert/strict";
import { keptReference as reference } from "../models/references.ts";
import { ggufWeights, writeGguf } from "../../bench/peers/gguf.ts";
import { openModel } from "../../engine/model/open.ts";
import { ggmlTypes } from "../../engine/weights/gguf/types.ts";

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

/** The types of a file's embedding, of its first v and of another one's. */
const expectedTypes = { f16: [1, 1, 1], q8_0: [8, 8, 8], q4_0: [14, 2, 2], q4_k_m: [14, 14, 12] } as const;

/** The first weights of a tensor of some type. */
function firstWeights(data: Uint8Array, type: number): ArrayLike<number> {
  const count = 1024, { decode, blockElements, blockBytes } = ggmlTypes.get(type)!;
  if (decode === null) return new Float16Array(data.slice(0, 2 * count).buffer);
  const weights = new Float32Array(count);
  decode(data.subarray(0, count / blockElements * blockBytes), weights);
  return weights;
}

for (const dtype of ggufWeights) {
  Deno.test(`a ${dtype} GGUF file has the shape's metadata and every tensor, aligned, up to the last byte`, async () => {
    const model = await openModel("bench/shapes/qwen3-0.6b", { dummy: true });
    const config = { ...model.config, numLayers: 8, vocabSize: 512 };
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
        type: reader.u32(),
        offset: reader.u64(),
      }));
      assert.equal(tensorCount, 2 + 11 * config.numLayers);
      assert.ok(!tensors.some(({ name }) => name === "output.weight")); // tied
      const data = Math.ceil(reader.at / 32) * 32;
      let end = 0;
      for (const { name, dimensions, type, offset } of tensors) {
        const { blockElements, blockBytes } = ggmlTypes.get(type)!;
        assert.equal(offset % 32, 0, name);
        assert.equal(offset, Math.ceil(end / 32) * 32, name);
        end = offset + dimensions.reduce((product, size) => product * size) / blockElements * blockBytes;
      }
      assert.equal(bytes.length, data + Math.ceil(end / 32) * 32);
      const embedding = tensors.find(({ name }) => name === "token_embd.weight")!;
      assert.deepEqual(embedding.dimensions, [config.hiddenSize, config.vocabSize]);
      const typeOf = (name: string) => tensors.find((tensor) => tensor.name === name)!.type;
      const types = ["token_embd", "blk.0.attn_v", "blk.1.attn_v"].map((name) => typeOf(`${name}.weight`));
      assert.deepEqual(types, expectedTypes[dtype]);
      for (const { type, offset } of tensors.filter(({ name }) => !name.includes("norm"))) {
        const weights = Array.from(firstWeights(bytes.subarray(data + offset), type));
        assert.ok(weights.every((weight) => Math.abs(weight) <= 0.0301), `${type}`);
        assert.ok(
          new Set(weights).size >= 15 && Math.min(...weights) < -0.029 && Math.max(...weights) > 0.025,
        );
      }
    } finally {
      await Deno.remove(path);
    }
  });
}

Deno.test("a shape that llama.cpp would read differently is refused", async () => {
  const { config } = await openModel(reference("qwen3-moe"), { dummy: true });
  await assert.rejects(writeGguf("unused.gguf", config, "f16"), /dense Qwen3/);
});
