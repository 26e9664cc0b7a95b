import { testTensorParallel } from "./tp.ts";

testTensorParallel("reference", { longest: 33, maxTokens: 8 });
