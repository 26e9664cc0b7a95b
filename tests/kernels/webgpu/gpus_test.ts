import assert from "node:assert/strict";
import { hasDeviceSelectLayer, listGpus, placeRanks } from "../../../kernels/webgpu/device/gpus.ts";

/** A file system as a machine with GPUs shows it. */
async function machine(files: Readonly<Record<string, string>>): Promise<AsyncDisposable & { root: string }> {
  const root = await Deno.makeTempDir({ prefix: "radish-test-" });
  for (const [path, content] of Object.entries(files)) {
    await Deno.mkdir(`${root}/${path.slice(0, path.lastIndexOf("/"))}`, { recursive: true });
    await Deno.writeTextFile(`${root}/${path}`, content);
  }
  return { root, [Symbol.asyncDispose]: () => Deno.remove(root, { recursive: true }) };
}

function device(address: string, className: string, vendor: string, id: string): Record<string, string> {
  const at = `sys/bus/pci/devices/${address}`;
  return { [`${at}/class`]: `${className}\n`, [`${at}/vendor`]: `${vendor}\n`, [`${at}/device`]: `${id}\n` };
}

const h200 = (address: string) => device(address, "0x030200", "0x10de", "0x2335");

Deno.test("GPUs are listed by bus address, and only those that a driver shows to this process", async () => {
  await using there = await machine({
    ...h200("0000:65:00.0"),
    ...h200("0000:17:00.0"),
    ...h200("0000:a1:00.0"), // another container's
    ...device("0000:03:00.0", "0x030000", "0x1002", "0x744c"),
    ...device("0000:04:00.0", "0x030000", "0x8086", "0x56a5"), // no render node
    ...device("0000:01:00.0", "0x020000", "0x8086", "0x1533"), // a network card
    "sys/bus/pci/devices/0000:03:00.0/drm/renderD128/dev": "226:128",
    "dev/dri/renderD128": "",
    "proc/driver/nvidia/gpus/0000:17:00.0/information": "Model: \t\t NVIDIA H200\nIRQ: 1\n",
    "proc/driver/nvidia/gpus/0000:65:00.0/information": "Model: \t\t NVIDIA H200\n",
    "usr/share/vulkan/implicit_layer.d/VkLayer_MESA_device_select.json": "{}",
  });
  assert.deepEqual(await listGpus(there.root), [
    { address: "0000:03:00.0", kind: "1002:744c", name: "AMD 1002:744c" },
    { address: "0000:17:00.0", kind: "10de:2335", name: "NVIDIA H200" },
    { address: "0000:65:00.0", kind: "10de:2335", name: "NVIDIA H200" },
  ]);
  assert.equal(await hasDeviceSelectLayer(there.root), true);
  assert.deepEqual(await listGpus(`${there.root}/nothing`), []);
  assert.equal(await hasDeviceSelectLayer(`${there.root}/nothing`), false);
});

const gpu = (address: string, kind: string) => ({ address, kind, name: kind });
const several = [gpu("a", "1:1"), gpu("b", "2:2"), gpu("c", "2:2"), gpu("d", "3:3")];

Deno.test("ranks take alike GPUs in turn, or those that are asked for, and know with how many they share", () => {
  const places = (ranks: number, wanted: string[], selectable = true) =>
    placeRanks(ranks, wanted, several, selectable).map(({ address, sharing }) => [address, sharing]);
  assert.deepEqual(places(2, []), [["b", 1], ["c", 1]]);
  assert.deepEqual(places(4, []), [["b", 2], ["c", 2], ["b", 2], ["c", 2]]);
  assert.deepEqual(places(3, ["d", "a"]), [["d", 2], ["a", 1], ["d", 2]]);
  assert.deepEqual(places(1, ["d"]), [["d", 1]]);
  // One rank takes what WebGPU prefers; and so do all where nothing can be chosen, or nothing is alike.
  assert.deepEqual(places(1, []), [[null, 1]]);
  assert.deepEqual(places(2, [], false), [[null, 2], [null, 2]]);
  assert.deepEqual(placeRanks(2, [], several.slice(0, 2), true)[1], { address: null, sharing: 2 });
});

Deno.test("a GPU that is not there, or cannot be chosen, is refused in one line", () => {
  assert.throws(() => placeRanks(2, ["e"], several, true), {
    message: "--gpus: there is no GPU e (0: a, 1: b, 2: c, 3: d)",
  });
  assert.throws(() => placeRanks(1, ["e"], [], true), {
    message: "--gpus: there is no GPU e (none can be seen)",
  });
  assert.throws(() => placeRanks(2, ["a"], several, false), /device-select layer: apt-get install/);
});

Deno.test("a GPU can be named by its place, by the beginning of its UUID, and by its address as other tools write it", () => {
  const gpus = [
    { ...gpu("0000:17:00.0", "1:1"), uuid: "GPU-4f2c0e5a-5d0e" },
    { ...gpu("0000:65:00.0", "1:1"), uuid: "GPU-4f2cffff-5d0e" },
  ];
  const place = (name: string) => placeRanks(1, [name], gpus, true)[0]!.address;
  for (const name of ["1", "GPU-4f2cf", "0000:65:00.0", "00000000:65:00.0", "65:00.0"]) {
    assert.equal(place(name), "0000:65:00.0", name);
  }
  for (const name of ["2", "GPU-4f2c", "GPU-1", "0001:65:00.0", "66:00.0"]) {
    assert.throws(() => place(name), /^Error: --gpus: there is no GPU/, name);
  }
});
