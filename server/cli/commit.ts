// Which commit this program was made from: releases carry it in a file, a clone asks git.

/**
 * The abbreviated commit, with "-dirty" when files differ from it; null when nothing knows. `root` is the folder of
 * main.ts, with a slash at its end.
 */
export function readCommit(root: URL = new URL("../../", import.meta.url)): string | null {
  // First git: a file that an interrupted build has left behind in a clone is not believed.
  return exists(new URL(".git", root)) ? fromGit(root) : fromFile(new URL("commit.txt", root));
}

function fromGit(root: URL): string | null {
  try {
    const args = ["describe", "--always", "--dirty", "--abbrev=9", "--exclude=*"];
    const { success, stdout } = new Deno.Command("git", { args, cwd: root, stderr: "null" }).outputSync();
    return success ? new TextDecoder().decode(stdout).trim() : null;
  } catch {
    return null; // no git, or no permission to run it
  }
}

function fromFile(file: URL): string | null {
  try {
    return Deno.readTextFileSync(file).trim();
  } catch {
    return null;
  }
}

function exists(file: URL): boolean {
  try {
    Deno.statSync(file);
    return true;
  } catch {
    return false;
  }
}
