import { testTensorParallel } from "./tp.ts";

testTensorParallel("cpu", { longest: 120, maxTokens: 8 });
