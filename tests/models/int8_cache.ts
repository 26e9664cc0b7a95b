// Whole models with a cache of eight bits: how far they are from the published logits, which is the cache's rounding, and
// from the float64 reference with a cache of the same integers, which is the backend's own. Registered once per backend
// by the test files beside it.

import type { Register } from "../gpu.ts";
import assert from "node:assert/strict";
import { createReferenceBackend } from "../../kernels/reference/backend.ts";
import type { BackendFactory } from "../kernels/conformance.ts";
import { relativeError } from "../random.ts";
import { LoadedModel, readReference } from "./harness.ts";
import { modelTest, referenceModels } from "./references.ts";

/**
 * Largest ‖Δ‖/‖ref‖ of a prompt's logits. Measured: 1.9e-4 to 3.1e-2 for the models of random weights, which have no
 * reason to be robust, 9.4e-2 where a random router chose another expert, and at most 2.2e-3 for the trained one.
 */
const publishedBound = { random: 4e-2, routed: 0.12, trained: 4e-3 };
/** A cache of 16 bits is nearer than this. */
const tooGood = 5e-5;
/** Against the same cache in float64. Measured: 4e-4. */
const tolerance = 5e-3;

const pocket = new URL("../../models/pocket/", import.meta.url).pathname;

/** All reference models, but those `without`, and the embedded one with `--kv-dtype int8`. */
export function testInt8Cache(
  name: string,
  create: BackendFactory,
  register: Register = Deno.test,
  without: readonly string[] = [],
): void {
  const check = (model: string) => async (directory: string) => {
    using backend = await create();
    using reference = await createReferenceBackend();
    const options = { kvDType: "int8" } as const;
    const loaded = await LoadedModel.load(directory, backend, 16, options);
    const exact = await LoadedModel.load(directory, reference, 16, options);
    const kind = model === "pocket" ? "trained" : model === "gpt-oss" ? "routed" : "random";
    const bound = publishedBound[kind];
    for (const { prompt, logits } of await readReference(`${directory}/reference.safetensors`)) {
      const everyPosition = logits.length > loaded.model.config.vocabSize;
      const prompts = [{ row: 0, ids: prompt, everyPosition }];
      const found = (await loaded.prefill(prompts)).logits!;
      const published = relativeError(found, logits);
      const own = relativeError(found, (await exact.prefill(prompts)).logits!);
      assert.ok(published <= bound, `${prompt.length} tokens: ${published} from what was published`);
      assert.ok(published > tooGood, `${prompt.length} tokens: ${published} is too good for eight bits`);
      assert.ok(own <= tolerance, `${prompt.length} tokens: ${own} from the reference`);
    }
  };
  const title = (model: string) =>
    `${name}: ${model} with a cache of eight bits is near the published logits, and at its reference`;
  for (const model of referenceModels.filter((model) => !without.includes(model))) {
    modelTest(register, model, title(model), check(model));
  }
  register(title("pocket"), () => check("pocket")(pocket));
}
