// Every reference model and the embedded one, loaded in some other way than as stored, beside what was published and
// beside the float64 reference loaded in the same way.

import type { DTypeOption } from "../../engine/weights/device_types.ts";
import type { KvDType } from "../../kernels/kv_format.ts";
import { createReferenceBackend } from "../../kernels/reference/backend.ts";
import type { Register } from "../gpu.ts";
import type { BackendFactory } from "../kernels/conformance.ts";
import { LoadedModel, readReference } from "./harness.ts";
import { modelTest, referenceModels } from "./references.ts";

/** The embedded model's folder. */
export const pocket = new URL("../../models/pocket/", import.meta.url).pathname;

/** Logits of one prompt. */
export interface Compared {
  /** "pocket", or a reference model's name. */
  readonly model: string;
  /** The prompt's tokens. */
  readonly tokens: number;
  /** The backend's. */
  readonly found: Float32Array;
  /** What was published with the model. */
  readonly published: Float32Array;
  /** The float64 reference's. */
  readonly exact: Float32Array;
}

/** Registers a test for each model, but those `without`, that hands every prompt's logits to `check`. */
export function testBesideReference(
  { title, create, register, without, options, check }: {
    readonly title: (model: string) => string;
    readonly create: BackendFactory;
    readonly register: Register;
    readonly without: readonly string[];
    readonly options: { readonly dtype?: DTypeOption; readonly kvDType?: KvDType };
    readonly check: (compared: Compared) => void;
  },
): void {
  const compare = (model: string) => async (directory: string) => {
    using backend = await create();
    using reference = await createReferenceBackend();
    const loaded = await LoadedModel.load(directory, backend, 16, options);
    const exact = await LoadedModel.load(directory, reference, 16, options);
    for (const { prompt, logits } of await readReference(`${directory}/reference.safetensors`)) {
      const everyPosition = logits.length > loaded.model.config.vocabSize;
      const prompts = [{ row: 0, ids: prompt, everyPosition }];
      check({
        model,
        tokens: prompt.length,
        found: (await loaded.prefill(prompts)).logits!,
        published: logits,
        exact: (await exact.prefill(prompts)).logits!,
      });
    }
  };
  for (const model of referenceModels.filter((model) => !without.includes(model))) {
    modelTest(register, model, title(model), compare(model));
  }
  register(title("pocket"), () => compare("pocket")(pocket));
}
