// Structured output on WebGPU.

import { gpuTest } from "../gpu.ts";
import { testStructured } from "./structured.ts";

testStructured("webgpu", 1, gpuTest);
