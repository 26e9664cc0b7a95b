// Reads the list of embedded files that `deno compile` prints, and compares it with what belongs in a release.
//
// The list is drawn as a tree. A folder of which everything is embedded is printed as `folder/*`; it is expanded
// from the disk. npm packages lie under a folder of their own.

import { commitFile } from "./commit_file.ts";
import { modelFiles, root } from "./contents.ts";
import type { ProgramFiles } from "./program_files.ts";

/** Files relative to the root, and names of npm packages, both sorted. */
export interface EmbeddedFiles {
  /** Paths with forward slashes. */
  readonly files: readonly string[];
  /** Names without versions. */
  readonly packages: readonly string[];
}

const npmFolder = ".deno_compile_node_modules/localhost/";

/** What a release must contain. */
export function expectedFiles(program: ProgramFiles): EmbeddedFiles {
  return {
    files: [...program.sources, ...modelFiles, commitFile].sort(),
    packages: program.packages.map((id) => id.slice(0, id.lastIndexOf("@"))).sort(),
  };
}

/** What was printed. */
export async function embeddedFiles(printed: string): Promise<EmbeddedFiles> {
  const files = new Set<string>(), packages = new Set<string>();
  for (const path of leaves(printed)) {
    if (path.startsWith(npmFolder)) {
      packages.add(/^(@[^/]+\/)?[^/]+/.exec(path.slice(npmFolder.length))![0]);
    } else if (path.endsWith("/*")) { for (const file of await filesIn(path.slice(0, -2))) files.add(file); }
    else files.add(path);
  }
  return { files: [...files].sort(), packages: [...packages].sort() };
}

/** Paths at the ends of the tree's branches. A line is two columns of drawing per level, a name, and sizes. */
function leaves(printed: string): string[] {
  const found: string[] = [];
  const parents: string[] = [];
  for (const line of printed.split("\n")) {
    const [, indent, branch, name] = /^((?:[│ ] )*)[├└]─([─┬]) (.+?)(?: \([^()]*\))?$/u.exec(line) ?? [];
    if (indent === undefined || name === undefined) continue;
    parents.length = indent.length / 2;
    const path = [...parents, name].join("/");
    if (branch === "┬") parents.push(name);
    else found.push(path);
  }
  return found;
}

async function filesIn(folder: string): Promise<string[]> {
  const files: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(`${root}/${folder}`)) {
    files.push(...isDirectory ? await filesIn(`${folder}/${name}`) : [`${folder}/${name}`]);
  }
  return files;
}

/** One line per difference; none when the lists are equal. */
export function differences(actual: EmbeddedFiles, expected: EmbeddedFiles): string[] {
  const lines: string[] = [];
  for (const kind of ["files", "packages"] as const) {
    const has = new Set(actual[kind]), wants = new Set(expected[kind]);
    lines.push(...expected[kind].filter((name) => !has.has(name)).map((name) => `missing: ${name}`));
    lines.push(...actual[kind].filter((name) => !wants.has(name)).map((name) => `not expected: ${name}`));
  }
  return lines;
}
