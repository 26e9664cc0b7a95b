// `deno task compile [--target TRIPLE | --all | --check] [--allow-all]`: the program as executables, one per system, under dist/.
//
// `deno compile` puts Deno's runtime, the modules, the npm packages they import and the files of the embedded model
// into one file. It follows imports from main.ts; workers and the model have to be named.

import { parseArgs } from "node:util";
import { dist, entry, modelFiles, permissions, root, v8Flags } from "./contents.ts";
import { withCommitFile } from "./commit_file.ts";
import { differences, embeddedFiles, expectedFiles } from "./embedded_files.ts";
import { programFiles } from "./program_files.ts";
import { version } from "../server/cli/version.ts";

/** Systems for which Deno publishes its runtime. */
export const targets = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
  "aarch64-pc-windows-msvc",
] as const;

/** Compiles for one system to the file `output`; returns what `deno compile` printed. */
export async function compile(
  target: string,
  output: string,
  options: {
    /** For `deno compile`. */
    readonly env?: Readonly<Record<string, string>>;
    /** Instead of the permissions of a release. */
    readonly allowAll?: boolean;
  } = {},
): Promise<string> {
  const { workers } = await programFiles();
  return await withCommitFile(async (commitFile) => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["compile", "--config", "deno.json", "--frozen", "--exclude-unused-npm", v8Flags],
        ...options.allowAll ? ["--allow-all"] : permissions,
        ...[...workers, ...modelFiles, commitFile].flatMap((path) => ["--include", path]),
        ...["--target", target, "--output", output, entry],
      ],
      cwd: root,
      env: { NO_COLOR: "1", ...options.env },
    }).output();
    const printed = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    if (code !== 0) throw new Error(`deno compile for ${target} failed:\n${printed}`);
    return printed;
  });
}

/**
 * Compiles with this Deno in place of the runtime that would have to be downloaded: the result does not start, but
 * all is resolved and embedded. Returns how the embedded files differ from what is expected, a line each.
 */
export async function checkEmbedded(): Promise<string[]> {
  const folder = await Deno.makeTempDir({ prefix: "radish-compile-" });
  try {
    const printed = await compile(Deno.build.target, `${folder}/radish`, {
      env: { DENORT_BIN: Deno.execPath() },
    });
    return differences(await embeddedFiles(printed), expectedFiles(await programFiles()));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      all: { type: "boolean" },
      target: { type: "string" },
      check: { type: "boolean" },
      "allow-all": { type: "boolean" },
    },
  });
  if (values.check) {
    const lines = await checkEmbedded();
    console.log(lines.length > 0 ? lines.join("\n") : "the embedded files are those expected");
    return lines.length > 0 ? 1 : 0;
  }
  await Deno.mkdir(dist, { recursive: true });
  for (const target of values.all ? targets : [values.target ?? Deno.build.target]) {
    const output = `${dist}/radish-${version}-${target}${target.includes("windows") ? ".exe" : ""}`;
    try {
      await compile(target, output, { allowAll: values["allow-all"] ?? false });
    } catch (error) {
      console.error(error instanceof Error ? error.message : error);
      console.error("Deno's runtime for each system is downloaded; `deno task package` needs no download.");
      return 1;
    }
    console.log(output);
  }
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
