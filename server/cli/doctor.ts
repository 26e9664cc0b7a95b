// `radish doctor`: what this machine can run on, and what is missing, with the command that mends it.

import { type CudaReport, probeCuda } from "../../kernels/cuda/find.ts";
import { adapterRemedy, probeWebGpu, type WebGpuReport } from "../../kernels/webgpu/device/device.ts";
import { hasDeviceSelectLayer, listGpus, type PciGpu } from "../../kernels/webgpu/device/gpus.ts";
import { dtypeOptions } from "../../engine/weights/device_types.ts";
import { dtypes } from "../../kernels/formats/mod.ts";
import type { doctorOptions, Parsed } from "./command_options.ts";
import { printLine } from "./output.ts";
import { versionText } from "./version.ts";

/** Something to mend: what it is and the command that does it, if there is one. */
interface Finding {
  readonly problem: string;
  readonly remedy: string;
  /** Arguments for apt-get, when that would do. */
  readonly packages: readonly string[];
}

/** GPUs on the bus, and whether one can be chosen. */
interface Gpus {
  readonly all: readonly PciGpu[];
  readonly selectable: boolean;
}

/** Runs the command. */
export async function doctor({ fix, json }: Parsed<typeof doctorOptions>): Promise<number> {
  const cuda = await probeCuda();
  const gpu = await probeWebGpu();
  const gpus = { all: await listGpus(), selectable: await hasDeviceSelectLayer() };
  const finding = cuda.problem === null
    ? null
    : gpu === null || gpu.software
    ? await examine(gpu)
    : examineGpus(gpus);
  if (fix && finding !== null && finding.packages.length > 0) {
    if (!await canInstall()) {
      console.error(`radish: cannot install here (not root, or no apt-get). Run: ${finding.remedy}`);
      return 1;
    }
    await install(finding.packages);
    // This process has already loaded its Vulkan libraries; a new one sees the new driver.
    console.error("radish: installed; run `radish doctor` again to see the result");
    return 0;
  }
  const memory = Deno.systemMemoryInfo();
  const report = {
    version: versionText(),
    system: {
      os: Deno.build.os,
      architecture: Deno.build.arch,
      cores: navigator.hardwareConcurrency,
      memoryBytes: memory.total,
      availableBytes: memory.available,
    },
    cuda,
    webgpu: gpu,
    gpus: gpus.all,
    gpusSelectable: gpus.selectable,
    cpu: { threads: navigator.hardwareConcurrency, simd: supportsSimd(), relaxedSimd: supportsRelaxedSimd() },
    auto: cuda.problem === null ? "cuda" : gpu !== null && !gpu.software ? "webgpu" : "cpu",
    finding: finding && { problem: finding.problem, remedy: finding.remedy },
  };
  if (json) printLine(JSON.stringify(report, null, 2));
  else print(report, cuda, gpu, gpus, finding);
  return 0;
}

/** What `auto` comes to, in words. */
const autoTakes: Readonly<Record<string, string>> = {
  cuda: "the GPU, through CUDA, if it passes the self-test",
  webgpu: "the GPU, through WebGPU",
  cpu: "the CPU",
};

function print(
  report: {
    version: string;
    system: { cores: number; memoryBytes: number; availableBytes: number };
    auto: string;
  },
  cuda: CudaReport,
  gpu: WebGpuReport | null,
  gpus: Gpus,
  finding: Finding | null,
): void {
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  const row = (name: string, text: string) => printLine(name.padEnd(10) + text);
  const { cores, memoryBytes, availableBytes } = report.system;
  printLine(report.version + "\n");
  row(
    "system",
    `${Deno.build.os} ${Deno.build.arch}, ${cores} cores, ${gib(memoryBytes)} memory (${
      gib(availableBytes)
    } free)`,
  );
  if (cuda.driver !== null || cuda.cuda !== null) {
    row("CUDA", `driver ${cuda.driver ?? "of unknown version"}, which knows CUDA ${cuda.cuda}`);
  }
  for (const [i, { name, capability, memoryBytes, address }] of cuda.devices.entries()) {
    row("", `${i}: ${address}  ${name}, compute capability ${capability / 10}, ${gib(memoryBytes)}`);
  }
  for (const line of reachLines(cuda)) row("", line);
  if (cuda.problem !== null) row(cuda.cuda === null ? "CUDA" : "", `not used: ${cuda.problem}`);
  if (gpu === null) row("WebGPU", "no adapter");
  else {
    const { subgroup, limits } = gpu;
    row(
      "WebGPU",
      gpu.description + (gpu.software ? " — a software imitation, slower than the CPU backend" : ""),
    );
    row(
      "",
      `features: ${gpu.features.join(", ") || "none"}; subgroups of ${subgroup.min} to ${subgroup.max}`,
    );
    row(
      "",
      `buffers to ${gib(limits.maxBufferSize)}, bindings to ${gib(limits.maxStorageBufferBindingSize)}, ` +
        `workgroup memory ${limits.maxComputeWorkgroupStorageSize / 1024} KiB`,
    );
  }
  gpus.all.forEach(({ address, name }, i) => row(i === 0 ? "GPUs" : "", `${address}  ${name}`));
  if (gpus.all.length > 1) {
    row(
      "",
      gpus.selectable ? "--gpus chooses; --tp gives alike ones a rank each" : "ranks of --tp share one",
    );
  }
  const simd = supportsRelaxedSimd()
    ? "relaxed SIMD"
    : supportsSimd()
    ? "SIMD, not relaxed: slower"
    : "no SIMD";
  row("CPU", `${cores} threads, WebAssembly ${simd}`);
  row("weights", `${dtypes.join(", ")}; made by --dtype: ${dtypeOptions.slice(1).join(", ")}`);
  row("cache", "16 bits a number; with --kv-dtype int8 eight, and a scale per token and head");
  printLine(`\n--device auto takes ${autoTakes[report.auto] ?? report.auto}.`);
  if (finding !== null) printLine(`\n${finding.problem}\n  ${finding.remedy}`);
}

