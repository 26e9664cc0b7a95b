// Line counts in the documents are true, and no file is long without a reason.

import assert from "node:assert/strict";
import {
  codeLines,
  coreBound,
  corePaths,
  countCore,
  countPath,
  layersOfEngine,
  withCounts,
} from "../../tools/count_lines.ts";
import { programFiles } from "../../tools/program_files.ts";
import { root } from "../../tools/contents.ts";
import { readDocuments } from "./markdown.ts";

/** Tables are aligned by the formatter. */
function withoutAlignment(text: string): string {
  return text.replaceAll(/ +/g, " ").replaceAll(/-{3,}/g, "---");
}

Deno.test("every line count in the documents is what `deno task docs` would write", async () => {
  let counts = 0;
  for (const { path, text } of await readDocuments()) {
    assert.equal(withoutAlignment(await withCounts(text)), withoutAlignment(text), path);
    counts += [...text.matchAll(/<!--lines /g)].length;
  }
  assert.ok(counts > 10);
});

Deno.test("blank lines and comments are no lines of code", () => {
  const source = '// a\n\n/** b\n * c\n */\nconst d = 1; // e\n/* f */\n  const g = "h";\n';
  assert.equal(codeLines(source), 2);
});

Deno.test("a folder counts with all its files, or with its own alone", async () => {
  const [deep, own, sub] = await Promise.all(
    ["kernels", "kernels/*.ts", "kernels/reference"].map((path) => countPath(path)),
  );
  assert.ok(own! > 0 && sub! > 0 && own! + sub! < deep!);
});

Deno.test("a source of more than 350 lines says in its header why it is one file", async () => {
  for (const path of (await programFiles()).sources.filter((path) => path.endsWith(".ts"))) {
    const lines = (await Deno.readTextFile(`${root}/${path}`)).split("\n");
    if (lines.length <= 350) continue;
    const header = lines.slice(0, lines.findIndex((line) => !line.startsWith("//"))).join("\n");
    assert.match(header, /one file/, `${path} has ${lines.length} lines`);
  }
});

Deno.test("the core is no longer than what a person reads in an afternoon", async () => {
  const count = await countCore();
  assert.ok(count <= coreBound, `the core has ${count} lines of code, ${coreBound} are allowed`);
});

Deno.test("everything in the engine is core, or one of the layers that are named", async () => {
  for await (const { name, isDirectory } of Deno.readDir(`${root}/engine`)) {
    const path = `engine/${name}`;
    const covered = isDirectory ? [path] : ["engine/*.ts"];
    assert.ok(
      [...corePaths, ...layersOfEngine].some((known) => covered.includes(known)),
      `${path} is neither`,
    );
  }
});
