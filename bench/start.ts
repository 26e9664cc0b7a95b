// How long a start takes: from sources, and from the packaged file once it is unpacked.
//
//   deno task package && deno run -A bench/start.ts dist/radish-….run [--runs 15]
//
// Runs alternate, so that whatever else the machine does falls on both; the median of each is printed.

import { readOptions } from "./common/arguments.ts";

const { values, positionals } = readOptions(import.meta.url, {
  options: { runs: { type: "string", default: "15" } },
  allowPositionals: true,
});
const [packaged] = positionals;
if (packaged === undefined) throw new Error("name the packaged file");

const fromSources = [Deno.execPath(), "run", "-A", "main.ts"];
const starts: readonly [name: string, program: readonly string[], args: readonly string[]][] = [
  ["--version", fromSources, ["--version"]],
  ["--version", [packaged], ["--version"]],
  ["generate", fromSources, ["generate", "--quiet", "--device", "cpu", "What is 23 plus 48?"]],
  ["generate", [packaged], ["generate", "--quiet", "--device", "cpu", "What is 23 plus 48?"]],
];

const times = starts.map((): number[] => []);
for (let run = -1; run < Number(values.runs); run++) { // run −1 fills the caches
  for (const [i, [name, [program = "", ...before], args]] of starts.entries()) {
    const begun = performance.now();
    const { success, stderr } = await new Deno.Command(program, { args: [...before, ...args], stdin: "null" })
      .output();
    if (!success) throw new Error(`${name}: ${new TextDecoder().decode(stderr)}`);
    if (run >= 0) times[i]!.push(performance.now() - begun);
  }
}

for (const [i, [name, [program]]] of starts.entries()) {
  const sorted = times[i]!.sort((a, b) => a - b);
  const [least, median] = [sorted[0]!, sorted[sorted.length >> 1]!];
  const origin = program === packaged ? "packaged" : "sources";
  console.log(`${name.padEnd(10)}${origin.padEnd(10)}${median.toFixed(0)} ms (least ${least.toFixed(0)} ms)`);
}
