import { testTensorParallel } from "./tp.ts";

testTensorParallel("cpu", 8);
