// The conformance suite on whatever WebGPU adapter there is.

import { gpuTest } from "../../gpu.ts";
import { createWebGpuBackend } from "../../../kernels/webgpu/backend.ts";
import { testBackend } from "../conformance.ts";

testBackend("webgpu", () => createWebGpuBackend(), gpuTest);
