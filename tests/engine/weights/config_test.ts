// `config.json` and `generation_config.json` of every architecture, honest and hostile.

import assert from "node:assert/strict";
import fc from "fast-check";
import type { ModelConfig } from "../../../engine/model/config.ts";
import { ModelError } from "../../../engine/model/json.ts";
import { parseGenerationConfig } from "../../../engine/weights/huggingface/generation.ts";
import { knownArchitectures } from "../../../engine/weights/families/mod.ts";
import { parseModelConfig } from "../../../engine/weights/huggingface/config.ts";

const reference = new URL("../../data/reference/", import.meta.url);

function readReference(name: string): ModelConfig {
  const json = JSON.parse(Deno.readTextFileSync(new URL(`${name}/config.json`, reference)));
  return parseModelConfig(json, name);
}

/** Qwen3-0.6B as published, in the older spelling. */
const qwen3 = {
  architectures: ["Qwen3ForCausalLM"],
  attention_bias: false,
  eos_token_id: 151645,
  head_dim: 128,
  hidden_act: "silu",
  hidden_size: 1024,
  intermediate_size: 3072,
  max_position_embeddings: 40960,
  max_window_layers: 28,
  model_type: "qwen3",
  num_attention_heads: 16,
  num_hidden_layers: 28,
  num_key_value_heads: 8,
  rms_norm_eps: 1e-6,
  rope_scaling: null,
  rope_theta: 1000000,
  sliding_window: null,
  tie_word_embeddings: true,
  torch_dtype: "bfloat16",
  use_sliding_window: false,
  vocab_size: 151936,
};

Deno.test("a published configuration is read in full", () => {
  assert.deepEqual(parseModelConfig(qwen3, "config.json"), {
    architecture: "Qwen3ForCausalLM",
    modelType: "qwen3",
    vocabSize: 151936,
    hiddenSize: 1024,
    intermediateSize: 3072,
    numLayers: 28,
    numHeads: 16,
    numKvHeads: 8,
    headDim: 128,
    rmsNormEpsilon: 1e-6,
    maxPositions: 40960,
    tieEmbeddings: true,
    qkvBias: false,
    outputBias: false,
    mlpBias: false,
    norms: "before",
    qkNorm: "heads",
    gate: { alpha: 1, beta: 0, limit: Infinity, plus: 0 },
    embeddingMultiplier: 1,
    residualMultiplier: 1,
    attentionMultiplier: 1 / Math.sqrt(128),
    logitsMultiplier: 1,
    attentionSoftCap: null,
    logitSoftCap: null,
    attentionSinks: false,
    rope: { type: "default", theta: 1000000 },
    localRope: null,
    rotaryDim: 128,
    unrotatedLayers: [],
    slidingWindow: new Array(28).fill(null),
    moe: null,
    dtype: "bf16",
  });
});

Deno.test("the reference models' configurations show what sets each architecture apart", () => {
  const llama = readReference("llama-gqa");
  assert.deepEqual([llama.qkNorm, llama.qkvBias, llama.headDim, llama.dtype], ["none", false, 16, "f32"]);
  const scaling = {
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 64,
  };
  const llama3 = { ...qwen3, architectures: ["LlamaForCausalLM"], rope_theta: 500000 };
  const scaled = { ...llama3, rope_scaling: { rope_type: "llama3", ...scaling } };
  assert.deepEqual(parseModelConfig(scaled, "config.json").rope, {
    type: "llama3",
    theta: 500000,
    factor: 8,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalPositions: 64,
  });
  const qwen2 = readReference("qwen2-bias");
  assert.deepEqual([qwen2.qkvBias, qwen2.outputBias, qwen2.headDim, qwen2.numKvHeads], [true, false, 8, 2]);
  const { rope, maxPositions } = readReference("qwen3-yarn");
  assert.ok(rope.type === "yarn");
  assert.equal(rope.attentionFactor, 1.138629436111989);
  assert.equal(maxPositions, 256);
  assert.deepEqual(readReference("qwen3-moe").moe, {
    numExperts: 8,
    expertsPerToken: 2,
    intermediateSize: 64,
    renormalize: true,
    biases: false,
    denseLayers: [],
  });
  const mistral = { ...qwen3, architectures: ["MistralForCausalLM"], num_hidden_layers: 2 };
  assert.deepEqual(parseModelConfig(mistral, "config.json").slidingWindow, [null, null]);
});

Deno.test("both spellings of rope parameters mean the same", () => {
  const yarn = { factor: 4, original_max_position_embeddings: 32768 };
  const older = parseModelConfig({ ...qwen3, rope_scaling: { ...yarn, type: "yarn" } }, "c");
  const { rope_theta, ...rest } = qwen3;
  const newer = parseModelConfig(
    { ...rest, rope_parameters: { ...yarn, rope_theta, rope_type: "yarn" } },
    "c",
  );
  assert.deepEqual(older, newer);
  // YaRN makes more positions usable than the file says.
  assert.equal(older.maxPositions, 131072);
});

