// `config.json` → ModelConfig, for every family that there is.
//
// Families differ in flags and in the defaults of fields that a file may leave out: `../families/`. The file is
// untrusted: sizes are bounded here, before anything is computed from them.

import { z } from "zod";
import { gelu, silu } from "../../../kernels/ops.ts";
import type { ModelConfig, MoeConfig } from "../../model/config.ts";
import { checked, field, misfit, ModelError, optional, shown } from "../../model/json.ts";
import { type Packing, parsePacking } from "../packed.ts";
import type { Family } from "../families/family.ts";
import { familyOf, knownArchitectures } from "../families/mod.ts";
import { parseRopes, ropeFields } from "./rope.ts";

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
  // The text part of a model that also sees.
  text_config: optional(field.object({ model_type: optional(field.string) }).loose()),
  quantization_config: optional(field.object({
    quant_method: optional(field.string),
    weight_block_size: optional(
      z.tuple([blockSize, blockSize], { error: "two numbers from 1 to 65536" }),
    ),
  })),
});

const gates = { silu, swish: silu, gelu_pytorch_tanh: gelu } as const;
const activation = z.enum(["silu", "swish", "gelu_pytorch_tanh"], { error: '"silu" or "gelu_pytorch_tanh"' });

const schema = field.object({
  hidden_act: optional(activation),
  hidden_activation: optional(activation),
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
  // Every layer but each n-th has a window.
  sliding_window_pattern: optional(field.integer(1, most.layers)),

  use_sliding_window: optional(field.boolean),
  // A null window means none; only a missing one takes the family's.
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
 * Reads a parsed `config.json`. `path` names the file in errors, `known` are the families that may be in it.
 * @throws ModelError naming file and field, or listing the known architectures
 */
export function parseModelConfig(json: unknown, path: string, known?: readonly Family[]): ModelConfig {
  const { name, family, modelType, text } = readKind(json, path, known);
  const whole = { ...family.defaults, ...text };
  const file = checked(schema, whole, path);
  const { num_hidden_layers: numLayers, num_attention_heads: numHeads } = file;
  const numKvHeads = file.num_key_value_heads ?? numHeads;
  if (numHeads % numKvHeads !== 0) {
    throw new ModelError(`${path}: ${numHeads} heads do not divide into ${numKvHeads} key/value heads`);
  }
  const headDim = headSize(file, path);
  const { positions, ...rotation } = parseRopes(file, path, headDim, file.max_position_embeddings ?? 2048);
  const bias = (when: Family["qkvBias"]) => when === "attention_bias" ? file.attention_bias ?? false : when;
  const parsed: ModelConfig = {
    architecture: name,
    modelType,
    vocabSize: file.vocab_size,
    hiddenSize: file.hidden_size,
    intermediateSize: file.intermediate_size,
    numLayers,
    numHeads,
    numKvHeads,
    headDim,
    rmsNormEpsilon: file.rms_norm_eps ?? 1e-6,
    maxPositions: Math.min(positions, most.positions),
    tieEmbeddings: file.tie_word_embeddings ?? false,
    qkvBias: bias(family.qkvBias),
    outputBias: bias(family.outputBias),
    mlpBias: family.hasMlpBias && (file.mlp_bias ?? false),
    norms: "before",
    qkNorm: "none",
    gate: gates[file.hidden_activation ?? file.hidden_act ?? "silu"],
    embeddingMultiplier: 1,
    residualMultiplier: 1,
    attentionMultiplier: 1 / Math.sqrt(headDim),
    logitsMultiplier: 1,
    attentionSoftCap: null,
    logitSoftCap: null,
    attentionSinks: false,
    ...rotation,
    unrotatedLayers: [],
    slidingWindow: slidingWindows(whole, path, family, numLayers),
    moe: family.experts ? parseMoe(whole, path, numLayers) : null,
    dtype: dtypes[file.dtype ?? file.torch_dtype ?? "bfloat16"],
  };
  return { ...parsed, ...family.flags(whole, path, parsed) };
}

/** Rows and columns that share a scale in an fp8 checkpoint. */
export function fp8Block(json: unknown, path: string): readonly [rows: number, columns: number] {
  return checked(kind, json, path).quantization_config?.weight_block_size ?? [128, 128];
}

/** How an AWQ or GPTQ checkpoint is packed; null for others. */
export function packingOf(json: unknown, path: string): Packing | null {
  return parsePacking((json as { quantization_config?: unknown }).quantization_config, path);
}

function readKind(json: unknown, path: string, known?: readonly Family[]) {
  const { architectures: listed, model_type, quantization_config, text_config } = checked(kind, json, path);
  const listedFirst = listed?.[0];
  if (listedFirst !== undefined && typeof listedFirst !== "string") {
    misfit(path, "architectures", "names", listed);
  }
  const family = familyOf(listedFirst, model_type, known);
  const name = listedFirst ?? family?.architectures[0];
  if (family === undefined || name === undefined) {
    throw new ModelError(
      `${path}: unsupported architecture ${shown(name ?? model_type)}; known are ${
        knownArchitectures.join(", ")
      }`,
    );
  }
  // fp8, mxfp4, AWQ and GPTQ are repacked while they load; other quantised formats cannot be read.
  const expanded = ["fp8", "mxfp4"].includes(quantization_config?.quant_method ?? "");
  if (quantization_config && !expanded && packingOf(json, path) === null) {
    const method = shown(quantization_config.quant_method);
    throw new ModelError(
      `${path}: quantisation ${method} is not supported; use the bf16, f16, f32, fp8, AWQ or GPTQ checkpoint`,
    );
  }
  const modelType = model_type ?? family.modelTypes[0];
  return { name, family, modelType, text: text_config ?? json as Readonly<Record<string, unknown>> };
}

function headSize(file: File, path: string): number {
  const headDim = file.head_dim ?? Math.floor(file.hidden_size / file.num_attention_heads);
  if (headDim >= 8 && headDim <= 256 && headDim % 8 === 0) return headDim;
  throw new ModelError(`${path}: head size ${headDim} is not a multiple of 8 from 8 to 256`);
}

/** Per layer the window in tokens, or null. `layer_types` decides where it is given. */
function slidingWindows(
  json: unknown,
  path: string,
  { window }: Family,
  numLayers: number,
): (number | null)[] {
  const everything = new Array<number | null>(numLayers).fill(null);
  if (window === "never") return everything;
  const file = checked(windowSchema, json, path);
  if (window !== "always" && file.use_sliding_window !== true) return everything;
  const size = file.sliding_window ?? null;
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
  const pattern = file.sliding_window_pattern;
  if (pattern) return everything.map((_, layer) => (layer + 1) % pattern === 0 ? null : size);
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
    biases: false,
    denseLayers: layers.filter((layer) => (layer + 1) % step !== 0 || listed.includes(layer)),
  };
}
