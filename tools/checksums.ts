// `deno task checksums`: writes dist/SHA256SUMS for everything that was built, in the format that
// `sha256sum --check` and `shasum --algorithm 256 --check` read.

import { dist } from "./contents.ts";

/** The lines for a folder's files, sorted by name. */
export async function checksums(folder: string): Promise<string> {
  const lines: string[] = [];
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (!isFile || name === "SHA256SUMS") continue;
    const hash = await crypto.subtle.digest("SHA-256", await Deno.readFile(`${folder}/${name}`));
    lines.push(`${new Uint8Array(hash).toHex()}  ${name}\n`);
  }
  return lines.sort((a, b) => a.slice(66) < b.slice(66) ? -1 : 1).join("");
}

if (import.meta.main) {
  const text = await checksums(dist);
  await Deno.writeTextFile(`${dist}/SHA256SUMS`, text);
  console.log(text.trimEnd());
}
