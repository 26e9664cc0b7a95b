// `config.json` → ModelConfig, for every architecture that the decoder knows.
//
// The architectures differ in a few flags and in the defaults of fields that a file may leave out; both are in the
// table below, taken from the configuration classes of Hugging Face transformers. The file is untrusted: sizes are
// bounded here, before anything is computed from them.

import { z } from "zod";
import type { ModelConfig, MoeConfig } from "../../model/config.ts";
import { checked, field, misfit, ModelError, optional, shown } from "../../model/json.ts";
import { type Packing, parsePacking } from "../packed.ts";
import { parseRope, ropeFields } from "./rope.ts";

/** What an architecture fixes, and what it assumes where the file is silent. */
interface Architecture {
  readonly modelType: string;
  /** Biases on q, k, v: always, never, or as `attention_bias` says. */
  readonly qkvBias: boolean | "attention_bias";
  readonly outputBias: boolean | "attention_bias";
  readonly hasMlpBias: boolean;
  readonly qkNorm: boolean;
  readonly experts: boolean;
  readonly defaultHeadDim: number | null;
  readonly defaultKvHeads: number | null;
  /** "always": `sliding_window` holds whenever it is set; "opt-in": only with `use_sliding_window`. */
  readonly window: "never" | "always" | "opt-in" | "opt-in late layers";
  readonly defaultWindow: number | null;
}

const plain = {
  qkvBias: false,
  outputBias: false,
  hasMlpBias: false,
  qkNorm: false,
  experts: false,
  defaultHeadDim: null,
  defaultKvHeads: null,
  window: "never",
  defaultWindow: null,
} as const;

const architectures: Readonly<Record<string, Architecture>> = {
  LlamaForCausalLM: {
    ...plain,
    modelType: "llama",
    qkvBias: "attention_bias",
    outputBias: "attention_bias",
    hasMlpBias: true,
  },
  MistralForCausalLM: {
    ...plain,
    modelType: "mistral",
    defaultKvHeads: 8,
    window: "always",
    defaultWindow: 4096,
  },
  Qwen2ForCausalLM: { ...plain, modelType: "qwen2", qkvBias: true, window: "opt-in late layers" },
  Qwen3ForCausalLM: {
    ...plain,
    modelType: "qwen3",
    qkvBias: "attention_bias",
    outputBias: "attention_bias",
    qkNorm: true,
    defaultHeadDim: 128,
    window: "opt-in late layers",
  },
  Qwen3MoeForCausalLM: {
    ...plain,
    modelType: "qwen3_moe",
    qkvBias: "attention_bias",
    outputBias: "attention_bias",
    qkNorm: true,
    experts: true,
    window: "opt-in",
  },
};

/** Names of the architectures that can be run, as `config.json` spells them. */
export const knownArchitectures: readonly string[] = Object.keys(architectures);

/** Bounds well above every published model, so that products of a few of them stay exact. */
const most = { layers: 1024, heads: 4096, experts: 4096, expertsInAll: 1 << 17, positions: 1 << 24 };

const inner = field.integer(1, 1 << 20), blockSize = z.int().min(1).max(65536);

/** The weights' own type, as files spell it. */
const storedType = z.enum(["bfloat16", "float16", "half", "float32", "float"], {
  error: '"bfloat16", "float16" or "float32"',
});
const dtypes = { bfloat16: "bf16", float16: "f16", half: "f16", float32: "f32", float: "f32" } as const;

/** What says which kind of file it is; checked before anything else, so that the error is about that. */
const kind = field.object({
  architectures: optional(field.list(z.unknown(), 16)),
  model_type: optional(field.string),
  quantization_config: optional(field.object({
    quant_method: optional(field.string),
    weight_block_size: optional(
      z.tuple([blockSize, blockSize], { error: "two numbers from 1 to 65536" }),
    ),
  })),
});

const schema = field.object({
  hidden_act: optional(z.enum(["silu", "swish"], { error: '"silu"' })),
  hidden_size: field.integer(1, 1 << 17),
  intermediate_size: inner,
  num_hidden_layers: field.integer(1, most.layers),
  num_attention_heads: field.integer(1, most.heads),
  num_key_value_heads: optional(field.integer(1, most.heads)),
  head_dim: optional(field.integer(1, 65536)),
  max_position_embeddings: optional(field.integer(1, most.positions)),
  vocab_size: field.integer(1, 1 << 22),
  rms_norm_eps: optional(field.number(1e-12, 1)),
  tie_word_embeddings: optional(field.boolean),
  attention_bias: optional(field.boolean),
  mlp_bias: optional(field.boolean),
  dtype: optional(storedType),
  torch_dtype: optional(storedType),
  ...ropeFields,
});
type File = z.infer<typeof schema>;

const windowSchema = field.object({
  use_sliding_window: optional(field.boolean),
  // A null window means none; only a missing one takes the default.
  sliding_window: field.integer(1, most.positions).nullish(),
  max_window_layers: optional(field.integer(0, most.layers)),
  layer_types: optional(field.list(z.unknown(), most.layers)),
});

const moeSchema = field.object({
  num_experts: optional(field.integer(1, most.experts)),
  num_local_experts: optional(field.integer(1, most.experts)),
  num_experts_per_tok: optional(field.integer(1, most.experts)),
  moe_intermediate_size: optional(inner),
  norm_topk_prob: optional(field.boolean),
  decoder_sparse_step: optional(field.integer(1, 1 << 20)),
  mlp_only_layers: optional(field.list(z.int(), most.layers)),
});

/**
 * Reads a parsed `config.json`. `path` names the file in errors.
 * @throws ModelError naming file and field, or listing the known architectures
 */
