// Writes a GGUF file (version 3, llama.cpp's format) of any dense Qwen3 shape with random weights, so that llama.cpp can
// be timed on the shape that radish is timed on, without a download. Q4_0 and Q4_K_M are mixtures as llama.cpp's own
// quantisation makes them: the head in six bits, and with Q4_K_M v and down of half of the layers.
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
  readonly dtype: TensorType;
}

/** Types of files that can be written. */
export const ggufWeights = ["f16", "q8_0", "q4_0", "q4_k_m"] as const;
export type GgufWeights = (typeof ggufWeights)[number];

const alignment = 32;
/** Numbers of the types in the file. */
const valueTypes = { u32: 4, i32: 5, f32: 6, string: 8, array: 9 } as const;
const tensorTypes = { f32: 0, f16: 1, q4_0: 2, q8_0: 8, q4_k: 12, q6_k: 14 } as const;
type TensorType = keyof typeof tensorTypes;
/** Numbers and bytes of a block. */
const blocks = {
  f32: [1, 4],
  f16: [1, 2],
  q4_0: [32, 18],
  q8_0: [32, 34],
  q4_k: [256, 144],
  q6_k: [256, 210],
} as const satisfies Record<TensorType, readonly [number, number]>;
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
  return dimensions.reduce((product, size) => product * size, blocks[dtype][1] / blocks[dtype][0]);
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

function tensors(config: ModelConfig, weights: GgufWeights): Tensor[] {
  const { hiddenSize, intermediateSize, numHeads, numKvHeads, headDim, vocabSize, numLayers } = config;
  const usual = weights === "q4_k_m" ? "q4_k" : weights, four = usual === "q4_k" || usual === "q4_0";
  const matrix = (name: string, rows: number, columns: number, dtype: TensorType = usual): Tensor => ({
    name,
    dimensions: [columns, rows],
    dtype,
  });
  const head = four ? "q6_k" : usual;
  const norm = (name: string, size: number): Tensor => ({ name, dimensions: [size], dtype: "f32" });
  const layers = Array.from({ length: config.numLayers }, (_, layer) => {
    const prefix = `blk.${layer}.`, eighth = Math.floor(numLayers / 8);
    const more = layer < eighth || layer >= 7 * eighth || (layer - eighth) % 3 === 2;
    const careful = usual === "q4_k" && more ? "q6_k" : usual;
    return [
      norm(`${prefix}attn_norm.weight`, hiddenSize),
      matrix(`${prefix}attn_q.weight`, numHeads * headDim, hiddenSize),
      matrix(`${prefix}attn_k.weight`, numKvHeads * headDim, hiddenSize),
      matrix(`${prefix}attn_v.weight`, numKvHeads * headDim, hiddenSize, careful),
      matrix(`${prefix}attn_output.weight`, hiddenSize, numHeads * headDim),
      norm(`${prefix}attn_q_norm.weight`, headDim),
      norm(`${prefix}attn_k_norm.weight`, headDim),
      norm(`${prefix}ffn_norm.weight`, hiddenSize),
      matrix(`${prefix}ffn_gate.weight`, intermediateSize, hiddenSize),
      matrix(`${prefix}ffn_up.weight`, intermediateSize, hiddenSize),
      matrix(`${prefix}ffn_down.weight`, hiddenSize, intermediateSize, careful),
    ];
  });
  return [
    matrix("token_embd.weight", vocabSize, hiddenSize, config.tieEmbeddings ? head : usual),
    ...layers.flat(),
    norm("output_norm.weight", hiddenSize),
    ...(config.tieEmbeddings ? [] : [matrix("output.weight", vocabSize, hiddenSize, head)]),
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

/** Numbers of a type, about uniform in ±amplitude: random bits with fixed scales around them. */
function randomWeights(dtype: Exclude<TensorType, "f32">): Uint8Array {
  const random = new PythonRandom(0), [numbers, size] = blocks[dtype];
  if (dtype === "f16") {
    const floats = Float16Array.from({ length: blockElements }, () => (2 * random.next() - 1) * amplitude);
    return new Uint8Array(floats.buffer);
  }
  const bytes = Uint8Array.from(
    { length: blockElements / numbers * size },
    () => Math.floor(random.next() * 256),
  );
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += size) {
    switch (dtype) {
      case "q8_0":
        view.setFloat16(at, amplitude / 128, true);
        break;
      case "q4_0":
        view.setFloat16(at, amplitude / 8, true);
        break;
      case "q4_k":
        // Scales and minima of 48: the two highest bits of the last four stand in the first eight bytes.
        view.setFloat16(at, amplitude / 48 * 2 / 15, true);
        view.setFloat16(at + 2, amplitude / 48, true);
        bytes.fill(0xf0, at + 4, at + 12).fill(0, at + 12, at + 16);
        break;
      case "q6_k":
        bytes.fill(64, at + 192, at + 208);
        view.setFloat16(at + 208, amplitude / 64 / 32, true);
        break;
      default:
        dtype satisfies never;
    }
  }
  return bytes;
}

/**
 * Writes the file and returns its size in bytes. Norms are 1, all else is uniform in ±0.03.
 * @throws {RangeError} unless the shape is a dense Qwen3's
 */
export async function writeGguf(path: string, config: ModelConfig, weights: GgufWeights): Promise<number> {
  const list = tensors(checked(config), weights);
  const random = new Map<TensorType, Uint8Array>();
  using file = await Deno.open(path, { create: true, write: true, truncate: true });
  let written = 0;
  const write = async (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    written += bytes.length;
  };
  await write(header(metadata(config), list));
  for (const tensor of list) {
    const bytes = tensorBytes(tensor);
    if (tensor.dtype === "f32") {
      await write(new Uint8Array(new Float32Array(bytes / 4).fill(1).buffer));
    } else {
      const block = random.get(tensor.dtype) ?? randomWeights(tensor.dtype);
      random.set(tensor.dtype, block);
      for (let left = bytes; left > 0; left -= block.length) await write(block.subarray(0, left));
    }
    await write(new Uint8Array(roundUp(bytes) - bytes));
  }
  return written;
}
