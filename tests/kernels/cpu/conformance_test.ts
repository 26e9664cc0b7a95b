// Every operation of the CPU backend against the reference: alone, with more threads than there is work for, in the
// build without relaxed SIMD, and spread over memories of eight mebibytes.

import { createCpuBackend } from "../../../kernels/cpu/backend.ts";
import { formats } from "../../../kernels/formats/mod.ts";
import { testBackend, tolerance, type Tolerances } from "../conformance.ts";

/** Inputs of products with quantised weights are rounded to eight bits; two products follow each other in experts. */
const tolerances: Tolerances = (dtype) => formats[dtype].quantized ? 0.025 : tolerance;

testBackend("cpu, 1 thread", () => createCpuBackend({ threads: 1 }), Deno.test, tolerances);
testBackend(
  "cpu, 3 threads",
  () => createCpuBackend({ threads: 3, allThreads: "always" }),
  Deno.test,
  tolerances,
);
testBackend(
  "cpu, plain SIMD",
  () => createCpuBackend({ threads: 2, allThreads: "always", plain: true }),
  Deno.test,
  tolerances,
);
