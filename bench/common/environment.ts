// Where a measurement was taken: without it a figure says nothing.

import { readCommit } from "../../server/cli/commit.ts";

/** Written into every result file. */
export interface Environment {
  /** ISO 8601, UTC. */
  readonly date: string;
  /** Of this repository, with "-dirty" when files differ; RADISH_COMMIT where git cannot tell. */
  readonly commit: string | null;
  readonly deno: string;
  readonly system: string;
  readonly processor: string;
  readonly cores: number;
  readonly memory_gib: number;
  /** Name and driver version as NVIDIA's own tool gives them; empty where it is not there. */
  readonly gpus: readonly { readonly name: string; readonly driver: string }[];
  /** Runnable tasks over the last minute, at the start: figures of a busy machine are low. */
  readonly load_average: number;
}

export async function environment(): Promise<Environment> {
  return {
    date: new Date().toISOString(),
    commit: readCommit() ?? Deno.env.get("RADISH_COMMIT") ?? null,
    deno: Deno.version.deno,
    system: `${Deno.build.os} ${Deno.osRelease()} ${Deno.build.arch}`,
    processor: await processor(),
    cores: navigator.hardwareConcurrency,
    memory_gib: Math.round(Deno.systemMemoryInfo().total / 2 ** 30),
    gpus: await nvidiaGpus(),
    load_average: Deno.loadavg()[0]!,
  };
}

async function processor(): Promise<string> {
  const text = await Deno.readTextFile("/proc/cpuinfo").catch(() => "");
  return /^model name\s*:\s*(.+)$/m.exec(text)?.[1] ?? "unknown";
}

async function nvidiaGpus(): Promise<Environment["gpus"]> {
  try {
    const args = ["--query-gpu=name,driver_version", "--format=csv,noheader"];
    const { success, stdout } = await new Deno.Command("nvidia-smi", { args, stderr: "null" }).output();
    if (!success) return [];
    return new TextDecoder().decode(stdout).trim().split("\n").map((line) => {
      const [name = "", driver = ""] = line.split(",").map((part) => part.trim());
      return { name, driver };
    });
  } catch {
    return []; // no such program
  }
}
