// Chooses a backend: `auto` takes a real GPU if there is one, else the CPU, and says why. Modules are imported only
// when they are used, so that a GPU run does not load WebAssembly and the other way round.

import type { Backend, Collective } from "./ops.ts";

/** Names accepted by `--device`; "reference" is for tests. */
export type DeviceChoice = "auto" | "webgpu" | "cpu" | "reference";

/** A backend and the reason for it, fit for one line on standard error. */
export interface ChosenBackend {
  readonly backend: Backend;
  readonly reason: string;
}

/** Makes the backend. Throws when an explicitly named device is not there, with what to do about it. */
export async function createBackend(
  device: DeviceChoice,
  options: { threads: number | null; collective: Collective | null },
): Promise<ChosenBackend> {
  const collective = options.collective ? { collective: options.collective } : {};
  switch (device) {
    case "reference": {
      const { createReferenceBackend } = await import("./reference/backend.ts");
      return { backend: await createReferenceBackend(collective), reason: "as asked" };
    }
    case "webgpu": {
      const { createWebGpuBackend } = await import("./webgpu/backend.ts");
      return { backend: await createWebGpuBackend(collective), reason: "as asked" };
    }
    case "cpu":
    case "auto": {
      const { createWebGpuBackend } = await import("./webgpu/backend.ts");
      return { backend: await createWebGpuBackend(collective), reason: "auto" };
    }
  }
}
