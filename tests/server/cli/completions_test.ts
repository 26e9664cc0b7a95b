// The scripts of `radish completions`, in the shells that are there. The library that makes them has tests of its own;
// what is shown here is that they ask this program, and that it answers with its commands, options and values.

import assert from "node:assert/strict";
import { radish } from "../../e2e/radish.ts";
import { testWith } from "../../programs.ts";

/** What the program proposes for the last of the words; a proposal is a line, file names have a mark before them. */
async function proposals(...words: string[]): Promise<string[]> {
  const { code, stdout } = await radish(["completions", "bash", ...words]);
  assert.equal(code, 0);
  return stdout.split("\n").filter((line) => line !== "");
}

Deno.test("commands, options, rare ones too, and values that are one of a few are proposed", async () => {
  const [commands, option, rare, long, values, hubs] = await Promise.all([
    proposals("ge"),
    proposals("serve", "--dev"),
    proposals("serve", "--num-p"),
    proposals("generate", "--t"),
    proposals("serve", "--device", ""),
    proposals("pull", "--source", "m"),
  ]);
  assert.deepEqual(commands, ["generate"]);
  assert.deepEqual(option, ["--device"]);
  assert.deepEqual(rare, ["--num-pages"]);
  assert.deepEqual(long.toSorted(), [
    "--temperature",
    "--threads",
    "--top-k",
    "--top-p",
    "--tp",
    "--tp-reduce",
  ]);
  assert.deepEqual(values, ["auto", "cuda", "webgpu", "cpu"]);
  assert.deepEqual(hubs, ["modelscope"]);
});

Deno.test("where a path belongs file names are asked of the shell, where free text belongs nothing", async () => {
  const [model, system] = await Promise.all([
    proposals("generate", "--model", ""),
    proposals("generate", "--system", ""),
  ]);
  assert.match(model.join(), /^__FILE__:any:/);
  assert.deepEqual(system, []);
});

for (const shell of ["bash", "zsh", "fish", "pwsh"]) {
  testWith(shell)(`the script for ${shell} is one that ${shell} can read`, async () => {
    const { code, stdout } = await radish(["completions", shell]);
    assert.equal(code, 0);
    assert.match(stdout, /radish/);
    const args = shell === "pwsh" ? ["-NoProfile", "-Command", "-"] : ["-n", "/dev/stdin"];
    const child = new Deno.Command(shell, { args, stdin: "piped", stdout: "null", stderr: "piped" }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(stdout));
    await writer.close();
    const { success, stderr } = await child.output();
    assert.ok(success, new TextDecoder().decode(stderr));
  });
}

testWith("bash")("bash completes a command line by asking the program", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const main = decodeURIComponent(new URL("../../../main.ts", import.meta.url).pathname);
    const program = `#!/bin/sh\nexec ${Deno.execPath()} run -A --no-check ${main} "$@"\n`;
    await Deno.writeTextFile(`${folder}/radish`, program, { mode: 0o755 });
    const script =
      'eval "$(radish completions bash)"; COMP_WORDS=(radish serve --device cp); COMP_CWORD=3; ' +
      '_radish; printf "%s\\n" "${COMPREPLY[@]}"';
    const { stdout, stderr } = await new Deno.Command("bash", {
      args: ["-c", script],
      env: { PATH: `${folder}:${Deno.env.get("PATH")}` },
    }).output();
    assert.equal(new TextDecoder().decode(stdout).trim(), "cpu", new TextDecoder().decode(stderr));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("an unknown shell is wrong usage, in one line that names those there are", async () => {
  for (const args of [["completions"], ["completions", "tcsh"]]) {
    const { code, stderr } = await radish(args);
    assert.equal(code, 2);
    assert.match(stderr, /^radish: .*shell.*\n$/);
  }
});
