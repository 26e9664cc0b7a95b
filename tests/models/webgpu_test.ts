import { gpuTest } from "../gpu.ts";
import { createWebGpuBackend } from "../../kernels/webgpu/backend.ts";
import { testReferenceModels } from "./reference_models.ts";

testReferenceModels("webgpu", () => createWebGpuBackend(), gpuTest);
