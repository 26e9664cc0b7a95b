import { testTensorParallel } from "./tp.ts";

testTensorParallel("webgpu", 8);
