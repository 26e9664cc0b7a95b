import assert from "node:assert/strict";
import type { Command } from "../../../server/cli/command.ts";
import { completions } from "../../../server/cli/completions.ts";
import { doctor } from "../../../server/cli/doctor.ts";
import { allCommands } from "../../../server/cli/run.ts";
import { radish } from "../../e2e/radish.ts";

const commands = await allCommands();

async function script(shell: string): Promise<string> {
  const { code, stdout } = await radish(["completions", shell]);
  assert.equal(code, 0);
  return stdout;
}

const [bash, zsh, fish] = await Promise.all(["bash", "zsh", "fish"].map(script));

/** What bash proposes for the last of the words. */
async function proposals(...words: string[]): Promise<string[]> {
  const quoted = words.map((word) => `'${word}'`).join(" ");
  const { success, stdout, stderr } = await new Deno.Command("bash", {
    args: [
      "-c",
      `${bash}\nCOMP_WORDS=(${quoted}); COMP_CWORD=${
        words.length - 1
      }; _radish; printf '%s\\n' "\${COMPREPLY[@]}"`,
    ],
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "");
}

Deno.test("bash completes commands, options, and values that are one of a few", async () => {
  assert.deepEqual(await proposals("radish", "ge"), ["generate"]);
  assert.deepEqual(await proposals("radish", "serve", "--dev"), ["--device"]);
  assert.deepEqual(await proposals("radish", "serve", "--device", ""), ["auto", "cuda", "webgpu", "cpu"]);
  assert.deepEqual(await proposals("radish", "serve", "--device", "=", "c"), ["cuda", "cpu"]);
  assert.deepEqual(await proposals("radish", "serve", "--device", "="), ["auto", "cuda", "webgpu", "cpu"]);
  assert.deepEqual(await proposals("radish", "completions", "z"), ["zsh"]);
});

Deno.test("bash leaves free text alone, so that file names are completed", async () => {
  assert.deepEqual(await proposals("radish", "generate", "--model", ""), []);
  assert.deepEqual(await proposals("radish", "generate", "-m", "--"), []);
});

Deno.test("every command and every option is in every script, with its help", () => {
  for (const { name, summary, options } of commands) {
    assert.match(zsh!, new RegExp(`^    '${name}:${summary}'$`, "m"));
    assert.ok(fish!.includes(`-a ${name} -d '${summary}'`), name);
    for (const option of options) {
      assert.match(bash!, new RegExp(`^    ${name}\\)[^]*?--${option.name}[ '|)]`, "m"));
      const value = option.kind === "flag" ? "" : "=";
      assert.match(zsh!, new RegExp(`^    ${name}\\)[^]*?--${option.name}${value}\\[`, "m"));
      const line = fish!.split("\n").find((text) =>
        text.includes(`__fish_seen_subcommand_from ${name}'`) && text.includes(` -l ${option.name} `)
      );
      assert.ok(line, `${name} --${option.name}`);
      assert.equal(line.includes(" -x ") || line.includes(" -r "), option.kind !== "flag", line);
      if (option.choices) assert.ok(line.includes(` -a '${option.choices.join(" ")}' `), line);
    }
  }
});

Deno.test("quotes and brackets in a help text do not end it", async () => {
  const odd: Command = {
    ...doctor,
    name: "odd",
    options: [{ name: "it", kind: "text", choices: ["a"], help: "it's [odd]: a\\b" }],
  };
  const printed: string[] = [];
  const log = console.log;
  console.log = (text: string) => printed.push(text);
  try {
    const command = completions(() => Promise.resolve([odd]));
    for (const shell of ["zsh", "fish"]) await command.run(null as never, [shell]);
  } finally {
    console.log = log;
  }
  assert.ok(printed[0]!.includes(String.raw`'--it=[it'\''s \[odd\]\: a\\b]:it:(a)'`), printed[0]);
  assert.ok(printed[1]!.includes(String.raw`-d 'it'\''s [odd]: a\b'`), printed[1]);
});

Deno.test("an unknown shell is wrong usage", async () => {
  for (const args of [["completions"], ["completions", "tcsh"]]) {
    const { code, stderr } = await radish(args);
    assert.equal(code, 2);
    assert.equal(stderr, "radish: name a shell: bash, zsh, fish\n");
  }
});
