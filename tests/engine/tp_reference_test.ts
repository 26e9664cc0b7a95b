import { testTensorParallel } from "./tp.ts";

testTensorParallel("reference", 8);
