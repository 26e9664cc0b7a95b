import { createCpuBackend } from "../../kernels/cpu/backend.ts";
import { testInt8Cache } from "./int8_cache.ts";
import { testInt8Models } from "./int8.ts";
import { testReferenceModels } from "./reference_models.ts";

testReferenceModels("cpu", () => createCpuBackend({ threads: 2, allThreads: "always" }));
// Weights and pages in several memories, between which the activations move.
testReferenceModels(
  "cpu, small memories",
  () => createCpuBackend({ threads: 2, allThreads: "always", memoryPages: 128 }),
);
testInt8Models("cpu", () => createCpuBackend({ threads: 2, allThreads: "always" }), Deno.test, [], true);
testInt8Models("cpu, plain SIMD", () => createCpuBackend({ threads: 1, plain: true }), Deno.test, [], true);
testInt8Cache("cpu", () => createCpuBackend({ threads: 2, allThreads: "always" }));
