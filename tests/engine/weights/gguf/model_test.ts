// Models in files that the gguf package wrote give what the same models give from safetensors.

import assert from "node:assert/strict";
import { createCpuBackend } from "../../../../kernels/cpu/backend.ts";
import { createReferenceBackend } from "../../../../kernels/reference/backend.ts";
import { planWeights } from "../../../../engine/model/load.ts";
import { openModel } from "../../../../engine/model/open.ts";
import { type DType, dtypes } from "../../../../kernels/formats/mod.ts";
import { Random, relativeError } from "../../../random.ts";
import { float32, safetensors } from "../files.ts";
import { LoadedModel, readReference } from "../../../models/harness.ts";
import { keptReference, modelTest, referenceModels } from "../../../models/references.ts";
import { ggufTest, runPython } from "./python.ts";

const pocket = decodeURIComponent(new URL("../../../../models/pocket", import.meta.url).pathname);

/** Logits of the reference's second prompt (7 tokens, every position), and its greedy tokens from the last one. */
async function run(path: string, prompt: readonly number[], count: number, create = createReferenceBackend) {
  using backend = await create();
  const loaded = await LoadedModel.load(path, backend, 16);
  const first = await loaded.prefill([{ row: 0, ids: prompt, everyPosition: true }]);
  const tokens = [first.tokens.at(-1)!];
  while (tokens.length < count) {
    const result = await loaded.decode([{ row: 0, position: prompt.length + tokens.length - 1 }]);
    tokens.push(result.tokens[0]!);
  }
  return { logits: first.logits!, tokens };
}

for (const model of referenceModels.filter((name) => !name.endsWith("-odd"))) {
  modelTest(
    ggufTest,
    model,
    `${model} from a float32 GGUF file gives the logits and tokens of its safetensors`,
    async (directory, folder) => {
      await runPython("write_model.py", directory, `${folder}/m.gguf`, "F32");
      const { prompt, logits, greedy } = (await readReference(`${directory}/reference.safetensors`))[1]!;
      const found = await run(`${folder}/m.gguf`, prompt, 8);
      assert.ok(relativeError(found.logits, logits) < 1e-3, `${relativeError(found.logits, logits)}`);
      assert.deepEqual(found.tokens, greedy.slice(0, 8));
    },
  );
}

/**
 * Largest ‖Δ‖/‖ref‖ of logits against the package's own values of the same blocks, in float64. Blocks that the device
 * keeps are exact (their products are summed in another order); Q5_1 becomes q8.
 */
const bounds = { F16: 1e-6, BF16: 1e-6, Q8_0: 1e-6, Q5_1: 3e-2, Q5_0: 1e-6, Q4_1: 1e-6, Q4_0: 1e-6 };

for (const [type, bound] of Object.entries(bounds)) {
  ggufTest(`llama-gqa from a ${type} GGUF file is what the package makes of its blocks`, async (folder) => {
    await runPython("write_model.py", keptReference("llama-gqa"), `${folder}/m.gguf`, type);
    await runPython("write_model.py", keptReference("llama-gqa"), `${folder}/expanded.gguf`, type, "again");
    const { prompt } = (await readReference(`${keptReference("llama-gqa")}/reference.safetensors`))[1]!;
    const [found, expected] = await Promise.all(
      ["m", "expanded"].map((n) => run(`${folder}/${n}.gguf`, prompt, 4)),
    );
    const error = relativeError(found!.logits, expected!.logits);
    assert.ok(error < bound, `${error}`);
    assert.deepEqual(found!.tokens, expected!.tokens);
  });
}

/** Pocket's logits against the published ones, in float64 and on a CPU, which rounds inputs to eight bits; measured. */
const pocketBounds = {
  Q8_0: [4e-3, 9e-3],
  Q6_K: [9e-3, 1.3e-2],
  Q5_K: [3.2e-2, 3.3e-2],
  Q5_0: [3.1e-2, 3.2e-2],
  Q4_K: [4e-2, 4e-2],
  Q4_1: [6.6e-2, 6.7e-2],
  Q4_0: [6.9e-2, 6.9e-2],
} as const;

for (const [type, bounds] of Object.entries(pocketBounds)) {
  ggufTest(`pocket from a ${type} GGUF file is near the published logits`, async (folder) => {
    await runPython("write_model.py", pocket, `${folder}/m.gguf`, type);
    const { prompt, logits } = (await readReference(`${pocket}/reference.safetensors`))[0]!;
    for (const [i, create] of [createReferenceBackend, () => createCpuBackend({ threads: 2 })].entries()) {
      using backend = await create();
      const loaded = await LoadedModel.load(`${folder}/m.gguf`, backend, 16);
      const everyPosition = logits.length > loaded.model.config.vocabSize;
      const found = (await loaded.prefill([{ row: 0, ids: prompt, everyPosition }])).logits!;
      const error = relativeError(found, logits);
      assert.ok(error < bounds[i]!, `${error}`);
    }
  });
}

