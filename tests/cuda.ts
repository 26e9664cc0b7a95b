// Tests that need an NVIDIA GPU. Where there is none they are reported as ignored, with the reason on standard error.

import { probeCuda } from "../kernels/cuda/find.ts";
import type { Register } from "./gpu.ts";

const { problem } = await probeCuda();
const ignore = problem !== null;
if (ignore) console.error(`CUDA tests are ignored: ${problem}`);

/** Registers a test that needs an NVIDIA GPU and its driver. */
export const cudaTest: Register = (name, fn) => Deno.test({ name, ignore, fn });
