// Tests that need a WebGPU adapter. They run on whatever adapter there is, a software one included. Where there is
// none they are reported as ignored, with the reason on standard error; with RADISH_REQUIRE_GPU set (as in CI) they
// run all the same, and fail.

import { GpuDevice } from "../kernels/webgpu/device/device.ts";

/** Registers a test; the shape of `Deno.test(name, fn)`. */
export type Register = (name: string, fn: () => void | Promise<void>) => void;

async function findProblem(): Promise<string | null> {
  try {
    (await GpuDevice.open())[Symbol.dispose]();
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const problem = await findProblem();
const ignore = problem !== null && !Deno.env.get("RADISH_REQUIRE_GPU");
if (ignore) console.error(`WebGPU tests are ignored: ${problem}`);

/** Registers a test that needs a device. */
export const gpuTest: Register = (name, fn) => Deno.test({ name, ignore, fn });
