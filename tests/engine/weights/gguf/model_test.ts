// Models in files that the gguf package wrote give what the same models give from safetensors.

import assert from "node:assert/strict";
import { createReferenceBackend } from "../../../../kernels/reference/backend.ts";
import { relativeError } from "../../../random.ts";
import { LoadedModel, readReference } from "../../../models/harness.ts";
import { ggufTest, runPython } from "./python.ts";

const references = decodeURIComponent(new URL("../../../data/reference/", import.meta.url).pathname);

/** Logits of the reference's second prompt (7 tokens, every position), and its greedy tokens from the last one. */
async function run(path: string, prompt: readonly number[], count: number) {
  using backend = await createReferenceBackend();
  const loaded = await LoadedModel.load(path, backend, 16);
  const first = await loaded.prefill([{ row: 0, ids: prompt, everyPosition: true }]);
  const tokens = [first.tokens.at(-1)!];
  while (tokens.length < count) {
    const result = await loaded.decode([{ row: 0, position: prompt.length + tokens.length - 1 }]);
    tokens.push(result.tokens[0]!);
  }
  return { logits: first.logits!, tokens };
}

const models = ["llama-gqa", "llama3-rope", "mistral", "qwen2-bias", "qwen3-moe", "qwen3-tied", "qwen3-yarn"];

for (const model of models) {
  ggufTest(
    `${model} from a float32 GGUF file gives the logits and tokens of its safetensors`,
    async (folder) => {
      await runPython("write_model.py", references + model, `${folder}/m.gguf`, "F32");
      const { prompt, logits, greedy } =
        (await readReference(`${references}${model}/reference.safetensors`))[1]!;
      const found = await run(`${folder}/m.gguf`, prompt, 8);
      assert.ok(relativeError(found.logits, logits) < 1e-3, `${relativeError(found.logits, logits)}`);
      assert.deepEqual(found.tokens, greedy.slice(0, 8));
    },
  );
}

for (const type of ["F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"]) {
  ggufTest(`llama-gqa from a ${type} GGUF file is what the package makes of its blocks`, async (folder) => {
    await runPython("write_model.py", `${references}llama-gqa`, `${folder}/m.gguf`, type);
    await runPython("write_model.py", `${references}llama-gqa`, `${folder}/expanded.gguf`, type, "again");
    const { prompt } = (await readReference(`${references}llama-gqa/reference.safetensors`))[1]!;
    const [found, expected] = await Promise.all(
      ["m", "expanded"].map((n) => run(`${folder}/${n}.gguf`, prompt, 4)),
    );
    // Blocks expand to float16 on the device: rounding by 2⁻¹¹ at most, three layers deep.
    const error = relativeError(found!.logits, expected!.logits);
    assert.ok(error < 2e-3, `${error}`);
    assert.deepEqual(found!.tokens, expected!.tokens);
  });
}
