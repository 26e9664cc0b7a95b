// The direction of imports: server → engine → kernels, and no circles. The tests, benches and tools stand outside.

import assert from "node:assert/strict";
import { dirname, join, normalize } from "node:path";
import { root } from "../tools/contents.ts";

/** Layers from the top down: a file imports its own layer and those below it. */
const layers = ["server", "engine", "kernels"];

/** The imports (static, dynamic, re-exports, types too) of every TypeScript file of the program. */
async function imports(): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  const walk = async (folder: string): Promise<void> => {
    for await (const { name, isDirectory } of Deno.readDir(`${root}/${folder}`)) {
      const path = `${folder}/${name}`;
      if (isDirectory) await walk(path);
      else if (/\.tsx?$/.test(name)) {
        found.set(path, importsOf(path, await Deno.readTextFile(`${root}/${path}`)));
      }
    }
  };
  for (const layer of layers) await walk(layer);
  return found;
}

/** Paths that a source imports, relative to the root. */
export function importsOf(path: string, source: string): string[] {
  const named = source.matchAll(/(?:\bfrom\s+|\bimport\s*\(?\s*)"(\.[^"]+)"/g);
  return [...named].map(([, specifier]) => normalize(join(dirname(path), specifier!)).replaceAll("\\", "/"));
}

/** The files of a circle of imports, in order; null where there is none. */
export function circle(graph: ReadonlyMap<string, readonly string[]>): string[] | null {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): string[] | null => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return null;
    path.push(file);
    for (const next of graph.get(file) ?? []) {
      const found = visit(next);
      if (found) return found;
    }
    path.pop();
    done.add(file);
    return null;
  };
  for (const file of graph.keys()) {
    const found = visit(file);
    if (found) return found;
  }
  return null;
}

Deno.test("imports run one way: server, engine, kernels", async () => {
  const upward: string[] = [];
  let count = 0;
  for (const [path, targets] of await imports()) {
    for (const target of targets) {
      count++;
      const [from, to] = [path, target].map((p) => layers.indexOf(p.split("/")[0]!));
      if (to! < 0 && !target.startsWith("models/") && !/^[^/]+$/.test(target)) {
        upward.push(`${path} → ${target}`);
      }
      if (to! >= 0 && to! < from!) upward.push(`${path} → ${target}`);
    }
  }
  assert.ok(count > 500, `only ${count} imports seen`);
  assert.deepEqual(upward, []);
});

Deno.test("no file imports itself by way of others", async () => {
  assert.equal(circle(await imports())?.join(" → ") ?? null, null);
});

Deno.test("the engine knows no backend from the inside", async () => {
  const inside: string[] = [];
  for (const [path, targets] of await imports()) {
    if (!path.startsWith("engine/")) continue;
    inside.push(
      ...targets.filter((target) => /^kernels\/(webgpu|cpu|cuda)\//.test(target)).map((t) =>
        `${path} → ${t}`
      ),
    );
  }
  assert.deepEqual(inside, []);
});

Deno.test("an upward arrow and a circle are seen when there is one", () => {
  assert.deepEqual(
    importsOf("kernels/a.ts", 'import { b } from "../engine/b.ts";\nawait import("./c.ts");'),
    [
      "engine/b.ts",
      "kernels/c.ts",
    ],
  );
  assert.deepEqual(circle(new Map([["a", ["b"]], ["b", ["c"]], ["c", ["b"]]])), ["b", "c", "b"]);
  assert.equal(circle(new Map([["a", ["b", "c"]], ["b", ["c"]], ["c", []]])), null);
});
