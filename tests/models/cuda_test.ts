import { createCudaBackend } from "../../kernels/cuda/backend.ts";
import { cudaTest } from "../cuda.ts";
import { testInt8Models } from "./int8.ts";
import { testInt8Cache } from "./int8_cache.ts";
import { testReferenceModels } from "./reference_models.ts";

testReferenceModels("cuda", () => createCudaBackend(), cudaTest);

// What large models take, on these small ones: products and attention on the matrix units, whose inputs are rounded to
// bfloat16 (eight bits) where the weights are. Not the experts: a rounding may choose another one.
testReferenceModels(
  "cuda, matrix units",
  () => createCudaBackend({ halfFrom: 0, tensorDecode: "always" }),
  cudaTest,
  {
    models: ["llama-gqa", "llama3-rope", "mistral", "qwen2-bias", "qwen3-tied", "qwen3-yarn"],
    pageSizes: [1, 16],
    tolerance: 2e-2,
  },
);

testInt8Models("cuda", () => createCudaBackend(), cudaTest);

testInt8Cache("cuda", () => createCudaBackend(), cudaTest);
