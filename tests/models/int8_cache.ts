// Whole models with a cache of eight bits: how far they are from the published logits, which is the cache's rounding, and
// from the float64 reference with a cache of the same integers, which is the backend's own. Registered once per backend
// by the test files beside it.

import type { Register } from "../gpu.ts";
import assert from "node:assert/strict";
import type { BackendFactory } from "../kernels/conformance.ts";
import { relativeError } from "../random.ts";
import { testBesideReference } from "./beside_reference.ts";

/**
 * Largest ‖Δ‖/‖ref‖ of a prompt's logits. Measured: 1.9e-4 to 3.1e-2 for the models of random weights, which have no
 * reason to be robust, 9.4e-2 where a random router chose another expert, and at most 2.2e-3 for the trained one.
 */
const publishedBound = { random: 4e-2, routed: 0.12, trained: 4e-3 };
/** A cache of 16 bits is nearer than this. */
const tooGood = 5e-5;
/** Against the same cache in float64. Measured: 4e-4. */
const tolerance = 5e-3;

/** All reference models, but those `without`, and the embedded one with `--kv-dtype int8`. */
export function testInt8Cache(
  name: string,
  create: BackendFactory,
  register: Register = Deno.test,
  without: readonly string[] = [],
): void {
  testBesideReference({
    title: (model) =>
      `${name}: ${model} with a cache of eight bits is near the published logits, and at its reference`,
    create,
    register,
    without,
    options: { kvDType: "int8" },
    check({ model, tokens, found, published, exact }) {
      const kind = model === "pocket" ? "trained" : model === "gpt-oss" ? "routed" : "random";
      const off = relativeError(found, published), own = relativeError(found, exact);
      assert.ok(off <= publishedBound[kind], `${tokens} tokens: ${off} from what was published`);
      assert.ok(off > tooGood, `${tokens} tokens: ${off} is too good for eight bits`);
      assert.ok(own <= tolerance, `${tokens} tokens: ${own} from the reference`);
    },
  });
}