Deno.test("YaRN's attention factor is as given, of mscale, or of the factor alone", () => {
  const factor = (extra: object) => {
    const { rope } = parseModelConfig(
      { ...qwen3, rope_scaling: { rope_type: "yarn", factor: 40, ...extra } },
      "c",
    );
    return rope.type === "yarn" ? rope.attentionFactor : NaN;
  };
  assert.equal(factor({ attention_factor: 1.5 }), 1.5);
  assert.equal(factor({}), 0.1 * Math.log(40) + 1);
  assert.equal(
    factor({ mscale: 0.707, mscale_all_dim: 0.5 }),
    (0.1 * 0.707 * Math.log(40) + 1) / (0.1 * 0.5 * Math.log(40) + 1),
  );
});

Deno.test("sliding windows follow each architecture's own rules", () => {
  const { rope_scaling: _, ...base } = qwen3;
  const windows = (change: object) =>
    parseModelConfig({ ...base, num_hidden_layers: 4, ...change }, "c").slidingWindow;
  const mistral = { architectures: ["MistralForCausalLM"] };
  assert.deepEqual(windows({ ...mistral, sliding_window: 512 }), [512, 512, 512, 512]);
  assert.deepEqual(windows({ ...mistral, sliding_window: null }), [null, null, null, null]);
  const { sliding_window: __, ...silent } = { ...base, num_hidden_layers: 2, ...mistral };
  assert.deepEqual(parseModelConfig(silent, "c").slidingWindow, [4096, 4096]);
  const qwen = { sliding_window: 512, max_window_layers: 3 };
  assert.deepEqual(windows({ ...qwen, use_sliding_window: false }), [null, null, null, null]);
  assert.deepEqual(windows({ ...qwen, use_sliding_window: true }), [null, null, null, 512]);
  const types = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"];
  assert.deepEqual(windows({ ...qwen, use_sliding_window: true, layer_types: types }), [
    512,
    null,
    512,
    null,
  ]);
  const { architectures: ___, ...rest } = base;
  const llama = { ...rest, architectures: ["LlamaForCausalLM"], sliding_window: 512, num_hidden_layers: 1 };
  assert.deepEqual(parseModelConfig(llama, "c").slidingWindow, [null]);
});

Deno.test("dense layers of a mixture follow the sparse step and the list", () => {
  const moe = {
    ...qwen3,
    architectures: ["Qwen3MoeForCausalLM"],
    num_hidden_layers: 6,
    num_experts: 128,
    num_experts_per_tok: 8,
    moe_intermediate_size: 768,
    norm_topk_prob: false,
    decoder_sparse_step: 2,
    mlp_only_layers: [1, 400],
  };
  assert.deepEqual(parseModelConfig(moe, "c").moe, {
    numExperts: 128,
    expertsPerToken: 8,
    intermediateSize: 768,
    renormalize: false,
    biases: false,
    denseLayers: [0, 1, 2, 4],
  });
});

Deno.test("an unknown architecture is refused with a list of the known ones", () => {
  assert.throws(
    () => parseModelConfig({ ...qwen3, architectures: ["BertForMaskedLM"] }, "m/config.json"),
    new ModelError(
      `m/config.json: unsupported architecture "BertForMaskedLM"; known are ${knownArchitectures.join(", ")}`,
    ),
  );
  assert.throws(
    () => parseModelConfig({ ...qwen3, architectures: ["constructor"] }, "c"),
    /unsupported architecture/,
  );
  const { architectures: _, ...rest } = qwen3;
  assert.equal(parseModelConfig(rest, "c").architecture, "Qwen3ForCausalLM");
});

