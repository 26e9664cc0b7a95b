// The GPU device: which adapter, with which features and limits, and what goes wrong on it.
//
// wgpu grants more features than `adapter.features` lists, so each set of features is tried. WebGPU reports some errors
// as events (uncaptured errors, a lost device). They are kept, and the next call of `check` throws them; every step
// makes that call, so no failure is silent.

import type { DeviceInfo } from "../../ops.ts";
import type { DeviceCaps } from "../shader/kernel.ts";

/** No adapter at all: there is no driver, or the process may not use it. */
export class NoAdapterError extends Error {
  /** The error's name. */
  override readonly name = "NoAdapterError";
  constructor() {
    super(`no WebGPU adapter: ${adapterRemedy()}`);
  }
}

/** The device reported an error, or is gone. */
export class DeviceError extends Error {
  /** The error's name. */
  override readonly name = "DeviceError";
}

/** What to install so that there is an adapter, per system. */
export function adapterRemedy(): string {
  switch (Deno.build.os) {
    case "linux":
      return "install a Vulkan driver; for a GPU its maker's, for the software one on Debian or Ubuntu " +
        "`apt-get install -y mesa-vulkan-drivers`, on Fedora `dnf install mesa-vulkan-drivers`, on Arch " +
        "`pacman -S vulkan-swrast`; or use `--device cpu`";
    case "windows":
      return "update the graphics driver (DirectX 12 or Vulkan is needed), or use `--device cpu`";
    case "darwin":
      return "Metal is not available to this process (in a virtual machine it often is not); use `--device cpu`";
    default:
      return "install a Vulkan driver, or use `--device cpu`";
  }
}

const softwareNames = /llvmpipe|lavapipe|swiftshader|softpipe|basic render|software/i;

/** Whether an adapter is a software imitation of a GPU. */
export function isSoftware(
  info: Pick<GPUAdapterInfo, "vendor" | "architecture" | "device" | "description">,
): boolean {
  return softwareNames.test(`${info.vendor} ${info.architecture} ${info.device} ${info.description}`);
}

const wantedFeatures: readonly GPUFeatureName[] = ["subgroups", "shader-f16", "timestamp-query"];

/** Limits that kernels and buffers meet; the rest stay at their defaults. */
export const raisedLimits = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const;

/** Every subset of the wanted features, larger ones first. */
function featureSets(): GPUFeatureName[][] {
  const sets: GPUFeatureName[][] = [[]];
  for (const feature of wantedFeatures) sets.push(...sets.map((set) => [...set, feature]));
  return sets.sort((a, b) => b.length - a.length);
}

/** The fastest adapter there is, or null. */
export async function requestAdapter(): Promise<GPUAdapter | null> {
  const gpu: GPU | undefined = navigator.gpu;
  // The Vulkan loader complains on standard error where a session has no runtime directory, as in a container.
  if (Deno.build.os === "linux" && !Deno.env.get("XDG_RUNTIME_DIR")) Deno.env.set("XDG_RUNTIME_DIR", "/tmp");
  return await gpu?.requestAdapter({ powerPreference: "high-performance" }) ?? null;
}

/** A device with as many of the wanted features as it grants, limits raised to the adapter's. */
export async function openDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  const requiredLimits: Record<string, number> = {};
  for (const name of raisedLimits) requiredLimits[name] = adapter.limits[name];
  let refusal: unknown = null;
  for (const requiredFeatures of featureSets()) {
    try {
      return await adapter.requestDevice({ requiredFeatures, requiredLimits });
    } catch (error) {
      refusal = error;
    }
  }
  throw new DeviceError(
    `the adapter refuses a device: ${refusal instanceof Error ? refusal.message : refusal}`,
  );
}

function describe(info: GPUAdapterInfo): string {
  const name = info.description || info.device || info.vendor || "unnamed GPU";
  return info.architecture ? `${name} (${info.architecture})` : name;
}

/** A GPUDevice with what is known about it. */
export class GpuDevice implements Disposable {
  /** The device itself. */
  readonly device: GPUDevice;
  /** Its queue. */
  readonly queue: GPUQueue;
  /** What the adapter says about itself. */
  readonly info: GPUAdapterInfo;
  /** What kernels may depend on. */
  readonly caps: DeviceCaps;
  /** Alignment of dynamic and static binding offsets, in bytes. */
  readonly offsetAlignment: number;
  /** Largest buffer. */
  readonly maxBufferBytes: number;
  #failure: DeviceError | null = null;
  #disposed = false;

