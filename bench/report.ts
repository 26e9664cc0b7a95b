// Turns result files into one HTML page with tables and plots that needs nothing else.
//
//   deno run -A bench/report.ts [FILE.json …] [--out bench/results/report.html]
//
// Without files, everything in bench/results/; the newest first within each kind, and at the end by name what has no plots.

import { readOptions } from "./common/arguments.ts";
import { page, paragraph } from "./report/page.ts";
import { type OtherResult, readResult, type Result } from "./report/results.ts";
import { resultSection } from "./report/sections.ts";

const folder = decodeURIComponent(new URL("results", import.meta.url).pathname);
const order: readonly Result["kind"][] = ["suite", "offline", "online", "peers", "kernels"];

/** The page for these results. */
export function report(results: readonly (Result | OtherResult)[]): string {
  const plotted = results.filter((result) => result.kind !== "other").toSorted((a, b) =>
    order.indexOf(a.kind) - order.indexOf(b.kind) || b.environment.date.localeCompare(a.environment.date)
  );
  const others = results.filter((result) => result.kind === "other").toSorted((a, b) =>
    a.file.localeCompare(b.file)
  );
  return page("radish: measurements", [
    paragraph("How each figure is taken, and the command for it: bench/README.md."),
    ...[...plotted, ...others].map(resultSection),
  ]);
}

async function main(): Promise<void> {
  const { values, positionals } = readOptions(import.meta.url, {
    options: { out: { type: "string", default: `${folder}/report.html` } },
    allowPositionals: true,
  });
  const paths = positionals.length > 0
    ? positionals
    : [...Deno.readDirSync(folder)].filter(({ name }) => name.endsWith(".json")).map(({ name }) =>
      `${folder}/${name}`
    );
  if (paths.length === 0) throw new Error(`no results in ${folder}; bench/suite.ts writes some`);
  const results = await Promise.all(paths.map(async (path) => {
    try {
      return readResult(await Deno.readTextFile(path), path.slice(path.lastIndexOf("/") + 1));
    } catch (error) {
      throw new Error(`${path}: ${error instanceof Error ? error.message : error}`, { cause: error });
    }
  }));
  await Deno.writeTextFile(values.out, report(results));
  console.log(values.out);
}

if (import.meta.main) await main();