export function parseModelConfig(json: unknown, path: string): ModelConfig {
  const { name, architecture, modelType } = readKind(json, path);
  const file = checked(schema, json, path);
  const { num_hidden_layers: numLayers, num_attention_heads: numHeads } = file;
  const numKvHeads = file.num_key_value_heads ?? architecture.defaultKvHeads ?? numHeads;
  if (numHeads % numKvHeads !== 0) {
    throw new ModelError(`${path}: ${numHeads} heads do not divide into ${numKvHeads} key/value heads`);
  }
  const { rope, positions } = parseRope(file, path, file.max_position_embeddings ?? 2048);
  const bias = (when: Architecture["qkvBias"]) =>
    when === "attention_bias" ? file.attention_bias ?? false : when;
  return {
    architecture: name,
    modelType: modelType ?? architecture.modelType,
    vocabSize: file.vocab_size,
    hiddenSize: file.hidden_size,
    intermediateSize: file.intermediate_size,
    numLayers,
    numHeads,
    numKvHeads,
    headDim: headSize(file, architecture, path),
    rmsNormEpsilon: file.rms_norm_eps ?? 1e-6,
    maxPositions: Math.min(positions, most.positions),
    tieEmbeddings: file.tie_word_embeddings ?? false,
    qkvBias: bias(architecture.qkvBias),
    outputBias: bias(architecture.outputBias),
    mlpBias: architecture.hasMlpBias && (file.mlp_bias ?? false),
    qkNorm: architecture.qkNorm,
    rope,
    slidingWindow: slidingWindows(json, path, architecture, numLayers),
    moe: architecture.experts ? parseMoe(json, path, numLayers) : null,
    dtype: dtypes[file.dtype ?? file.torch_dtype ?? "bfloat16"],
  };
}

/** Rows and columns that share a scale in an fp8 checkpoint. */
export function fp8Block(json: unknown, path: string): readonly [rows: number, columns: number] {
  return checked(kind, json, path).quantization_config?.weight_block_size ?? [128, 128];
}

/** How an AWQ or GPTQ checkpoint is packed; null for others. */
export function packingOf(json: unknown, path: string): Packing | null {
  return parsePacking((json as { quantization_config?: unknown }).quantization_config, path);
}

function readKind(json: unknown, path: string) {
  const { architectures: listed, model_type: modelType, quantization_config } = checked(kind, json, path);
  const byType = () => knownArchitectures.find((known) => architectures[known]!.modelType === modelType);
  const name = listed?.[0] ?? byType() ?? modelType;
  if (typeof name !== "string" || !Object.hasOwn(architectures, name)) {
    throw new ModelError(
      `${path}: unsupported architecture ${shown(name)}; known are ${knownArchitectures.join(", ")}`,
    );
  }
  // fp8, AWQ and GPTQ are repacked while they load; other quantised formats cannot be read.
  if (quantization_config && quantization_config.quant_method !== "fp8" && packingOf(json, path) === null) {
    const method = shown(quantization_config.quant_method);
    throw new ModelError(
      `${path}: quantisation ${method} is not supported; use the bf16, f16, f32, fp8, AWQ or GPTQ checkpoint`,
    );
  }
  return { name, architecture: architectures[name]!, modelType };
}

function headSize(file: File, { defaultHeadDim }: Architecture, path: string): number {
  const headDim = file.head_dim ?? defaultHeadDim ?? Math.floor(file.hidden_size / file.num_attention_heads);
  if (headDim >= 8 && headDim <= 256 && headDim % 8 === 0) return headDim;
  throw new ModelError(`${path}: head size ${headDim} is not a multiple of 8 from 8 to 256`);
}

/** Per layer the window in tokens, or null. `layer_types` decides where it is given. */
function slidingWindows(
  json: unknown,
  path: string,
  { window, defaultWindow }: Architecture,
  numLayers: number,
): (number | null)[] {
  const everything = new Array<number | null>(numLayers).fill(null);
  if (window === "never") return everything;
  const file = checked(windowSchema, json, path);
  if (window !== "always" && file.use_sliding_window !== true) return everything;
  const size = file.sliding_window === undefined ? defaultWindow : file.sliding_window;
  if (size === null) return everything;
  const types = file.layer_types;
  if (types) {
    if (types.length !== numLayers) misfit(path, "layer_types", `a list of ${numLayers} entries`, types);
    return types.map((type) => {
      if (type === "sliding_attention") return size;
      if (type === "full_attention") return null;
      return misfit(path, "layer_types", 'a list of "full_attention" and "sliding_attention"', types);
    });
  }
  const first = window === "opt-in late layers" ? file.max_window_layers ?? 28 : 0;
  return everything.map((_, layer) => layer >= first ? size : null);
}

function parseMoe(json: unknown, path: string, numLayers: number): MoeConfig {
  const file = checked(moeSchema, json, path);
  const numExperts = file.num_experts ?? file.num_local_experts ?? 128;
  if (numExperts * numLayers > most.expertsInAll) {
    misfit(path, "num_experts", `at most ${most.expertsInAll} over all layers`, numExperts);
  }
  const expertsPerToken = file.num_experts_per_tok ?? Math.min(8, numExperts);
  if (expertsPerToken > numExperts) {
    misfit(path, "num_experts_per_tok", `an integer from 1 to ${numExperts}`, expertsPerToken);
  }
  const step = file.decoder_sparse_step ?? 1, listed = file.mlp_only_layers ?? [];
  const layers = Array.from({ length: numLayers }, (_, layer) => layer);
  return {
    numExperts,
    expertsPerToken,
    intermediateSize: file.moe_intermediate_size ?? 768,
    renormalize: file.norm_topk_prob ?? false,
    denseLayers: layers.filter((layer) => (layer + 1) % step !== 0 || listed.includes(layer)),
  };
}
