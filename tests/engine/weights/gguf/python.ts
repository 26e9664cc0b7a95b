// Runs Python scripts that need PyPI's gguf package, for files and values that are not made by our own code.

const python = await find();

/** Why such a test cannot run; null where it can. */
export const whyNoGguf: string | null = python === null
  ? "python3 with the package gguf is not there (pip install gguf)"
  : null;

async function find(): Promise<string | null> {
  try {
    const { success } = await new Deno.Command("python3", {
      args: ["-c", "import gguf"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success ? "python3" : null;
  } catch {
    return null;
  }
}

/** Runs a script beside this file; returns what it prints. */
export async function runPython(script: string, ...args: string[]): Promise<string> {
  const path = decodeURIComponent(new URL(script, import.meta.url).pathname);
  const { success, stdout, stderr } = await new Deno.Command(python!, { args: [path, ...args] }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** A test that counts as ignored, with the reason in its name, where the package is missing. */
export function ggufTest(name: string, body: (folder: string) => Promise<void>): void {
  Deno.test({
    name: whyNoGguf === null ? name : `${name} (ignored: ${whyNoGguf})`,
    ignore: whyNoGguf !== null,
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
