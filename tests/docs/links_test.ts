// Whatever the documents name exists: files, headings, functions, options.

import assert from "node:assert/strict";
import { extractOptionNames } from "@optique/core/usage";
import { commands } from "../../server/cli/commands.ts";
import { root } from "../../tools/contents.ts";
import { Document, readDocuments } from "./markdown.ts";

const all = await readDocuments();

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(`${root}/${path}`).then(() => true, () => false);
}

/** Whether a source declares a name: at the top, or as a member of a class or an object. */
function declares(source: string, name: string): boolean {
  const escaped = name.replaceAll(/[#$]/g, "\\$&");
  const top = new RegExp(`\\b(function\\*?|class|interface|type|const|let) ${escaped}\\b`);
  const member = new RegExp(
    `^ +((static|async|readonly|get|override|private) )*\\*?${escaped}(\\?)?(<[^>]*>)?[(:;,]|^ +(readonly )?${escaped} =`,
    "m",
  );
  return top.test(source) || member.test(source);
}

Deno.test("every relative link leads to a file, and to a heading of it", async () => {
  let checked = 0;
  for (const document of all) {
    for (const { target } of document.links) {
      if (/^[a-z]+:/.test(target)) continue;
      const path = target.startsWith("#") ? document.path : document.resolve(target);
      assert.ok(await exists(path), `${document.path} links to ${target}`);
      const anchor = target.split("#")[1];
      if (anchor !== undefined) {
        const { anchors } = await Document.read(path);
        assert.ok(anchors.has(anchor), `${document.path}: ${path} has no heading for #${anchor}`);
      }
      checked++;
    }
  }
  assert.ok(checked > 50);
});

Deno.test("what a link to a source names is declared there", async () => {
  let checked = 0;
  for (const document of all) {
    for (const { text, target } of document.links) {
      const path = document.resolve(target);
      if (!/^`[^`]+`$/.test(text) || !path.endsWith(".ts") || /^[a-z]+:/.test(target)) continue;
      const named = text.slice(1, -1);
      // A file or folder by the end or the beginning of its path.
      if (path.endsWith(named) || named.endsWith("/") && path.startsWith(named)) continue;
      const source = await Deno.readTextFile(`${root}/${path}`);
      for (const name of named.split(".")) {
        assert.ok(declares(source, name), `${document.path}: ${path} does not declare ${name} of ${named}`);
      }
      checked++;
    }
  }
  assert.ok(checked > 40);
});

Deno.test("a name that is only used, or not there, is not taken for a declaration", () => {
  const source =
    "class A {\n  #b(): void {\n    this.#c(call());\n  }\n  static async start(): X {}\n}\nconst d = 1;\n";
  for (const name of ["A", "#b", "d", "start"]) assert.ok(declares(source, name), name);
  for (const name of ["#c", "call", "b", "X", "e"]) assert.ok(!declares(source, name), name);
});

Deno.test("every path of the repository that a document mentions exists", async () => {
  // Files that end in .py are those of other projects.
  const folders = /^(\.ci|bench|docs|engine|kernels|models|server|tests|tools)\/(?![^]*\.py$)[\w./-]*$/;
  let checked = 0;
  for (const document of all) {
    for (const code of document.inlineCode.filter((code) => folders.test(code))) {
      assert.ok(await exists(code), `${document.path} mentions ${code}`);
      checked++;
    }
  }
  assert.ok(checked > 10);
});

Deno.test("every option that a document mentions exists", async () => {
  const options = new Set(
    commands.flatMap((command) => [...extractOptionNames(command.parser(true).usage, true)]),
  );
  for (const general of ["--help", "--help-all", "--version"]) options.add(general);
  // Of `deno run`, and of the project's own tools.
  for (const other of ["--cached-only", "--deno", "--target", "--v8-flags"]) options.add(other);
  let checked = 0;
  for (const document of all) {
    for (const code of document.inlineCode.filter((code) => /^(--|radish )/.test(code))) {
      for (const [, option] of code.matchAll(/(?:^| )(--[a-z0-9-]+)/g)) {
        assert.ok(options.has(option!), `${document.path} mentions ${option}`);
        checked++;
      }
    }
  }
  assert.ok(checked > 10);
});

/** What a document links to. */
async function linksOf(path: string): Promise<{ text: string; path: string }[]> {
  const document = await Document.read(path);
  return document.links.filter(({ target }) => !/^[a-z]+:|^#/.test(target))
    .map(({ text, target }) => ({ text, path: document.resolve(target) }));
}

/** Follows links by their texts and returns the source at the end. */
async function follow(document: string, ...texts: readonly string[]): Promise<string> {
  let path = document;
  for (const text of texts) {
    const link = (await linksOf(path)).find((link) => link.text === text);
    assert.ok(link !== undefined, `${path} has no link ${text}`);
    path = link.path;
  }
  return await Deno.readTextFile(`${root}/${path}`);
}

/** From where a source declares a name to the end of that function or method. */
function declaration(source: string, name: string): string {
  const found = new RegExp(`^( *)(?:export (?:async )?function )?${name}\\([^]*?^\\1}`, "m").exec(source);
  assert.ok(found !== null, name);
  return found[0];
}

Deno.test("from the README it takes three hops to the lines that decide whether a prompt fits", async () => {
  const model = await follow("README.md", "The tour", "`promptProblem`");
  assert.match(declaration(model, "promptProblem"), /if \(needed > contextLength\)/);
  const pool = await follow("README.md", "The tour", "`PrefillManager.#admit`");
  assert.match(declaration(pool, "#admit"), /if \(.*> this\.#cache\.availablePages\)/);
  assert.equal(await follow("README.md", "`engine/scheduler/prefill.ts`"), pool);
});

Deno.test("from the README it takes two hops to where a weight type is added", async () => {
  const registry = await follow("README.md", "CONTRIBUTING", "`formats`");
  assert.match(registry, /^export const formats = \{/m);
  assert.match(await follow("README.md", "CONTRIBUTING", "WebGPU"), /^export const formats: /m);
  assert.match(await follow("README.md", "CONTRIBUTING", "CPU"), /^export const formats = \{/m);
  const example = await follow("README.md", "CONTRIBUTING", "`tests/kernels/new_format_test.ts`");
  assert.match(example, /kernels\/formats\/mod\.ts/);
});