/** Q4_K_M mixes: where v is finer than q and k, all three become q8. A CPU rounds inputs to eight bits, too. */
const cpuBound = 4e-2;
const kBounds = { Q4_K: 1e-6, Q5_K: 1e-6, Q6_K: 1e-6, Q4_K_M: 2e-2 };

for (const [type, bound] of Object.entries(kBounds)) {
  ggufTest(`a ${type} GGUF file gives the logits of the package's values in float64`, async (folder) => {
    await writeWideModel(folder);
    await runPython("write_model.py", folder, `${folder}/m.gguf`, type);
    await runPython("write_model.py", folder, `${folder}/expanded.gguf`, type, "again");
    const prompt = [5, 17, 60, 3, 33, 8, 21];
    const [found, expected] = await Promise.all(
      ["m", "expanded"].map((n) => run(`${folder}/${n}.gguf`, prompt, 4)),
    );
    const error = relativeError(found!.logits, expected!.logits);
    assert.ok(error < bound, `${error}`);
    assert.deepEqual(found!.tokens, expected!.tokens);
    for (const plain of [false, true]) {
      const cpu = await run(`${folder}/m.gguf`, prompt, 1, () => createCpuBackend({ threads: 1, plain }));
      const own = relativeError(cpu.logits, expected!.logits);
      assert.ok(own < cpuBound, `on a CPU: ${own}`);
    }
  });
}

ggufTest("each matrix of a Q4_K_M file keeps its type, but for parts that differ", async (folder) => {
  await writeWideModel(folder);
  await runPython("write_model.py", folder, `${folder}/m.gguf`, "Q4_K_M");
  const model = await openModel(`${folder}/m.gguf`);
  const dtypesOf = (backendDtypes: readonly DType[], size = 1) => {
    const shard = { rank: 0, size };
    const { embedding, head, layers } = planWeights(model, { dtypes: backendDtypes }, {
      dtype: "auto",
      shard,
    });
    const parts = layers.map(({ qkv, output, feedForward }) =>
      feedForward.type === "dense" ? [qkv, output, feedForward.gateUp, feedForward.down] : []
    );
    return [[embedding, head!], ...parts].map((matrices) => matrices.map(({ spec }) => spec.dtype).join());
  };
  assert.deepEqual(dtypesOf(dtypes), ["q6_k,q6_k", "q8,q4_k,q4_k,q6_k", "q4_k,q4_k,q4_k,q4_k"]);
  // Half of 256 columns is no block; half of 512 is one.
  assert.deepEqual(dtypesOf(dtypes, 2), ["q6_k,q6_k", "q8,q8,q4_k,q6_k", "q4_k,q8,q4_k,q4_k"]);
  assert.deepEqual(dtypesOf(["f32", "q8"]), ["q8,q8", "q8,q8,q8,q8", "q8,q8,q8,q8"]);
});

/** A folder with a Llama of two layers whose rows are whole blocks of 256. */
async function writeWideModel(folder: string): Promise<void> {
  const random = new Random(3);
  const config = {
    architectures: ["LlamaForCausalLM"],
    hidden_size: 256,
    intermediate_size: 512,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 64,
    vocab_size: 64,
    max_position_embeddings: 64,
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    tie_word_embeddings: false,
  };
  const shapes: [string, ...number[]][] = [["model.embed_tokens", 64, 256], ["model.norm", 256], [
    "lm_head",
    64,
    256,
  ]];
  for (const layer of ["model.layers.0", "model.layers.1"]) {
    shapes.push(
      [`${layer}.input_layernorm`, 256],
      [`${layer}.post_attention_layernorm`, 256],
      [`${layer}.self_attn.q_proj`, 256, 256],
      [`${layer}.self_attn.k_proj`, 128, 256],
      [`${layer}.self_attn.v_proj`, 128, 256],
      [`${layer}.self_attn.o_proj`, 256, 256],
      [`${layer}.mlp.gate_proj`, 512, 256],
      [`${layer}.mlp.up_proj`, 512, 256],
      [`${layer}.mlp.down_proj`, 256, 512],
    );
  }
  const tensors = shapes.map(([name, ...shape]) => {
    const values = random.normals(shape.reduce((a, b) => a * b), shape.length === 1 ? 0.1 : 0.08);
    return [
      `${name}.weight`,
      float32(shape.length === 1 ? [...values.map((v) => 1 + v)] : [...values], shape),
    ] as const;
  });
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(config));
  await Deno.writeFile(`${folder}/model.safetensors`, safetensors(Object.fromEntries(tensors)));
}
