// Finds the files of the program: everything that `main.ts` and the workers import at run time.
//
// A worker is named by a string (`new Worker(new URL("./worker.ts", …))`), which Deno's module graph does not
// follow; so a string in a source that names an existing module is followed like an import.

import { dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { entry, root } from "./contents.ts";

/** The program, as paths relative to the root with forward slashes, sorted. */
export interface ProgramFiles {
  /** Modules and text files that are imported. */
  readonly sources: readonly string[];
  /** Those among them that start a worker. */
  readonly workers: readonly string[];
  /** npm packages, imported directly or not, as `name@version`. */
  readonly packages: readonly string[];
}

/** What `deno info --json` prints, as far as it is used. */
interface Graph {
  readonly roots: readonly string[];
  readonly redirects: Readonly<Record<string, string>>;
  readonly modules: readonly GraphModule[];
  readonly npmPackages: Readonly<Record<string, GraphPackage>>;
}

interface GraphModule {
  readonly specifier: string;
  readonly npmPackage?: string;
  readonly error?: string;
  /** `code` is absent where only types are imported. */
  readonly dependencies?: readonly { readonly code?: { readonly specifier?: string } }[];
}

interface GraphPackage {
  readonly name: string;
  readonly version: string;
  readonly dependencies: readonly string[];
}

/** Follows imports from `main.ts` and from every worker found on the way. */
export async function programFiles(): Promise<ProgramFiles> {
  const sources = new Set<string>(), workers = new Set<string>(), packages = new Set<string>();
  const entries = [entry];
  for (const start of entries) { // grows while it is walked
    const graph = await moduleGraph(start);
    for (const module of reachable(graph)) {
      if (module.npmPackage !== undefined) addPackage(graph, module.npmPackage, packages);
      if (!module.specifier.startsWith("file:")) continue;
      const path = relativePath(fileURLToPath(module.specifier));
      if (sources.has(path)) continue;
      sources.add(path);
      for (const worker of path.endsWith(".ts") ? await namedModules(path, module) : []) {
        if (!workers.has(worker)) entries.push(worker);
        workers.add(worker);
      }
    }
  }
  return { sources: [...sources].sort(), workers: [...workers].sort(), packages: [...packages].sort() };
}

async function moduleGraph(path: string): Promise<Graph> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "--config", "deno.json", path],
    cwd: root,
    env: { NO_COLOR: "1" },
  }).output();
  if (!success) throw new Error(`deno info ${path}: ${new TextDecoder().decode(stderr)}`);
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** Modules that run. */
function reachable(graph: Graph): Set<GraphModule> {
  const bySpecifier = new Map(graph.modules.map((module) => [module.specifier, module]));
  const found = new Set<GraphModule>();
  const open = [...graph.roots];
  for (const specifier of open) { // grows while it is walked
    const module = bySpecifier.get(graph.redirects[specifier] ?? specifier);
    if (!module || found.has(module)) continue;
    if (module.error !== undefined) throw new Error(`${specifier}: ${module.error}`);
    found.add(module);
    for (const { code } of module.dependencies ?? []) {
      if (code?.specifier !== undefined) open.push(code.specifier);
    }
  }
  return found;
}

function addPackage(graph: Graph, id: string, packages: Set<string>): void {
  const found = graph.npmPackages[id];
  if (!found || packages.has(`${found.name}@${found.version}`)) return;
  packages.add(`${found.name}@${found.version}`);
  for (const dependency of found.dependencies) addPackage(graph, dependency, packages);
}

/** Modules that a source names in a string and does not import. */
async function namedModules(path: string, { dependencies = [] }: GraphModule): Promise<string[]> {
  const imported = new Set(dependencies.map(({ code }) => code?.specifier));
  const source = await Deno.readTextFile(resolve(root, path));
  const named: string[] = [];
  for (const [, name] of source.replaceAll(/^import [^;]*;$/gm, "").matchAll(/"(\.\.?\/[\w./-]+\.ts)"/g)) {
    const target = relativePath(resolve(root, dirname(path), name!));
    const isImported = imported.has(new URL(`${target}`, `file://${root}/`).href);
    if (!isImported && await isFile(resolve(root, target))) named.push(target);
  }
  return named;
}

async function isFile(path: string): Promise<boolean> {
  return await Deno.stat(path).then((info) => info.isFile, () => false);
}

function relativePath(path: string): string {
  return relative(root, path).replaceAll("\\", "/");
}
