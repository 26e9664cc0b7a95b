// `config.json` → ModelConfig, for every architecture that the decoder knows.
//
// The architectures differ in a few flags and in the defaults of fields that a file may leave out; both are in the
// table below, taken from the configuration classes of Hugging Face transformers. The file is untrusted: sizes are
// bounded here, before anything is computed from them.

import type { ModelConfig, MoeConfig } from "./config.ts";
import { Fields, ModelError, shown } from "./fields.ts";
import { parseRope } from "./parse_rope.ts";

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
const most = {
  vocab: 1 << 22,
  hidden: 1 << 17,
  intermediate: 1 << 20,
  layers: 1024,
  heads: 4096,
  experts: 4096,
  expertsInAll: 1 << 17,
};
const mostPositions = 1 << 24;

/**
 * Reads a parsed `config.json`. `path` names the file in errors.
 * @throws ModelError naming file and field, or listing the known architectures
 */
export function parseModelConfig(json: unknown, path: string): ModelConfig {
  const fields = new Fields(json, path);
  const [name, architecture] = architectureOf(fields);
  refuseQuantization(fields);
  const activation = fields.string("hidden_act") ?? "silu";
  if (activation !== "silu" && activation !== "swish") fields.fail("hidden_act", '"silu"');

  const hiddenSize = fields.integer("hidden_size", 8, most.hidden);
  if (hiddenSize % 8 !== 0) fields.fail("hidden_size", "a multiple of 8");
  const intermediateSize = fields.integer("intermediate_size", 8, most.intermediate);
  if (intermediateSize % 8 !== 0) fields.fail("intermediate_size", "a multiple of 8");
  const numLayers = fields.integer("num_hidden_layers", 1, most.layers);
  const numHeads = fields.integer("num_attention_heads", 1, most.heads);
  const numKvHeads = fields.integer(
    "num_key_value_heads",
    1,
    numHeads,
    architecture.defaultKvHeads ?? numHeads,
  );
  if (numHeads % numKvHeads !== 0) {
    throw new ModelError(`${path}: ${numHeads} heads do not divide into ${numKvHeads} key/value heads`);
  }
  const headDim = headSize(fields, architecture, hiddenSize, numHeads);
  const maxPositions = fields.integer("max_position_embeddings", 1, mostPositions, 2048);
  const { rope, positions } = parseRope(fields, maxPositions);
  const attentionBias = fields.boolean("attention_bias", false);
  return {
    architecture: name,
    modelType: fields.string("model_type") ?? architecture.modelType,
    vocabSize: fields.integer("vocab_size", 1, most.vocab),
    hiddenSize,
    intermediateSize,
    numLayers,
    numHeads,
    numKvHeads,
    headDim,
    rmsNormEpsilon: fields.number("rms_norm_eps", 1e-12, 1, 1e-6),
    maxPositions: Math.min(positions, mostPositions),
    tieEmbeddings: fields.boolean("tie_word_embeddings", false),
    qkvBias: architecture.qkvBias === "attention_bias" ? attentionBias : architecture.qkvBias,
    outputBias: architecture.outputBias === "attention_bias" ? attentionBias : architecture.outputBias,
    mlpBias: architecture.hasMlpBias && fields.boolean("mlp_bias", false),
    qkNorm: architecture.qkNorm,
    rope,
    slidingWindow: slidingWindows(fields, architecture, numLayers),
    moe: architecture.experts ? parseMoe(fields, numLayers) : null,
    dtype: storedType(fields),
  };
}

function architectureOf(fields: Fields): [string, Architecture] {
  const listed = fields.list("architectures", 16);
  let name: unknown = listed?.[0];
  if (name === undefined) {
    const modelType = fields.string("model_type");
    name = knownArchitectures.find((known) => architectures[known]!.modelType === modelType) ?? modelType;
  }
  if (typeof name === "string" && Object.hasOwn(architectures, name)) return [name, architectures[name]!];
  throw new ModelError(
    `${fields.where}: unsupported architecture ${shown(name)}; known are ${knownArchitectures.join(", ")}`,
  );
}

