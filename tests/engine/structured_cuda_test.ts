// Structured output on CUDA, where constrained rows are drawn later, and as on a CPU.

import { cudaTest } from "../cuda.ts";
import { testStructured } from "./structured.ts";

testStructured("cuda", 1, cudaTest, { drawLater: true });
testStructured("cuda", 1, cudaTest, { drawLater: false });
