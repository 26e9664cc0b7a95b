// What quantising weights or cache costs the embedded model: its 229 fresh prompts (one of `train_pocket.py`'s seeds), of which the
// stored weights answer all.

import assert from "node:assert/strict";
import { Engine } from "../../../engine/engine.ts";
import { defaultEngineOptions } from "../../../engine/options.ts";
import { defaultSamplingParams } from "../../../engine/params.ts";

const modelDir = decodeURIComponent(new URL("../../../models/pocket", import.meta.url).pathname);
const prompts: readonly (readonly [prompt: string, answer: string])[] = JSON.parse(
  await Deno.readTextFile(new URL("prompts.json", import.meta.url)),
);

/**
 * The least right answers that will do on a CPU, where inputs of quantised weights have eight bits, and the formats of
 * the matrices. Measured: 229 each.
 */
const least = [
  ["auto", "auto", 229, "bf16"],
  ["int8", "auto", 225, "q8"],
  ["q4", "auto", 225, "q4_1 q8"],
  ["auto", "int8", 225, "bf16"],
  ["q4", "int8", 225, "q4_1 q8"],
] as const;

for (const [dtype, kvDType, wanted, stored] of least) {
  const kept = kvDType === "auto" ? "" : ` and a cache in ${kvDType}`;
  Deno.test(`pocket with ${dtype} weights${kept} answers at least ${wanted} of 229 prompts`, async () => {
    assert.equal(prompts.length, 229);
    await using engine = await Engine.start({
      ...defaultEngineOptions,
      modelDir,
      device: "cpu",
      dtype,
      kvDType,
      contextLength: 512,
      maxRunningRequests: 32,
    });
    assert.equal(engine.model.weightFormats.join(" "), stored);
    const params = { ...defaultSamplingParams, temperature: 0, maxTokens: 80 };
    const wrong: string[] = [];
    await Promise.all(prompts.map(async ([content, answer]) => {
      const input = { type: "chat" as const, messages: [{ role: "user", content }] };
      const { text } = await engine.submit({ input, params }).complete();
      if (text.trim() !== answer) wrong.push(`${content} → ${text.trim()}`);
    }));
    const right = prompts.length - wrong.length;
    assert.ok(right >= wanted, `${right} right; wrong: ${wrong.join(" | ")}`);
  });
}
