// `deno task package`: the program as one file that runs wherever there is a shell, tar and gzip.
//
// A shell script (package_header.sh) and behind it a compressed archive of Deno, the sources, the npm packages they
// import and the embedded model. Where `deno compile` needs to download a runtime, this takes the Deno at hand; with
// --deno and --target, that of another system.

import { Buffer } from "node:buffer";
import { relative } from "node:path";
import { parseArgs, promisify } from "node:util";
import { gzip } from "node:zlib";
import { version } from "../server/cli/version.ts";
import { commitFile, commitText } from "./commit_file.ts";
import { dist, mallocSettings, modelFiles, permissions, root, v8Flags } from "./contents.ts";
import { programFiles } from "./program_files.ts";
import { type TarFile, writeTar } from "./tar.ts";

/** What goes into a package and how. */
export interface PackageOptions {
  /** The Deno executable. */
  readonly deno: string;
  /** The system it runs on, for the name. */
  readonly target: string;
  /** Of gzip, 1 to 9. */
  readonly level: number;
}

/** Builds a package in memory. */
export async function buildPackage(options: PackageOptions): Promise<Uint8Array> {
  const files = [
    await fileFrom(options.deno, "deno", true),
    ...await appFiles(),
    await fileFrom(`${root}/LICENSE`, "LICENSE"),
    await fileFrom(`${root}/tools/LICENSE-deno`, "LICENSE-deno"),
    // Last: where it is, everything is.
    { path: "complete", bytes: new Uint8Array(0), executable: false },
  ];
  const archive = writeTar(files);
  const payload = await promisify(gzip)(archive, { level: options.level });
  return Buffer.concat([header(await contentHash(archive), options.target), payload]);
}

/** The script; its placeholders are filled in. */
function header(id: string, target: string): Uint8Array {
  const template = Deno.readTextFileSync(new URL("./package_header.sh", import.meta.url));
  const values: Readonly<Record<string, string>> = {
    VERSION: version,
    TARGET: target,
    ID: id,
    FLAGS: v8Flags,
    MALLOC: Object.entries(mallocSettings).map(([name, value]) => `${name}=\${${name}-${value}}`).join(" "),
    NAMES: Object.keys(mallocSettings).join(" "),
    PERMISSIONS: permissions.map((permission) => `'${permission}'`).join(" "),
    LINE: String(template.split("\n").length),
  };
  const script = template.replaceAll(/@([A-Z]+)@/g, (_, name: string) => values[name]!);
  return new TextEncoder().encode(script);
}

async function contentHash(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex().slice(0, 16);
}

/** The program's folder: sources, model, packages, configuration. */
async function appFiles(): Promise<TarFile[]> {
  const { sources, packages } = await programFiles();
  const staging = await Deno.makeTempDir({ prefix: "radish-package-" });
  try {
    for (const path of [...sources, ...modelFiles]) {
      await Deno.mkdir(`${staging}/${path}`.replace(/[^/]*$/, ""), { recursive: true });
      await Deno.copyFile(`${root}/${path}`, `${staging}/${path}`);
    }
    await installPackages(staging, packages);
    const config = JSON.parse(await Deno.readTextFile(`${root}/deno.json`));
    await Deno.writeTextFile(`${staging}/${commitFile}`, commitText());
    await Deno.writeTextFile(
      `${staging}/deno.json`,
      JSON.stringify({ imports: config.imports, unstable: config.unstable, nodeModulesDir: "manual" }),
    );
    await Deno.remove(`${staging}/deno.lock`);
    const paths = (await allFiles(staging)).sort();
    return await Promise.all(paths.map((path) => fileFrom(`${staging}/${path}`, `app/${path}`)));
  } finally {
    await Deno.remove(staging, { recursive: true });
  }
}

/** Makes a plain node_modules from the lock file, so that a package depends on no registry's name. */
async function installPackages(staging: string, packages: readonly string[]): Promise<void> {
  for (const name of ["deno.json", "deno.lock"]) await Deno.copyFile(`${root}/${name}`, `${staging}/${name}`);
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["install", "--frozen", "--node-modules-dir=manual", "--node-modules-linker=hoisted"],
    cwd: staging,
    env: { NO_COLOR: "1" },
  }).output();
  if (!success) throw new Error(`deno install: ${new TextDecoder().decode(stderr)}`);
  const wanted = new Set(packages.map((id) => id.slice(0, id.lastIndexOf("@"))));
  const modules = `${staging}/node_modules`;
  for (const name of await installedNames(modules)) {
    if (!wanted.has(name)) await Deno.remove(`${modules}/${name}`, { recursive: true });
  }
}

/** Names of folders in node_modules, scoped packages as "@scope/name". */
async function installedNames(modules: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(modules)) {
    if (!name.startsWith("@")) names.push(name);
    else for await (const inner of Deno.readDir(`${modules}/${name}`)) names.push(`${name}/${inner.name}`);
  }
  return names;
}

/** Typings, source maps and sources that only an editor or a debugger reads. */
const unused = /\.(d\.[cm]?ts|map|tsbuildinfo)$/;

async function allFiles(folder: string, top = folder): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = `${folder}/${name}`;
    if (isDirectory) found.push(...await allFiles(path, top));
    else if (!unused.test(name)) found.push(relative(top, path));
  }
  return found;
}

async function fileFrom(source: string, path: string, executable = false): Promise<TarFile> {
  return { path, bytes: await Deno.readFile(source), executable };
}

async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { deno: { type: "string" }, target: { type: "string" }, output: { type: "string" } },
  });
  const target = values.target ?? Deno.build.target;
  const output = values.output ?? `${dist}/radish-${version}-${target}.run`;
  await Deno.mkdir(dist, { recursive: true });
  const bytes = await buildPackage({ deno: values.deno ?? Deno.execPath(), target, level: 9 });
  await Deno.writeFile(output, bytes, { mode: 0o755 });
  console.log(`${output} (${(bytes.length / 2 ** 20).toFixed(1)} MiB)`);
}

if (import.meta.main) await main(Deno.args);
