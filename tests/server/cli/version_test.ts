import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { testWith } from "../../programs.ts";
import { readCommit } from "../../../server/cli/commit.ts";

async function inFolder(run: (folder: string, root: URL) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await run(folder, pathToFileURL(`${folder}/`) as URL);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function git(cwd: string, ...args: string[]): Promise<string> {
  const identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
  const { success, stdout, stderr } = await new Deno.Command("git", { args: [...identity, ...args], cwd })
    .output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

Deno.test("a release reads its commit from the file that the build wrote", () =>
  inFolder(async (folder, root) => {
    assert.equal(readCommit(root), null);
    await Deno.writeTextFile(`${folder}/commit.txt`, "0123abcde\n");
    assert.equal(readCommit(root), "0123abcde");
  }));

testWith("git")(
  "a clone asks git, whatever a file says, and says when files have changed",
  () =>
    inFolder(async (folder, root) => {
      await git(folder, "init", "-q");
      assert.equal(readCommit(root), null); // no commit yet
      await Deno.writeTextFile(`${folder}/a`, "1");
      await git(folder, "add", "a");
      await git(folder, "commit", "-q", "-m", "first");
      await Deno.writeTextFile(`${folder}/commit.txt`, "0123abcde\n");
      const head = await git(folder, "rev-parse", "HEAD");
      assert.equal(readCommit(root), head.slice(0, 9));
      await Deno.writeTextFile(`${folder}/a`, "2");
      assert.equal(readCommit(root), `${head.slice(0, 9)}-dirty`);
    }),
);
