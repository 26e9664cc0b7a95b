import { createCpuBackend } from "../../kernels/cpu/backend.ts";
import { testReferenceModels } from "./reference_models.ts";

testReferenceModels("cpu", () => createCpuBackend({ threads: 2, allThreads: "always" }));
// Weights and pages in several memories, between which the activations move.
testReferenceModels(
  "cpu, small memories",
  () => createCpuBackend({ threads: 2, allThreads: "always", memoryPages: 128 }),
);
