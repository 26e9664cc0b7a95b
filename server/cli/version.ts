// The version, the commit, and what it runs on.

import { readCommit } from "./commit.ts";

/** Of the program; releases set it. */
export const version = "0.1.0";

/** One line for `--version`. */
export function versionText(): string {
  const commit = readCommit();
  const parts = [...(commit ? [`commit ${commit}`] : []), `Deno ${Deno.version.deno}`, Deno.build.target];
  return `radish ${version} (${parts.join(", ")})`;
}
