// The conformance suite on an NVIDIA GPU: as the backend is, and with every product and all attention on the matrix units,
// which take and leave bfloat16 (attention: float16).

import { createCudaBackend } from "../../../kernels/cuda/backend.ts";
import { cudaTest } from "../../cuda.ts";
import { testBackend } from "../conformance.ts";

testBackend("cuda", () => createCudaBackend(), cudaTest);
testBackend(
  "cuda, matrix units",
  () => createCudaBackend({ halfFrom: 0, tensorDecode: "always" }),
  cudaTest,
  { bf16: 1e-2, f16: 1e-2, f32: 1e-2, q8: 1e-2, q4_0: 1e-2, q4_1: 1e-2, q4_k: 1e-2, q6_k: 1e-2 },
);
