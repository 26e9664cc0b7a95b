import { testTensorParallel } from "./tp.ts";

testTensorParallel("cuda", { longest: 120, maxTokens: 8 });
