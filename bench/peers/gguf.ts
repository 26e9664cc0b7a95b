// Writes a GGUF file (version 3, llama.cpp's format) of any dense Qwen3 shape with random weights (float16 or Q8_0), so
// that llama.cpp can be timed on the shape that radish is timed on, without a download.
//
// Layout: "GGUF", version, counts; metadata; a list of tensors (name, dimensions with the fastest first, type, offset);
// then the tensors' data, each at a multiple of 32 bytes. Specification: github.com/ggml-org/ggml, docs/gguf.md.

import type { ModelConfig } from "../../engine/model/config.ts";
import { PythonRandom } from "../common/python_random.ts";

/** A metadata value. */
type Value =
  | { readonly type: "u32" | "f32"; readonly value: number }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "strings"; readonly value: readonly string[] }
  | { readonly type: "i32s"; readonly value: Int32Array };

interface Tensor {
  readonly name: string;
  /** Columns first. */
  readonly dimensions: readonly number[];
  readonly dtype: "f32" | GgufWeights;
}

/** Types of the weights that can be written. */
export type GgufWeights = "f16" | "q8_0";

const alignment = 32;
/** Numbers of the types in the file. */
const valueTypes = { u32: 4, i32: 5, f32: 6, string: 8, array: 9 } as const;
const tensorTypes = { f32: 0, f16: 1, q8_0: 8 } as const;
/** Q8_0 are blocks of 32 numbers with a float16 in front. */
const elementBytes = { f32: 4, f16: 2, q8_0: 34 / 32 } as const;
/** Random weights repeat after this number; their amplitude keeps activations finite. */
const blockElements = 1 << 20, amplitude = 0.03;

/** Collects little-endian fields. */
class Fields {
  readonly #parts: Uint8Array[] = [];
  length = 0;

