// Chooses a backend: `auto` takes CUDA where it works, else another real GPU if there is one, else the CPU, and says
// why. Modules are imported only when they are used, so that a GPU run does not load WebAssembly and the other way
// round.

import type { Backend, Collective, DevicePlace } from "./ops.ts";

/** Names accepted by `--device`; "reference" is for tests. */
export type DeviceChoice = "auto" | "cuda" | "webgpu" | "cpu" | "reference";

/** A backend and the reason for it, fit for one line on standard error. */
export interface ChosenBackend {
  /** Ready for weights. */
  readonly backend: Backend;
  /** Why this one. */
  readonly reason: string;
}

/** What a backend is made with. */
export interface BackendOptions {
  /** Threads of a CPU backend; null takes all cores. */
  readonly threads: number | null;
  /** The group it belongs to; null for a single rank. */
  readonly collective: Collective | null;
  /** Which device it takes. */
  readonly place: DevicePlace;
}

/**
 * The device of each rank; where it is not a GPU, all share what there is. `wanted` are indices, UUIDs or bus addresses
 * of GPUs.
 * @throws {Error} naming a GPU that is not there, or why none can be chosen
 */
export async function placeRanks(
  device: DeviceChoice,
  ranks: number,
  wanted: readonly string[],
): Promise<DevicePlace[]> {
  const choosing = device !== "cpu" && device !== "reference" && (ranks > 1 || wanted.length > 0);
  if (!choosing) return Array.from({ length: ranks }, () => ({ address: null, sharing: ranks }));
  const gpus = await import("./webgpu/device/gpus.ts");
  if (device !== "webgpu") {
    const { listCudaGpus } = await import("./cuda/find.ts");
    const found = await listCudaGpus();
    // Each can be had by its address; none is found where CUDA cannot be used.
    if (found.length > 0 || device === "cuda") return gpus.placeRanks(ranks, wanted, found, true);
  }
  return gpus.placeRanks(ranks, wanted, await gpus.listGpus(), await gpus.hasDeviceSelectLayer());
}

/**
 * "auto" settled in the process that starts the ranks, where there is neither CUDA nor a real GPU, with the reason;
 * else the choice as it is. A worker that has touched a software adapter can crash while the process exits: Mesa's
 * driver is torn down on one thread while it is used on another (seen in 5 of 40 runs).
 */
export async function settleDevice(
  device: DeviceChoice,
): Promise<{ device: DeviceChoice; reason: string | null }> {
  if (device !== "auto") return { device, reason: null };
  const { probeCuda } = await import("./cuda/find.ts");
  if ((await probeCuda()).problem === null) return { device, reason: null };
  const reason = await whyNotGpu();
  return reason === null ? { device, reason } : { device: "cpu", reason };
}

/** Makes the backend. Throws when an explicitly named device is not there, with what to do about it. */
export async function createBackend(
  device: DeviceChoice,
  options: BackendOptions,
): Promise<ChosenBackend> {
  switch (device) {
    case "reference": {
      const { createReferenceBackend } = await import("./reference/backend.ts");
      const collective = options.collective === null ? {} : { collective: options.collective };
      return { backend: await createReferenceBackend(collective), reason: "as asked" };
    }
    case "cuda": {
      const { createCudaBackend } = await import("./cuda/backend.ts");
      return { backend: await createCudaBackend(cudaOptions(options)), reason: "as asked" };
    }
    case "webgpu": {
      return { backend: await webGpuBackend(options), reason: "as asked" };
    }
    case "cpu": {
      return { backend: await cpuBackend(options), reason: "as asked" };
    }
    case "auto": {
      const cuda = await tryCuda(options);
      if (typeof cuda !== "string") {
        return { backend: cuda, reason: "an NVIDIA GPU and its driver were found" };
      }
      await selectPlace(options.place);
      const why = await whyNotGpu();
      if (why !== null) return { backend: await cpuBackend(options), reason: why };
      return {
        backend: await webGpuBackend(options),
        reason: `a GPU was found, but not for CUDA: ${cuda}`,
      };
    }
  }
}

/** A backend on CUDA, or why there is none. Its kernels are only loaded where there is a GPU for them. */
async function tryCuda(options: BackendOptions): Promise<Backend | string> {
  const { probeCuda } = await import("./cuda/find.ts");
  const { problem } = await probeCuda();
  if (problem !== null) return problem;
  const { createTestedCudaBackend } = await import("./cuda/backend.ts");
  try {
    return await createTestedCudaBackend(cudaOptions(options));
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const cudaOptions = ({ collective, place }: BackendOptions) => ({
  ...(collective === null ? {} : { collective }),
  address: place.address,
  peers: Deno.env.get("RADISH_CUDA_PEERS") !== "0",
});

async function webGpuBackend({ collective, place }: BackendOptions): Promise<Backend> {
  await selectPlace(place);
  const { createWebGpuBackend } = await import("./webgpu/backend.ts");
  return await createWebGpuBackend(collective === null ? {} : { collective });
}

/** Makes the GPU of a place the one that this worker's first adapter stands for. */
async function selectPlace(place: DevicePlace): Promise<void> {
  if (place.address === null) return;
  const { selectGpu } = await import("./webgpu/device/gpus.ts");
  selectGpu(place.address);
}

async function cpuBackend(options: BackendOptions): Promise<Backend> {
  const { createCpuBackend } = await import("./cpu/backend.ts");
  return await createCpuBackend({
    ...(options.threads === null ? {} : { threads: options.threads }),
    ...(options.collective === null ? {} : { collective: options.collective }),
  });
}

/** Null when there is a real GPU; else what there is instead. */
async function whyNotGpu(): Promise<string | null> {
  const { isSoftware, requestAdapter } = await import("./webgpu/device/device.ts");
  const adapter = await requestAdapter();
  if (adapter === null) return "there is no GPU adapter";
  return isSoftware(adapter.info) ? `the only adapter, ${adapter.info.description}, is software` : null;
}
