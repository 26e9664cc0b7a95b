// Families: what their files make of published configurations, and that a new one is a file of configuration.

import assert from "node:assert/strict";
import { gelu } from "../../../kernels/ops.ts";
import { Decoder } from "../../../engine/model/decoder.ts";
import { loadDecoderWeights } from "../../../engine/model/load.ts";
import type { ModelConfig } from "../../../engine/model/config.ts";
import { wholeModel } from "../../../engine/weights/shard.ts";
import { type Family, plain } from "../../../engine/weights/families/family.ts";
import { families } from "../../../engine/weights/families/mod.ts";
import { rotaryOrder, textPart, turned, unfused } from "../../../engine/weights/families/tensors.ts";
import { pickedRows } from "../../../engine/weights/picked_rows.ts";
import { repackings } from "../../../engine/weights/gguf/repack.ts";
import { formats } from "../../../kernels/formats/mod.ts";
import { parseModelConfig } from "../../../engine/weights/huggingface/config.ts";
import type { TensorInfo } from "../../../engine/weights/safetensors.ts";
import { createReferenceBackend } from "../../../kernels/reference/backend.ts";
import { plan } from "../../kernels/plans.ts";
import { ropeTables } from "../../../engine/model/rope.ts";
import { rotate } from "../../../kernels/reference/attention.ts";
import { Random } from "../../random.ts";

const sizes = {
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 6,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 128,
  max_position_embeddings: 256,
};
const tensor: TensorInfo = { name: "", dtype: "BF16", shape: [], file: "f", offset: 100, bytes: 0 };

Deno.test("a made-up family whose flags exist is one object of configuration, and runs", async () => {
  const cuckoo: Family = {
    ...plain,
    architectures: ["CuckooForCausalLM"],
    modelTypes: ["cuckoo"],
    defaults: { hidden_activation: "gelu_pytorch_tanh", sliding_window: 8, sliding_window_pattern: 3 },
    window: "always",
    flags: () => ({
      ...{ norms: "both", qkNorm: "width", attentionSoftCap: 5, attentionSinks: true },
      ...{ unrotatedLayers: [1], residualMultiplier: 0.5, logitSoftCap: 30 },
    }),
  };
  const config = parseModelConfig({ ...sizes, model_type: "cuckoo" }, "c", [cuckoo]);
  assert.deepEqual(config.slidingWindow, [8, 8, null, 8, 8, null]);
  assert.equal(config.gate, gelu);
  using backend = await createReferenceBackend();
  const model = {
    directory: "d",
    config,
    generation: { eosIds: [] },
    embedding: null,
    tensors: null,
    fp8Block: [1, 1],
  } as const;
  const weights = await loadDecoderWeights(model, backend, { dtype: "auto", shard: wholeModel });
  const decoder = new Decoder(backend, config, weights, wholeModel, {
    ...{ pageSize: 4, numPages: 8, maxRows: 1, contextLength: 32, maxTokens: 32, maxSamples: 1 },
  });
  const tokens = [{ row: 0, first: 0, ids: [3, 1, 4, 1, 5, 9, 2, 6, 5, 3] }];
  const pages = Array.from({ length: 8 }, (_, i): [number, number, number] => [0, i, i]);
  const sequences = [{ row: 0, cached: 0, extend: 10 }];
  const step = backend.record(
    plan(1, sequences, { tokens, pages, returnLogits: true }),
    (ops) => decoder.forward(ops),
  );
  step.submit();
  const { logits } = await step.read();
  assert.equal(logits!.length, 128);
  assert.ok(logits!.every((logit) => Math.abs(logit) < 30) && logits!.some((logit) => logit !== 0));
});

Deno.test("every family is known by one architecture and one model type, and by one name in GGUF", () => {
  for (
    const names of [
      families.flatMap(({ architectures }) => architectures),
      families.flatMap(({ modelTypes }) => modelTypes),
      families.flatMap(({ gguf }) => gguf?.name ?? []),
    ]
  ) {
    assert.equal(new Set(names).size, names.length);
  }
});

