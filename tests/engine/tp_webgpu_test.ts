import { testTensorParallel } from "./tp.ts";

testTensorParallel("webgpu", { longest: 16, maxTokens: 8 });
