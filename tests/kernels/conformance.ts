// One suite for every backend: each operation, over a sweep of shapes and on random data, against the float64
// reference. Called once per backend by the test files beside it; its parts are in `conformance/`.

import { type KvDType, kvDTypes } from "../../kernels/kv_format.ts";
import type { Register } from "../gpu.ts";
import { testAttention } from "./conformance/attention.ts";
import { testEmbed } from "./conformance/embed.ts";
import { testExperts } from "./conformance/experts.ts";
import { testKept } from "./conformance/kept.ts";
import { testLinear } from "./conformance/linear.ts";
import { testNorm } from "./conformance/norm.ts";
import { type BackendFactory, type Suite, tolerance, type Tolerances } from "./conformance/pair.ts";
import { testSampling } from "./conformance/sampling.ts";

export { type BackendFactory, tolerance, type Tolerances };

const parts = [testLinear, testNorm, testEmbed, testAttention, testExperts, testSampling, testKept];

/** Registers the suite under a name. */
export function testBackend(
  name: string,
  create: BackendFactory,
  register: Register = Deno.test,
  tolerances: Tolerances = () => tolerance,
  caches: readonly KvDType[] = kvDTypes,
): void {
  const test: Suite["test"] = (title, body) =>
    register(`${name}: ${title}`, async () => {
      using tested = await create();
      await body(tested);
    });
  for (const part of parts) part({ test, tolerances, caches });
}
