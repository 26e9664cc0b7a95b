// Every operation of the CPU backend against the reference: alone, with more threads than there is work for, in the
// build without relaxed SIMD, and spread over memories of eight mebibytes.

import { createCpuBackend } from "../../../kernels/cpu/backend.ts";
import { testBackend } from "../conformance.ts";

testBackend("cpu, 1 thread", () => createCpuBackend({ threads: 1 }));
testBackend("cpu, 3 threads", () => createCpuBackend({ threads: 3, allThreads: "always" }));
testBackend(
  "cpu, plain SIMD",
  () => createCpuBackend({ threads: 2, allThreads: "always", plain: true }),
);
