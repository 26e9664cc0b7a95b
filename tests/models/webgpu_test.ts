import { gpuTest } from "../gpu.ts";
import { createWebGpuBackend } from "../../kernels/webgpu/backend.ts";
import { testInt8Models } from "./int8.ts";
import { testReferenceModels } from "./reference_models.ts";

testReferenceModels("webgpu", () => createWebGpuBackend(), gpuTest);

// The products that a GPU takes for large weights, on these small ones: packed f16 sums flushed to float32.
testReferenceModels(
  "webgpu, f16 products",
  () => createWebGpuBackend({ caps: { software: false, halfFrom: 0, parallelism: 64 } }),
  gpuTest,
  {
    models: ["llama-gqa", "llama3-rope", "mistral", "qwen2-bias", "qwen3-tied", "qwen3-yarn"],
    pageSizes: [16],
  },
);

// The attention that prompts may take there, for those with heads of 32.
for (const packedAttention of ["pairs-0-32", "pairs-8x2-32"] as const) {
  testReferenceModels(
    `webgpu, packed attention ${packedAttention}`,
    () => createWebGpuBackend({ caps: { software: false, halfFrom: 0, parallelism: 64, packedAttention } }),
    gpuTest,
    { models: ["llama3-rope", "qwen3-tied", "qwen3-yarn"], pageSizes: [16] },
  );
}

testInt8Models("webgpu", () => createWebGpuBackend(), gpuTest);
// Not the experts: where two are nearly as good for a token, a rounding chooses the other one, and that token's logits
// are of another network.
testInt8Models(
  "webgpu, f16 products",
  () => createWebGpuBackend({ caps: { software: false, halfFrom: 0, parallelism: 64 } }),
  gpuTest,
  ["qwen3-moe"],
);