Deno.test("Gemma 3's larger models are read by their text part, whose file says little", () => {
  // google/gemma-3-4b-it, without what it says of images.
  const config = parseModelConfig({
    architectures: ["Gemma3ForConditionalGeneration"],
    model_type: "gemma3",
    text_config: {
      hidden_size: 2560,
      intermediate_size: 10240,
      model_type: "gemma3_text",
      num_hidden_layers: 34,
      rope_scaling: { factor: 8, rope_type: "linear" },
      sliding_window: 1024,
    },
    torch_dtype: "bfloat16",
  }, "c");
  const { numHeads, numKvHeads, headDim, vocabSize, tieEmbeddings, maxPositions } = config;
  assert.deepEqual([numHeads, numKvHeads, headDim, vocabSize], [8, 4, 256, 262208]);
  assert.deepEqual([tieEmbeddings, maxPositions, config.qkNorm], [true, 131072, "heads"]);
  assert.deepEqual(config.rope, { type: "linear", theta: 1e6, factor: 8 });
  assert.deepEqual(config.localRope, { type: "default", theta: 10000 });
  assert.equal(config.slidingWindow.filter((window) => window === null).length, 5);
  assert.deepEqual(config.slidingWindow.slice(4, 7), [1024, null, 1024]);
  const named = (name: string) => textPart({ ...tensor, name }).map(({ name }) => name);
  assert.deepEqual(named("language_model.model.layers.0.mlp.up_proj.weight"), [
    "model.layers.0.mlp.up_proj.weight",
  ]);
  assert.deepEqual(named("model.language_model.embed_tokens.weight"), ["model.embed_tokens.weight"]);
  assert.deepEqual(named("language_model.lm_head.weight"), ["lm_head.weight"]);
  assert.deepEqual(named("vision_tower.encoder.weight"), []);
});

Deno.test("Phi-4-mini turns three quarters of a head, by LongRoPE", () => {
  const factors = Array.from({ length: 48 }, (_, i) => 1 + i);
  const config = parseModelConfig({
    ...sizes,
    architectures: ["Phi3ForCausalLM"],
    hidden_size: 3072,
    num_attention_heads: 24,
    num_key_value_heads: 8,
    max_position_embeddings: 131072,
    original_max_position_embeddings: 4096,
    partial_rotary_factor: 0.75,
    rope_theta: 10000,
    rope_scaling: { type: "longrope", short_factor: factors.map(() => 1), long_factor: factors },
    sliding_window: 262144,
  }, "c");
  assert.deepEqual([config.headDim, config.rotaryDim], [128, 96]);
  assert.deepEqual(config.rope, {
    type: "longrope",
    theta: 10000,
    short: factors.map(() => 1),
    long: factors,
    originalPositions: 4096,
    attentionFactor: Math.sqrt(1 + Math.log(32) / Math.log(4096)),
  });
  const stored = {
    ...tensor,
    name: "model.layers.0.self_attn.qkv_proj.weight",
    shape: [5120, 3072],
    bytes: 5120,
  };
  const [q, k, v] = unfused(stored, config).map((part) => turned(part, config));
  assert.deepEqual([q!.shape[0], k!.shape[0], v!.shape[0]], [3072, 1024, 1024]);
  assert.deepEqual([q!.offset, k!.offset, v!.offset], [100, 3172, 4196]);
  assert.deepEqual([q!.rowOrder?.length, k!.rowOrder?.length, v!.rowOrder], [128, 128, undefined]);
});

Deno.test("a head's order brings the pairs that turn together, and leaves no place out", () => {
  for (const [headDim, rotaryDim] of [[16, 8], [128, 96], [64, 64], [8, 2]] as const) {
    const order = rotaryOrder(headDim, rotaryDim), half = rotaryDim / 2;
    assert.deepEqual([...order].sort((a, b) => a - b), order.map((_, i) => i));
    for (let i = 0; i < half; i++) assert.deepEqual([order[i], order[half + i]], [i, i + headDim / 2]);
  }
});

