// Tests that need a WebGPU adapter. They run on whatever adapter there is, a software one included. Where there is
// none they are reported as ignored, with the reason on standard error; with RADISH_REQUIRE_GPU set (as in CI) they
// run all the same, and fail. RADISH_QUICK leaves a software adapter out: it takes three quarters of the tests' time.

import { GpuDevice } from "../kernels/webgpu/device/device.ts";
import { cudaTest } from "./cuda.ts";

/** Registers a test; the shape of `Deno.test(name, fn)`. */
export type Register = (name: string, fn: (context: Deno.TestContext) => void | Promise<void>) => void;

async function findProblem(): Promise<string | null> {
  try {
    using device = await GpuDevice.open();
    const slow = device.caps.software && Deno.env.get("RADISH_QUICK");
    return slow ? "this GPU is software, and RADISH_QUICK leaves it out" : null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const problem = await findProblem();
const ignore = problem !== null && !Deno.env.get("RADISH_REQUIRE_GPU");
if (ignore) console.error(`WebGPU tests are ignored: ${problem}`);

/** Registers a test that needs a device. */
export const gpuTest: Register = (name, fn) => Deno.test({ name, ignore, fn });

/** How tests of an engine's device are registered. */
export function testOn(device: string): Register {
  return device === "webgpu" ? gpuTest : device === "cuda" ? cudaTest : Deno.test;
}