/** fp8 checkpoints are expanded while they load; other quantised formats cannot be read. */
function refuseQuantization(fields: Fields): void {
  const quantization = fields.object("quantization_config");
  const method = quantization?.string("quant_method");
  if (quantization && method !== "fp8") {
    throw new ModelError(
      `${fields.where}: quantisation ${
        shown(method)
      } is not supported; use the bf16, f16, f32 or fp8 checkpoint`,
    );
  }
}

function headSize(fields: Fields, architecture: Architecture, hiddenSize: number, numHeads: number): number {
  const fallback = architecture.defaultHeadDim ?? Math.floor(hiddenSize / numHeads);
  const headDim = fields.integer("head_dim", 1, 65536, fallback);
  if (headDim < 8 || headDim > 256 || headDim % 8 !== 0) {
    throw new ModelError(`${fields.where}: head size ${headDim} is not a multiple of 8 from 8 to 256`);
  }
  return headDim;
}

/** Per layer the window in tokens, or null. `layer_types` decides where it is given. */
function slidingWindows(fields: Fields, architecture: Architecture, numLayers: number): (number | null)[] {
  const everything = () => new Array<number | null>(numLayers).fill(null);
  if (architecture.window === "never") return everything();
  if (architecture.window !== "always" && !fields.boolean("use_sliding_window", false)) return everything();
  // A null window means none; only a missing one takes the default.
  const value = fields.isNull("sliding_window")
    ? null
    : fields.raw("sliding_window") ?? architecture.defaultWindow;
  if (value === null) return everything();
  const window = fields.integer("sliding_window", 1, mostPositions, architecture.defaultWindow ?? undefined);
  const types = fields.list("layer_types", most.layers);
  if (types) {
    if (types.length !== numLayers) fields.fail("layer_types", `a list of ${numLayers} entries`);
    return types.map((type) => {
      if (type === "sliding_attention") return window;
      if (type === "full_attention") return null;
      return fields.fail("layer_types", 'a list of "full_attention" and "sliding_attention"');
    });
  }
  const first = architecture.window === "opt-in late layers"
    ? fields.integer("max_window_layers", 0, most.layers, 28)
    : 0;
  return everything().map((_, layer) => layer >= first ? window : null);
}

function parseMoe(fields: Fields, numLayers: number): MoeConfig {
  const countField = fields.has("num_experts") ? "num_experts" : "num_local_experts";
  const numExperts = fields.integer(countField, 1, most.experts, 128);
  const intermediateSize = fields.integer("moe_intermediate_size", 8, most.intermediate, 768);
  if (intermediateSize % 8 !== 0) fields.fail("moe_intermediate_size", "a multiple of 8");
  if (numExperts * numLayers > most.expertsInAll) {
    fields.fail(countField, `at most ${most.expertsInAll} over all layers`);
  }
  const step = fields.integer("decoder_sparse_step", 1, 1 << 20, 1);
  const dense = new Set<number>();
  for (const layer of fields.list("mlp_only_layers", most.layers) ?? []) {
    if (typeof layer !== "number" || !Number.isSafeInteger(layer)) {
      fields.fail("mlp_only_layers", "a list of layer numbers");
    }
    dense.add(layer);
  }
  for (let layer = 0; layer < numLayers; layer++) if ((layer + 1) % step !== 0) dense.add(layer);
  return {
    numExperts,
    expertsPerToken: fields.integer("num_experts_per_tok", 1, numExperts, Math.min(8, numExperts)),
    intermediateSize,
    renormalize: fields.boolean("norm_topk_prob", false),
    denseLayers: [...dense].filter((layer) => layer >= 0 && layer < numLayers).sort((a, b) => a - b),
  };
}

function storedType(fields: Fields): ModelConfig["dtype"] {
  const name = fields.has("dtype") ? "dtype" : "torch_dtype";
  switch (fields.string(name) ?? "bfloat16") {
    case "bfloat16":
      return "bf16";
    case "float16":
    case "half":
      return "f16";
    case "float32":
    case "float":
      return "f32";
    default:
      return fields.fail(name, '"bfloat16", "float16" or "float32"');
  }
}