  private constructor(device: GPUDevice, info: GPUAdapterInfo, pretended: Partial<DeviceCaps>) {
    this.device = device;
    this.queue = device.queue;
    this.info = info;
    const { limits, features } = device;
    const software = isSoftware(info);
    this.caps = {
      minSubgroup: info.subgroupMinSize,
      maxSubgroup: info.subgroupMaxSize,
      f16: features.has("shader-f16"),
      maxWorkgroupBytes: limits.maxComputeWorkgroupStorageSize,
      maxWorkgroupThreads: limits.maxComputeInvocationsPerWorkgroup,
      maxBindingBytes: limits.maxStorageBufferBindingSize,
      parallelism: software ? navigator.hardwareConcurrency : 512,
      software,
      ...pretended,
    };
    this.offsetAlignment = limits.minStorageBufferOffsetAlignment;
    this.maxBufferBytes = limits.maxBufferSize;
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.fail((event as GPUUncapturedErrorEvent).error.message);
    });
    device.lost.then(({ reason, message }) => {
      if (!this.#disposed) this.fail(`the device is lost (${reason}): ${message}`);
    });
  }

  /**
   * Opens the fastest adapter. `pretended` replaces what was found out about it, for tests of the kernels that
   * another device would get.
   *
   * @throws {NoAdapterError} where there is none.
   * @throws {DeviceError} where it cannot be used.
   */
  static async open(pretended: Partial<DeviceCaps> = {}): Promise<GpuDevice> {
    const adapter = await requestAdapter();
    if (adapter === null) throw new NoAdapterError();
    const device = await openDevice(adapter);
    if (!device.features.has("subgroups") || adapter.info.subgroupMinSize < 4) {
      device.destroy();
      throw new DeviceError(`${describe(adapter.info)} has no subgroup operations, which the kernels need`);
    }
    return new GpuDevice(device, adapter.info, pretended);
  }

  /** The first error is the cause; what follows from it is noise. */
  fail(message: string): void {
    this.#failure ??= new DeviceError(message);
  }

  /**
   * Looks for failures that WebGPU reports out of band.
   * @throws {DeviceError} if the device has reported an error since it was opened.
   */
  check(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  /** For `Backend.info`. */
  describe(): DeviceInfo {
    const { software } = this.caps;
    const memoryBytes = software ? Math.floor(Deno.systemMemoryInfo().available / 2) : null;
    return { kind: "webgpu", description: describe(this.info), software, memoryBytes };
  }

  /** Destroys the device. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    this.device.destroy();
  }
}

/** What `doctor` shows about the adapter. */
export interface WebGpuReport {
  /** For people. */
  readonly description: string;
  /** As the driver says. */
  readonly vendor: string;
  /** As the driver says. */
  readonly architecture: string;
  /** As the driver says. */
  readonly device: string;
  /** True when it is a software imitation. */
  readonly software: boolean;
  /** What a device was granted. */
  readonly features: readonly string[];
  /** Smallest and largest number of lanes. */
  readonly subgroup: { readonly min: number; readonly max: number };
  /** The limits that matter here. */
  readonly limits: Readonly<Record<(typeof raisedLimits)[number], number>>;
}

/** Describes the adapter that {@link GpuDevice.open} would choose; null when there is none. */
export async function probeWebGpu(): Promise<WebGpuReport | null> {
  const adapter = await requestAdapter();
  if (adapter === null) return null;
  const device = await openDevice(adapter);
  const { info } = adapter;
  const limits = Object.fromEntries(raisedLimits.map((name) => [name, device.limits[name]]));
  const report: WebGpuReport = {
    description: describe(info),
    vendor: info.vendor,
    architecture: info.architecture,
    device: info.device,
    software: isSoftware(info),
    features: [...device.features],
    subgroup: { min: info.subgroupMinSize, max: info.subgroupMaxSize },
    limits: limits as WebGpuReport["limits"],
  };
  device.destroy();
  return report;
}
