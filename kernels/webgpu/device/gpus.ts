// Which GPU a rank takes, where a machine has several.
//
// WebGPU has no list of adapters, only a choice between a fast and a frugal one, so it cannot tell equal GPUs apart.
// On Linux Mesa's device-select layer can: it works in front of every Vulkan driver, also NVIDIA's, and puts the GPU at
// the bus address in DRI_PRIME first. It reads the variable when a Vulkan instance is made, and every worker of the
// runtime makes its own with its first adapter. So ranks that set the variable and open their device one after the
// other get one GPU each. Elsewhere all ranks share the adapter that WebGPU gives.

import type { DevicePlace } from "../../ops.ts";

/** A GPU on the bus that this process may use. */
export interface PciGpu {
  /** For example "0000:17:00.0". */
  readonly address: string;
  /** Vendor and device in hexadecimal, for example "10de:2335": equal for GPUs of one kind. */
  readonly kind: string;
  /** For people. */
  readonly name: string;
  /** Where it is known. */
  readonly uuid?: string;
}

const vendors: Readonly<Record<string, string>> = { "1002": "AMD", "10de": "NVIDIA", "8086": "Intel" };

const layerFolders = ["/usr/share", "/usr/local/share", "/etc"];

/** The GPUs of this machine in the order of their addresses; empty where that cannot be known. `root` is for tests. */
export async function listGpus(root = ""): Promise<PciGpu[]> {
  const bus = `${root}/sys/bus/pci/devices`;
  const gpus: PciGpu[] = [];
  for (const address of (await names(bus)).sort()) {
    const field = async (name: string) => (await text(`${bus}/${address}/${name}`)).trim().replace(/^0x/, "");
    // Display controllers, with and without an output.
    if (!(await field("class")).startsWith("03")) continue;
    const [vendor, device] = [await field("vendor"), await field("device")];
    const name = vendor === "10de"
      ? await nvidiaName(root, address)
      : await openable(root, `${bus}/${address}`)
      ? `${vendors[vendor] ?? "GPU"} ${vendor}:${device}`
      : null;
    if (name !== null) gpus.push({ address, kind: `${vendor}:${device}`, name });
  }
  return gpus;
}

/** Whether Mesa's device-select layer is there, without which the ranks cannot choose. */
export async function hasDeviceSelectLayer(root = ""): Promise<boolean> {
  if (Deno.env.has("NODEVICE_SELECT")) return false;
  const found = await Promise.all(
    layerFolders.map(async (folder) => (await names(`${root}${folder}/vulkan/implicit_layer.d`))),
  );
  return found.flat().some((name) => name.startsWith("VkLayer_MESA_device_select"));
}

/**
 * Gives each of `ranks` ranks a GPU: those of `wanted` in turn (addresses, UUIDs, or places in `gpus`), else those of
 * the kind that there are most of, if there are several and they can be told apart.
 * @throws {Error} naming what of `wanted` is no GPU, or why none can be chosen
 */
export function placeRanks(
  ranks: number,
  wanted: readonly string[],
  gpus: readonly PciGpu[],
  selectable: boolean,
): DevicePlace[] {
  const asked = wanted.map((name) => {
    const found = findGpu(name, gpus);
    if (found !== undefined) return found.address;
    const known = gpus.map(({ address }, i) => `${i}: ${address}`).join(", ") || "none can be seen";
    throw new Error(`--gpus: there is no GPU ${name} (${known})`);
  });
  if (wanted.length > 0 && !selectable) {
    throw new Error("--gpus needs Mesa's device-select layer: apt-get install -y mesa-vulkan-drivers");
  }
  const chosen = asked.length > 0 ? asked : ranks > 1 && selectable ? mostOfAKind(gpus) : [];
  if (chosen.length === 0) return Array.from({ length: ranks }, () => ({ address: null, sharing: ranks }));
  const addresses = Array.from({ length: ranks }, (_, rank) => chosen[rank % chosen.length]!);
  return addresses.map((address) => ({
    address,
    sharing: addresses.filter((other) => other === address).length,
  }));
}

/** The GPU that an address, the beginning of a UUID, or a place in the list stands for. */
function findGpu(name: string, gpus: readonly PciGpu[]): PciGpu | undefined {
  if (/^\d{1,3}$/.test(name)) return gpus[Number(name)];
  const text = name.toLowerCase();
  if (text.startsWith("gpu-")) {
    const found = gpus.filter(({ uuid }) => uuid?.toLowerCase().startsWith(text));
    return found.length === 1 ? found[0] : undefined;
  }
  // Tools write the domain with four digits, with eight, or not at all.
  const address = text.replace(
    /^(?:0{4})?([0-9a-f]{4}:)?(?=[0-9a-f]{2}:[0-9a-f]{2}\.)/,
    (_, domain) => domain ?? "0000:",
  );
  return gpus.find((gpu) => gpu.address === address);
}

/** Makes the GPU at an address the one that this worker's first adapter stands for. */
export function selectGpu(address: string): void {
  Deno.env.set("DRI_PRIME", `pci-${address.replaceAll(/[:.]/g, "_")}`);
}

/** Addresses of the kind that there are most of; none if there is only one of each. */
function mostOfAKind(gpus: readonly PciGpu[]): string[] {
  const kinds = Object.values(Object.groupBy(gpus, ({ kind }) => kind)).map((same) => same ?? []);
  const most = kinds.reduce((most, same) => same.length > most.length ? same : most, []);
  return most.length > 1 ? most.map(({ address }) => address) : [];
}

/** What the driver calls it; null where the driver does not show it to this process, as in a container. */
async function nvidiaName(root: string, address: string): Promise<string | null> {
  const information = await text(`${root}/proc/driver/nvidia/gpus/${address}/information`);
  return /^Model:\s*(.+)$/m.exec(information)?.[1]?.trim() ?? null;
}

/** Whether a driver of the kernel's graphics system shows the device to this process. */
async function openable(root: string, device: string): Promise<boolean> {
  const nodes = (await names(`${device}/drm`)).filter((name) => name.startsWith("renderD"));
  const devices = await names(`${root}/dev/dri`);
  return nodes.some((name) => devices.includes(name));
}

async function names(folder: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);
  } catch {
    return []; // another system, or nothing to see
  }
}

async function text(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch {
    return "";
  }
}
