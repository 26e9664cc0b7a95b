// Chooses a backend: `auto` takes a real GPU if there is one, else the CPU, and says why. Modules are imported only
// when they are used, so that a GPU run does not load WebAssembly and the other way round.

import type { Backend, Collective } from "./ops.ts";

/** Names accepted by `--device`; "reference" is for tests. */
export type DeviceChoice = "auto" | "webgpu" | "cpu" | "reference";

/** A backend and the reason for it, fit for one line on standard error. */
export interface ChosenBackend {
  /** Ready for weights. */
  readonly backend: Backend;
  /** Why this one. */
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
    case "cpu": {
      return { backend: await cpuBackend(options), reason: "as asked" };
    }
    case "auto": {
      const why = await whyNotGpu();
      if (why !== null) return { backend: await cpuBackend(options), reason: why };
      const { createWebGpuBackend } = await import("./webgpu/backend.ts");
      return { backend: await createWebGpuBackend(collective), reason: "a GPU was found" };
    }
  }
}

async function cpuBackend(options: { threads: number | null; collective: Collective | null }) {
  const { createCpuBackend } = await import("./cpu/backend.ts");
  return await createCpuBackend({
    ...(options.threads === null ? {} : { threads: options.threads }),
    ...(options.collective === null ? {} : { collective: options.collective }),
  });
}

/** Null when there is a real GPU; else what there is instead. */
async function whyNotGpu(): Promise<string | null> {
  const { isSoftware, requestAdapter } = await import("./webgpu/device.ts");
  const adapter = await requestAdapter();
  if (adapter === null) return "there is no GPU adapter";
  return isSoftware(adapter.info) ? `the only adapter, ${adapter.info.description}, is software` : null;
}
