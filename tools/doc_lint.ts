// `deno task doc:lint`: every exported symbol is documented and has explicit types (`deno doc --lint`).
//
// Left out are types of npm packages in a signature, which the linter takes for private ones, and the types of the HTTP
// schemas, which zod infers.

import { root } from "./contents.ts";

/** Something undocumented. */
export interface Finding {
  /** Relative to the root. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** What is wrong, in a few words. */
  readonly message: string;
}

/** What the linter finds in the program and its tools. */
export async function lintDocs(): Promise<Finding[]> {
  const files = (await Promise.all(["engine", "kernels", "server", "tools"].map(modulesIn))).flat();
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--lint", "main.ts", ...files],
    cwd: root,
    env: { NO_COLOR: "1" },
  }).output();
  const printed = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  const findings = parseFindings(printed);
  if (!success && findings.length === 0) throw new Error(printed);
  const kept: Finding[] = [];
  for (const finding of findings) if (!await isForeignType(finding)) kept.push(finding);
  return kept;
}

/** All modules of a folder but those in AssemblyScript, and the script that compiles them. */
async function modulesIn(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(`${root}/${folder}`)) {
    const path = `${folder}/${name}`;
    if (path === "kernels/cpu/assembly" || path === "kernels/cpu/build.ts") continue;
    if (isDirectory) found.push(...await modulesIn(path));
    else if (name.endsWith(".ts")) found.push(path);
  }
  return found;
}

function parseFindings(printed: string): Finding[] {
  const found = printed.matchAll(/^error\[[\w-]+\]: (.*)\n +--> (.*):(\d+):\d+$/gm);
  return [...found].map(([, message, path, line]) => ({
    file: path!.replaceAll("\\", "/").replace(`${root}/`, ""),
    line: Number(line),
    message: message!,
  }));
}

/** Whether the finding is about a type that the file imports from a package, or that a schema infers. */
async function isForeignType({ file, message }: Finding): Promise<boolean> {
  if (file.startsWith("server/http/schemas/") && !message.includes("JSDoc")) return true;
  const name = /references private type '([^']+)'/.exec(message)?.[1];
  if (name === undefined) return false;
  const source = await Deno.readTextFile(`${root}/${file}`);
  const imports = [...source.matchAll(/^import ([^;]*) from "([^"]+)";/gm)];
  return imports.some(([, names, from]) =>
    !from!.startsWith(".") && new RegExp(`\\b${name}\\b`).test(names!)
  );
}

if (import.meta.main) {
  const findings = await lintDocs();
  for (const { file, line, message } of findings) console.log(`${file}:${line}: ${message}`);
  console.log(`${findings.length} findings`);
  Deno.exit(findings.length > 0 ? 1 : 0);
}
