// Tests that need programs beside Deno. Where one is missing they are reported as ignored, with the reason on standard
// error.

import type { Register } from "./gpu.ts";

const missing = new Set<string>();

/** Whether a program is on the PATH. */
export function hasProgram(name: string): boolean {
  const folders = (Deno.env.get("PATH") ?? "").split(Deno.build.os === "windows" ? ";" : ":");
  return folders.some((folder) => {
    try {
      return Deno.statSync(`${folder}/${name}`).isFile;
    } catch {
      return false;
    }
  });
}

/** Registers tests that need these programs; the shape of `Deno.test(name, fn)`. */
export function testWith(...programs: readonly string[]): Register {
  const absent = programs.filter((program) => !hasProgram(program));
  for (const program of absent) {
    if (!missing.has(program)) console.error(`tests that need ${program} are ignored: it is not on the PATH`);
    missing.add(program);
  }
  return (name, fn) => Deno.test({ name, ignore: absent.length > 0, fn });
}