Deno.test("zero, absurd and mistyped values are refused by file and field", () => {
  const refused: [object, RegExp][] = [
    [{ hidden_size: 0 }, /^c: "hidden_size" must be an integer from 1 to 131072, not 0$/],
    [{ hidden_size: 1e15 }, /^c: "hidden_size" must be/],
    [{ hidden_size: "1024" }, /"hidden_size" must be .*, not "1024"$/],
    [{ vocab_size: -1 }, /"vocab_size"/],
    [{ vocab_size: undefined }, /^c: "vocab_size" is missing$/],
    [{ num_hidden_layers: 1e9 }, /"num_hidden_layers"/],
    [{ num_key_value_heads: 5 }, /16 heads do not divide into 5 key\/value heads/],
    [{ num_key_value_heads: 0 }, /"num_key_value_heads"/],
    [{ head_dim: 20 }, /head size 20/],
    [{ head_dim: 512 }, /head size 512/],
    [{ intermediate_size: 0 }, /"intermediate_size"/],
    [{ rms_norm_eps: -1 }, /"rms_norm_eps"/],
    [{ rope_theta: 0 }, /"rope_theta"/],
    [{ max_position_embeddings: 2 ** 40 }, /"max_position_embeddings"/],
    [{ hidden_act: "gelu" }, /"hidden_act" must be "silu" or "gelu_pytorch_tanh", not "gelu"/],
    [{ tie_word_embeddings: 1 }, /"tie_word_embeddings" must be true or false, not 1/],
    [
      { rope_scaling: { rope_type: "spiral" } },
      /unsupported rope type "spiral"; known are default, linear/,
    ],
    [{ rope_scaling: { rope_type: "llama3", factor: 8 } }, /^c: rope_scaling: "low_freq_factor" is missing$/],
    [{ rope_scaling: { rope_type: "linear", factor: 0 } }, /"factor" must be/],
    [{ partial_rotary_factor: 0.01 }, /"partial_rotary_factor" must be such that pairs/],
    [
      { quantization_config: { quant_method: "bitsandbytes" } },
      /quantisation "bitsandbytes" is not supported/,
    ],
    [{ torch_dtype: "int8" }, /"torch_dtype" must be/],
    [{ architectures: "x".repeat(1000) }, /"architectures" must be a list of at most 16 entries/],
  ];
  for (const [change, message] of refused) {
    assert.throws(() => parseModelConfig({ ...qwen3, ...change }, "c"), (error) => {
      assert.ok(error instanceof ModelError);
      assert.match(error.message, message);
      assert.ok(error.message.length < 250);
      return true;
    });
  }
  for (const json of [null, [], 5, "x"]) assert.throws(() => parseModelConfig(json, "c"), ModelError);
});

/** Any value that JSON can hold, with a liking for numbers at the edges. */
const odd = fc.oneof(
  fc.constantFrom<unknown>(0, -1, 1, 7, 8, 16, 1e9, 2 ** 53, 1e308, 0.5, null, true, "", "yarn", [], {}),
  fc.jsonValue({ maxDepth: 2 }),
);

Deno.test("5,000 configurations with random fields: an error of one line, or sizes within bounds", () => {
  const names = [
    ...Object.keys(qwen3),
    "rope_parameters",
    "partial_rotary_factor",
    "layer_types",
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "decoder_sparse_step",
    "mlp_only_layers",
    "quantization_config",
    "dtype",
    "mlp_bias",
  ];
  const ropes = fc.record({
    rope_type: fc.constantFrom("default", "linear", "dynamic", "llama3", "yarn"),
    factor: odd,
    original_max_position_embeddings: odd,
    low_freq_factor: odd,
    high_freq_factor: odd,
    attention_factor: odd,
  }, { requiredKeys: [] });
  let accepted = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(...knownArchitectures),
      fc.dictionary(fc.constantFrom(...names), odd, { maxKeys: 2 }),
      fc.option(ropes),
      (architecture, change, rope) => {
        const json = {
          ...qwen3,
          architectures: [architecture],
          ...(rope && { rope_scaling: rope }),
          ...change,
        };
        let config: ModelConfig;
        try {
          config = parseModelConfig(json, "c");
        } catch (error) {
          assert.ok(error instanceof ModelError, String(error));
          assert.ok(error.message.length < 400 && !error.message.includes("\n"), error.message);
          return;
        }
        accepted++;
        assert.equal(config.slidingWindow.length, config.numLayers);
        assert.equal(config.numHeads % config.numKvHeads, 0);
        for (
          const size of [config.vocabSize, config.hiddenSize, config.intermediateSize, config.maxPositions]
        ) {
          assert.ok(Number.isSafeInteger(size) && size > 0 && size <= 1 << 24);
        }
        assert.ok(config.moe === null || config.moe.expertsPerToken <= config.moe.numExperts);
        if (config.rope.type !== "default") assert.ok(Object.values(config.rope).every((v) => v === v));
      },
    ),
    { numRuns: 5000, seed: 3 },
  );
  assert.ok(accepted > 500, `${accepted} were accepted`);
});

Deno.test("ends of text come from both files, and the makers' sampling is kept", () => {
  const config = { json: { eos_token_id: 2 }, path: "config.json" };
  const generation = (json: object) => parseGenerationConfig({ json, path: "g" }, config, 100);
  assert.deepEqual(generation({ eos_token_id: [5, 7], temperature: 0.6, top_k: 20, top_p: 0.95 }), {
    eosIds: [5, 7, 2],
    temperature: 0.6,
    topK: 20,
    topP: 0.95,
  });
  assert.deepEqual(parseGenerationConfig(undefined, config, 100), { eosIds: [2] });
  assert.deepEqual(generation({ top_k: -1 }), { eosIds: [2], topK: 0 });
  // Without sampling the makers mean greedy, whatever else stands there.
  assert.deepEqual(generation({ do_sample: false, temperature: 0.7 }), { eosIds: [2], temperature: 0 });
  assert.throws(() => generation({ eos_token_id: 100 }), /"eos_token_id" must be token ids below 100/);
  assert.throws(() => generation({ temperature: "hot" }), /^ModelError: g: "temperature" must be a number/);
});