/** Which GPUs see each other's memory, so that ranks of --tp add up without the host. */
function reachLines({ devices, reach }: CudaReport): string[] {
  const links = reach.map((row) => row.filter((link) => link !== "own"));
  const [first] = links.flat();
  if (first === undefined) return [];
  if (links.flat().every((link) => link === first)) {
    return [first === "none" ? "no GPU sees another's memory" : `all see each other's memory over ${first}`];
  }
  return devices.map((_, i) => {
    const to = reach[i]!.flatMap((link, j) =>
      link === "own" ? [] : [`${j} ${link === "none" ? "not" : link}`]
    );
    return `${i} sees the memory of ${to.join(", ")}`;
  });
}

/** Several GPUs, of which only one can be used. */
function examineGpus({ all, selectable }: Gpus): Finding | null {
  if (all.length < 2 || selectable) return null;
  return {
    problem: "There are several GPUs, but they cannot be told apart without Mesa's device-select layer.",
    remedy: "apt-get update && apt-get install -y mesa-vulkan-drivers",
    packages: ["mesa-vulkan-drivers"],
  };
}

/** Why there is no real GPU, as far as it can be seen from here. */
async function examine(gpu: WebGpuReport | null): Promise<Finding | null> {
  if (Deno.build.os === "linux" && await hasNvidiaDriver()) {
    const packages = ["libvulkan1", "libegl1", "libgl1", "libx11-6", "libxext6"];
    return {
      problem:
        "There is an NVIDIA GPU, but Vulkan does not find it: usually its driver lacks these libraries.",
      remedy: `apt-get update && apt-get install -y ${packages.join(" ")}` +
        (await exists("/usr/share/vulkan/icd.d/nvidia_icd.json")
          ? ""
          : "   (and point VK_DRIVER_FILES at nvidia_icd.json)"),
      packages,
    };
  }
  if (gpu !== null) return null;
  return {
    problem: "There is no WebGPU adapter. That is no problem for --device cpu; for --device webgpu:",
    remedy: Deno.build.os === "linux" && await exists("/usr/bin/apt-get")
      ? "apt-get update && apt-get install -y mesa-vulkan-drivers"
      : adapterRemedy(),
    packages: Deno.build.os === "linux" ? ["mesa-vulkan-drivers"] : [],
  };
}

/** A release may not look into /dev, so the driver's tool counts too. */
async function hasNvidiaDriver(): Promise<boolean> {
  return await exists("/dev/nvidiactl") || await exists("/usr/bin/nvidia-smi");
}

async function canInstall(): Promise<boolean> {
  return Deno.build.os === "linux" && Deno.uid() === 0 && await exists("/usr/bin/apt-get");
}

async function install(packages: readonly string[]): Promise<void> {
  for (const args of [["update"], ["install", "-y", "--no-install-recommends", ...packages]]) {
    console.error(`radish: apt-get ${args.join(" ")}`);
    const { success } = await new Deno.Command("apt-get", { args, stdout: "null", stderr: "inherit" })
      .output();
    if (!success) throw new Error(`apt-get ${args[0]} failed; its messages are above`);
  }
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** A module whose only function is `body`, after the header. */
function validates(...body: number[]): boolean {
  const code = [0, ...body, 0x0b];
  return WebAssembly.validate(
    Uint8Array.of(
      ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // magic, version
      ...[1, 5, 1, 0x60, 0, 1, 0x7b], // one type: () → v128
      ...[3, 2, 1, 0], // one function of it
      ...[10, code.length + 2, 1, code.length, ...code],
    ),
  );
}

const zero = [0xfd, 0x0c, ...new Array<number>(16).fill(0)]; // v128.const 0

function supportsSimd(): boolean {
  return validates(...zero);
}

function supportsRelaxedSimd(): boolean {
  return validates(...zero, ...zero, ...zero, 0xfd, 0x85, 0x02); // f32x4.relaxed_madd
}