  bytes(part: Uint8Array): void {
    this.#parts.push(part);
    this.length += part.length;
  }
  u32(value: number): void {
    this.bytes(new Uint8Array(Uint32Array.of(value).buffer));
  }
  u64(value: number): void {
    this.bytes(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }
  f32(value: number): void {
    this.bytes(new Uint8Array(Float32Array.of(value).buffer));
  }
  string(value: string): void {
    const text = new TextEncoder().encode(value);
    this.u64(text.length);
    this.bytes(text);
  }
  /** With zeros up to the alignment. */
  aligned(): Uint8Array {
    const all = new Uint8Array(roundUp(this.length));
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}

function tensorBytes({ dimensions, dtype }: Tensor): number {
  return dimensions.reduce((product, size) => product * size, elementBytes[dtype]);
}

/** @throws {RangeError} for an architecture that this writer does not know */
function checked(config: ModelConfig): ModelConfig {
  if (config.modelType === "qwen3") return config;
  throw new RangeError(`only dense Qwen3 shapes can be written as GGUF, not ${config.modelType}`);
}

function metadata(config: ModelConfig): [string, Value][] {
  const u32 = (value: number): Value => ({ type: "u32", value });
  const f32 = (value: number): Value => ({ type: "f32", value });
  const string = (value: string): Value => ({ type: "string", value });
  const { vocabSize } = config;
  return [
    ["general.architecture", string("qwen3")],
    ["general.name", string("random weights")],
    ["qwen3.block_count", u32(config.numLayers)],
    ["qwen3.context_length", u32(config.maxPositions)],
    ["qwen3.embedding_length", u32(config.hiddenSize)],
    ["qwen3.feed_forward_length", u32(config.intermediateSize)],
    ["qwen3.attention.head_count", u32(config.numHeads)],
    ["qwen3.attention.head_count_kv", u32(config.numKvHeads)],
    ["qwen3.attention.key_length", u32(config.headDim)],
    ["qwen3.attention.value_length", u32(config.headDim)],
    ["qwen3.attention.layer_norm_rms_epsilon", f32(config.rmsNormEpsilon)],
    ["qwen3.rope.freq_base", f32(config.rope.theta)],
    // A vocabulary of the right size that is not read: the benchmark works with ids.
    ["tokenizer.ggml.model", string("gpt2")],
    ["tokenizer.ggml.pre", string("qwen2")],
    ["tokenizer.ggml.tokens", {
      type: "strings",
      value: Array.from({ length: vocabSize }, (_, i) => `t${i}`),
    }],
    ["tokenizer.ggml.token_type", {
      type: "i32s",
      value: Int32Array.from({ length: vocabSize }, (_, i) => i === vocabSize - 1 ? 3 : 1), // control : normal
    }],
    ["tokenizer.ggml.merges", { type: "strings", value: ["t 1"] }],
    ["tokenizer.ggml.bos_token_id", u32(vocabSize - 1)],
    ["tokenizer.ggml.eos_token_id", u32(vocabSize - 1)],
  ];
}

function tensors(config: ModelConfig, dtype: GgufWeights): Tensor[] {
  const { hiddenSize, intermediateSize, numHeads, numKvHeads, headDim, vocabSize } = config;
  const matrix = (name: string, rows: number, columns: number): Tensor => ({
    name,
    dimensions: [columns, rows],
    dtype,
  });
  const norm = (name: string, size: number): Tensor => ({ name, dimensions: [size], dtype: "f32" });
  const layers = Array.from({ length: config.numLayers }, (_, layer) => {
    const prefix = `blk.${layer}.`;
    return [
      norm(`${prefix}attn_norm.weight`, hiddenSize),
      matrix(`${prefix}attn_q.weight`, numHeads * headDim, hiddenSize),
      matrix(`${prefix}attn_k.weight`, numKvHeads * headDim, hiddenSize),
      matrix(`${prefix}attn_v.weight`, numKvHeads * headDim, hiddenSize),
      matrix(`${prefix}attn_output.weight`, hiddenSize, numHeads * headDim),
      norm(`${prefix}attn_q_norm.weight`, headDim),
      norm(`${prefix}attn_k_norm.weight`, headDim),
      norm(`${prefix}ffn_norm.weight`, hiddenSize),
      matrix(`${prefix}ffn_gate.weight`, intermediateSize, hiddenSize),
      matrix(`${prefix}ffn_up.weight`, intermediateSize, hiddenSize),
      matrix(`${prefix}ffn_down.weight`, hiddenSize, intermediateSize),
    ];
  });
  return [
    matrix("token_embd.weight", vocabSize, hiddenSize),
    ...layers.flat(),
    norm("output_norm.weight", hiddenSize),
    ...(config.tieEmbeddings ? [] : [matrix("output.weight", vocabSize, hiddenSize)]),
  ];
}

function header(values: readonly [string, Value][], list: readonly Tensor[]): Uint8Array {
  const fields = new Fields();
  fields.bytes(new TextEncoder().encode("GGUF"));
  fields.u32(3);
  fields.u64(list.length);
  fields.u64(values.length);
  for (const [key, { type, value }] of values) {
    fields.string(key);
    switch (type) {
      case "u32":
        fields.u32(valueTypes.u32);
        fields.u32(value);
        break;
      case "f32":
        fields.u32(valueTypes.f32);
        fields.f32(value);
        break;
      case "string":
        fields.u32(valueTypes.string);
        fields.string(value);
        break;
      case "strings":
        fields.u32(valueTypes.array);
        fields.u32(valueTypes.string);
        fields.u64(value.length);
        for (const text of value) fields.string(text);
        break;
      case "i32s":
        fields.u32(valueTypes.array);
        fields.u32(valueTypes.i32);
        fields.u64(value.length);
        fields.bytes(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    }
  }
  let offset = 0;
  for (const tensor of list) {
    fields.string(tensor.name);
    fields.u32(tensor.dimensions.length);
    for (const size of tensor.dimensions) fields.u64(size);
    fields.u32(tensorTypes[tensor.dtype]);
    fields.u64(offset);
    offset += roundUp(tensorBytes(tensor));
  }
  return fields.aligned();
}

function randomWeights(dtype: GgufWeights): Uint8Array {
  const random = new PythonRandom(0), next = () => 2 * random.next() - 1;
  if (dtype === "f16") {
    return new Uint8Array(Float16Array.from({ length: blockElements }, () => next() * amplitude).buffer);
  }
  const bytes = new Uint8Array(blockElements * elementBytes.q8_0), view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += 34) {
    view.setFloat16(at, amplitude / 127, true);
    for (let i = 2; i < 34; i++) view.setInt8(at + i, Math.round(next() * 127));
  }
  return bytes;
}

/**
 * Writes the file and returns its size in bytes. Norms are 1, all else is uniform in ±0.03.
 * @throws {RangeError} unless the shape is a dense Qwen3's
 */
export async function writeGguf(path: string, config: ModelConfig, dtype: GgufWeights): Promise<number> {
  const list = tensors(checked(config), dtype);
  const block = randomWeights(dtype);
  using file = await Deno.open(path, { create: true, write: true, truncate: true });
  let written = 0;
  const write = async (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    written += bytes.length;
  };
  await write(header(metadata(config), list));
  for (const tensor of list) {
    const bytes = tensorBytes(tensor);
    if (tensor.dtype === "f32") await write(new Uint8Array(new Float32Array(bytes / 4).fill(1).buffer));
    else for (let left = bytes; left > 0; left -= block.length) await write(block.subarray(0, left));
    await write(new Uint8Array(roundUp(bytes) - bytes));
  }
  return written;
}
