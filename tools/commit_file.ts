// Tells a build which commit it was made from: a file next to main.ts, there for the time of the build only.
// `server/cli/commit.ts` reads it.

import { readCommit } from "../server/cli/commit.ts";
import { root } from "./contents.ts";

/** Name of the file, relative to the root. */
export const commitFile = "commit.txt";

/** What the file of a build says: the commit, or "unknown" outside a repository. */
export function commitText(): string {
  return `${readCommit() ?? "unknown"}\n`;
}

/** Runs `build` while the file exists. */
export async function withCommitFile<T>(build: (commitFile: string) => Promise<T>): Promise<T> {
  const path = `${root}/${commitFile}`;
  await Deno.writeTextFile(path, commitText());
  try {
    return await build(commitFile);
  } finally {
    await Deno.remove(path);
  }
}
