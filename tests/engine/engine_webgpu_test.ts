import { gpuTest } from "../gpu.ts";
import { testEngine } from "./engine.ts";

testEngine("webgpu", gpuTest);
