// Tests whose judge is PyPI's gguf package: files and values that are not made by our own code.

import { hasPython, python } from "../../../python.ts";

const available = await hasPython("gguf", "numpy");

/** Runs a script beside this file; returns what it prints, as JSON. */
export async function runPython<T>(script: string, ...args: string[]): Promise<T> {
  return await python<T>(new URL(script, import.meta.url), null, ...args);
}

/** A test with a folder of its own; it counts as ignored, with the reason in its name, where the package is missing, or what else it needs. */
export function ggufTest(name: string, body: (folder: string) => Promise<void>, possible = true): void {
  Deno.test({
    name: available ? name : `${name} (ignored: python3 has no gguf)`,
    ignore: !available || !possible,
    fn: async () => {
      const folder = await Deno.makeTempDir();
      try {
        await body(folder);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}
