// Every operation of the CPU backend against the reference, alone and with more threads than there is work for.

import { createCpuBackend } from "../../../kernels/cpu/backend.ts";
import { testBackend } from "../conformance.ts";

testBackend("cpu, 1 thread", () => createCpuBackend({ threads: 1 }));
testBackend("cpu, 3 threads", () => createCpuBackend({ threads: 3 }));