Deno.test("scores of reordered heads are those of heads of which a part turns", () => {
  const headDim = 16, rotaryDim = 12, random = new Random(3);
  const { cosine, sine } = ropeTables({ type: "default", theta: 100 }, { headDim, rotaryDim }, 8);
  const order = rotaryOrder(headDim, rotaryDim);
  const partly = (head: Float32Array, position: number) =>
    head.map((x, i) => {
      const half = rotaryDim / 2;
      if (i >= rotaryDim) return x;
      const angle = position * 100 ** (-2 * (i % half) / rotaryDim),
        other = head[i < half ? i + half : i - half]!;
      return x * Math.cos(angle) + (i < half ? -other : other) * Math.sin(angle);
    });
  const reordered = (head: Float32Array, position: number) => {
    const moved = new Float64Array(headDim);
    head.forEach((x, i) => moved[order[i]!] = x);
    rotate(moved, cosine, sine, position);
    return moved;
  };
  const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
    Array.from(a).reduce((sum, x, i) => sum + x * b[i]!, 0);
  const q = random.normals(headDim), k = random.normals(headDim);
  const expected = dot(partly(q, 7), partly(k, 2));
  assert.ok(Math.abs(dot(reordered(q, 7), reordered(k, 2)) - expected) < 1e-5);
});

Deno.test("gpt-oss's configuration has its published windows, experts and scaling", () => {
  const config: ModelConfig = parseModelConfig({
    ...sizes,
    architectures: ["GptOssForCausalLM"],
    head_dim: 64,
    num_local_experts: 32,
    num_experts_per_tok: 4,
    experts_per_token: 4,
    quantization_config: { quant_method: "mxfp4", modules_to_not_convert: ["model.layers.*.self_attn"] },
    rope_scaling: {
      ...{ beta_fast: 32, beta_slow: 1, factor: 32, rope_type: "yarn", truncate: false },
      original_max_position_embeddings: 4096,
    },
    sliding_window: 128,
    swiglu_limit: 7,
  }, "c");
  assert.deepEqual(config.slidingWindow, [128, null, 128, null, 128, null]);
  assert.deepEqual(config.gate, { alpha: 1.702, beta: 0, limit: 7, plus: 1 });
  assert.ok(config.moe?.biases && config.moe.renormalize && config.attentionSinks && config.qkvBias);
  assert.ok(config.rope.type === "yarn" && !config.rope.truncate);
  assert.equal(config.rope.attentionFactor, 0.1 * Math.log(32) + 1);
});

Deno.test("four-bit floats with their exponents apart become int8 without loss", () => {
  // Two rows of gate, two of up, row by row; 64 columns are two blocks a row.
  const values = [0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6];
  const blocks = Uint8Array.from({ length: 4 * 2 * 16 }, (_, i) => i * 37 & 255);
  const exponents = Uint8Array.of(127, 120, 110, 104, 130, 127, 125, 143);
  const every = { first: 1, step: 2 }, shape = [2, 64];
  const up = pickedRows({ ...tensor, dtype: "MXFP4", shape, every }, { start: 0, end: 2 }, blocks, exponents);
  const rows = repackings.MXFP4!.repack(up, 64);
  const found = formats.q8.decode(rows, 64);
  for (let r = 0; r < 2; r++) {
    for (let c = 0; c < 64; c++) {
      const row = 1 + 2 * r, block = row * 2 + (c >> 5);
      const nibble = blocks[block * 16 + (c % 32 >> 1)]! >> 4 * (c & 1) & 15;
      assert.equal(found[r * 64 + c], values[nibble]! * 2 ** (exponents[block]! - 127) + 0);
    }
  }
});
