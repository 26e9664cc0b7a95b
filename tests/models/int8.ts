// Whole models with eight-bit weights: how far they are from the published logits, which is the weights' rounding,
// and from the float64 reference with the same weights, which is the backend's own. Registered once per backend by
// the test files beside it.

import type { Register } from "../gpu.ts";
import assert from "node:assert/strict";
import type { BackendFactory } from "../kernels/conformance.ts";
import { relativeError } from "../random.ts";
import { pocket, testBesideReference } from "./beside_reference.ts";
import { LoadedModel, readReference } from "./harness.ts";

/**
 * Largest ‖Δ‖/‖ref‖ of a prompt's logits. Measured: 1.2e-2 to 7.5e-2 for the models of random weights, which have no
 * reason to be robust, and at most 4.4e-3 for the trained one.
 */
const publishedBound = { random: 9e-2, trained: 6e-3 };
/**
 * The same where inputs are rounded to eight bits, too. Measured: 1.5e-2 to 6.8e-2 (1.1e-1 to 1.7e-1 where a random router chose
 * another expert), and at most 9.4e-3.
 */
const publishedBoundRounded = { random: 0.18, trained: 1.2e-2 };
/** Against the same weights in float64, as in `reference_models.ts`. */
const tolerance = 5e-3;
/**
 * Then the error against the same weights, as a multiple of the error of the weights. Measured: 0.45 to 1.4, on average
 * 0.9, for random weights (5.1 where a router chose another expert); 1.3 to 1.8 for the trained model.
 */
const inputShare = { random: 6, trained: 2 };

/** The one word of pocket's answers that comes out differently (an "island" for a "river") is ahead by 8e-3. */
const tie = 2e-2;
/** With inputs of eight bits it is ahead by 2.3e-2. */
const tieRounded = 3e-2;

/** All reference models, but those `without`, and the embedded one with `--dtype int8`. */
export function testInt8Models(
  name: string,
  create: BackendFactory,
  register: Register = Deno.test,
  without: readonly string[] = [],
  roundsInputs = false,
): void {
  testBesideReference({
    title: (model) => `${name}: ${model} with int8 is near the published logits, and at its reference`,
    create,
    register,
    without,
    options: { dtype: "int8" },
    check({ model, tokens, found, published, exact }) {
      const kind = model === "pocket" ? "trained" : "random";
      // gpt-oss: eight bits move a close choice of its router, so that a token gets other experts. The float64 reference
      // with the same weights is as far away (0.161), and the backend's own error below is as small as elsewhere.
      const wide = roundsInputs || model === "gpt-oss";
      const bound = (wide ? publishedBoundRounded : publishedBound)[kind];
      const off = relativeError(found, published), own = relativeError(found, exact);
      assert.ok(off <= bound, `${tokens} tokens: ${off} from what was published`);
      assert.ok(off > 1e-4, `${tokens} tokens: ${off} is too good for eight bits`);
      const limit = roundsInputs ? inputShare[kind] * relativeError(exact, published) : tolerance;
      assert.ok(own <= limit, `${tokens} tokens: ${own} from the reference, more than ${limit}`);
    },
  });

  register(
    `${name}: pocket with int8 answers its conversations as with the stored weights, but for a tie`,
    async () => {
      using backend = await create();
      const loaded = await LoadedModel.load(pocket, backend, 16, { dtype: "int8" });
      const ends = loaded.model.generation.eosIds;
      let same = 0, all = 0;
      for (const { prompt, greedy } of await readReference(pocket + "reference.safetensors")) {
        const end = greedy.findIndex((token) => ends.includes(token));
        const expected = end < 0 ? greedy : greedy.slice(0, end + 1);
        let { tokens, logits } = await loaded.prefill([{ row: 0, ids: prompt, everyPosition: false }]);
        let place = 0;
        for (; tokens[0] === expected[place] && place + 1 < expected.length; place++) {
          ({ tokens, logits } = await loaded.decode([{ row: 0, position: prompt.length + place }]));
        }
        all++;
        if (tokens[0] === expected[place]) {
          same++;
        } else {
          const gap = logits![tokens[0]!]! - logits![expected[place]!]!;
          assert.ok(
            gap <= (roundsInputs ? tieRounded : tie),
            `token ${place} is ${tokens[0]} instead of ${expected[place]}, ahead by ${gap}`,
          );
        }
      }
      assert.deepEqual([same, all], [4, 5]);
    },
  );
}
