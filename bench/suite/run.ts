// Runs the suite's parts one after the other within a time budget. A part that fails, crashes or takes too long is
// noted and the next one runs: no failure loses what the others measured.

import type { RunChild } from "./child.ts";
import type { Figure, Part } from "./parts.ts";

/** What became of a part; everything is in the result file. */
export interface PartResult {
  readonly name: string;
  readonly command: string;
  readonly status: "ok" | "failed" | "timed out" | "skipped";
  readonly seconds: number;
  readonly exit_code: number | null;
  readonly figures: readonly Figure[];
  readonly raw: unknown;
  /** Why it is not "ok". */
  readonly problem: string | null;
}

/** With less than this left, a part is not begun. */
const leastSeconds = 5;
/** Of a failed part's output, what is kept. */
const tailCharacters = 2000;

/** Runs the parts in order; `onResult` is told of each at once. `now` is in seconds. */
export async function runParts(
  parts: readonly Part[],
  budgetSeconds: number,
  run: RunChild,
  onResult: (result: PartResult) => void = () => {},
  now: () => number = () => performance.now() / 1000,
): Promise<PartResult[]> {
  const end = now() + budgetSeconds;
  const results: PartResult[] = [];
  for (const part of parts) {
    const left = end - now();
    const result = left < leastSeconds ? skipped(part) : await runPart(part, left, run);
    results.push(result);
    onResult(result);
  }
  return results;
}

function describe({ name, args }: Part) {
  return { name, command: `deno ${args.join(" ")}` };
}

function skipped(part: Part): PartResult {
  return {
    ...describe(part),
    status: "skipped",
    seconds: 0,
    exit_code: null,
    figures: [],
    raw: null,
    problem: "the time was up",
  };
}

async function runPart(part: Part, limitSeconds: number, run: RunChild): Promise<PartResult> {
  const { code, stdout, stderr, seconds } = await run(part.args, limitSeconds);
  const about = { ...describe(part), seconds, exit_code: code };
  const bad = (status: "failed" | "timed out", problem: string): PartResult => ({
    ...about,
    status,
    figures: [],
    raw: { stdout: stdout.slice(-tailCharacters), stderr: stderr.slice(-tailCharacters) },
    problem,
  });
  try {
    // A process may have printed its result and crashed in the driver afterwards: what it printed counts, and the
    // exit code stands beside it.
    return { ...about, status: "ok", ...part.read({ stdout, code }), problem: null };
  } catch (error) {
    if (code === null) return bad("timed out", `ended after ${seconds.toFixed(0)} s`);
    const lastLine = stderr.trim().split("\n").at(-1);
    return bad("failed", `${error instanceof Error ? error.message : error}; ${lastLine || "no message"}`);
  }
}
