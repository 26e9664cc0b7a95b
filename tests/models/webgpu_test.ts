import { gpuTest } from "../gpu.ts";
import { createWebGpuBackend } from "../../kernels/webgpu/backend.ts";
import { testInt8Cache } from "./int8_cache.ts";
import { testInt8Models } from "./int8.ts";
import { testReferenceModels } from "./reference_models.ts";

testReferenceModels("webgpu", () => createWebGpuBackend(), gpuTest);

// What a GPU takes for large models, on these small ones: products in packed f16 sums flushed to float32, and for heads
// of 32 attention with operands in f16.
testReferenceModels(
  "webgpu, f16 products",
  () => createWebGpuBackend({ caps: { software: false, halfFrom: 0, parallelism: 64 } }),
  gpuTest,
  {
    models: ["llama-gqa", "llama3-rope", "mistral", "qwen2-bias", "qwen3-tied", "qwen3-yarn"],
    pageSizes: [16],
  },
);

testInt8Models("webgpu", () => createWebGpuBackend(), gpuTest);
// Not the experts: where two are nearly as good for a token, a rounding chooses the other one, and that token's logits
// are of another network. Nor most of the families that differ in none of these kernels: a software driver takes long.
testInt8Models(
  "webgpu, f16 products",
  () => createWebGpuBackend({ caps: { software: false, halfFrom: 0, parallelism: 64 } }),
  gpuTest,
  ["qwen3-moe", "gpt-oss", "smollm3", "phi3", "granite", "olmo2", "gemma2"],
);
testInt8Cache("webgpu", () => createWebGpuBackend(), gpuTest);
