// `deno task doc:lint`: the interfaces that others use are documented and have explicit types (`deno doc --lint`): the
// engine's, the messages', the operations' and the formats'. What a folder keeps to itself says what it must in its
// own way.
//
// Left out are types that a file imports: the linter takes them for private ones.

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

/** What is documented. */
const interfaces = [
  "engine/mod.ts",
  "engine/messages.ts",
  "engine/model/config.ts",
  "engine/model/layers.ts",
  "engine/scheduler/config.ts",
  "kernels/backend.ts",
  "kernels/formats/mod.ts",
  "kernels/formats/format.ts",
  "kernels/ops.ts",
  "kernels/plan.ts",
  "kernels/sampling.ts",
];

/** What the linter finds in the interfaces. */
export async function lintDocs(): Promise<Finding[]> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--lint", ...interfaces],
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

function parseFindings(printed: string): Finding[] {
  const found = printed.matchAll(/^error\[[\w-]+\]: (.*)\n +--> (.*):(\d+):\d+$/gm);
  return [...found].map(([, message, path, line]) => ({
    file: path!.replaceAll("\\", "/").replace(`${root}/`, ""),
    line: Number(line),
    message: message!,
  }));
}

/** Whether the finding is about a type that the file imports. */
async function isForeignType({ file, message }: Finding): Promise<boolean> {
  const name = /references private type '([^']+)'/.exec(message)?.[1];
  if (name === undefined) return false;
  const source = await Deno.readTextFile(`${root}/${file}`);
  return [...source.matchAll(/^import ([^;]*) from "[^"]+";/gm)]
    .some(([, names]) => new RegExp(`\\b${name}\\b`).test(names!));
}

if (import.meta.main) {
  const findings = await lintDocs();
  for (const { file, line, message } of findings) console.log(`${file}:${line}: ${message}`);
  console.log(`${findings.length} findings`);
  Deno.exit(findings.length > 0 ? 1 : 0);
}
