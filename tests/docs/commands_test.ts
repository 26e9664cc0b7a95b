// The commands that the documents show.
//
// A block runs in a shell that has nothing but functions which note their arguments. The program's own commands are
// then run, with the embedded model and in an empty home; those that need a network or a machine of their own are
// checked only for options and arguments that the command takes.

import assert from "node:assert/strict";
import { formatMessage } from "@optique/core/message";
import { parseSync } from "@optique/core/parser";
import { commands } from "../../server/cli/commands.ts";
import { shortNames } from "../../server/hub/short_names.ts";
import { root } from "../../tools/contents.ts";
import { testWith } from "../programs.ts";
import { readDocuments, type ShellBlock } from "./markdown.ts";

/** A command as the shell would run it. */
interface Invocation {
  readonly program: string;
  readonly args: readonly string[];
}

/** Programs that may be shown and are not run here: they come from elsewhere, or would change the machine. */
const others = ["alias", "pip", "python3", "sha256sum", "shasum", "apt-get"];

const denoVersion = Deno.version.deno;
const config = JSON.parse(await Deno.readTextFile(`${root}/deno.json`));

/** Runs a block with functions in place of programs, and returns what was called. */
async function invocations({ document, script }: ShellBlock, cwd: string): Promise<Invocation[]> {
  const note = (name: string) =>
    `${name}() { printf '%s\\0' ${name} "$@" >> "$NOTES"; printf '\\n\\0' >> "$NOTES"; }`;
  const functions = ["radish", "deno", "npx", "curl", ...others].map(note);
  const notes = `${cwd}/.notes`;
  await Deno.writeTextFile(notes, "");
  const { code, stderr } = await new Deno.Command("bash", {
    args: ["-euc", ["PATH=/nonexistent", ...functions, script].join("\n")],
    cwd,
    env: { NOTES: notes },
  }).output();
  assert.equal(code, 0, `${document}: ${new TextDecoder().decode(stderr)}`);
  const words = (await Deno.readTextFile(notes)).split("\0");
  const found: Invocation[] = [];
  for (let at = 0; words[at] !== ""; at = words.indexOf("\n", at) + 1) {
    const [program, ...args] = words.slice(at, words.indexOf("\n", at));
    found.push({ program: program!, args });
  }
  return found;
}

/** The arguments of radish, if that is what is called. */
function radishArguments({ program, args }: Invocation): readonly string[] | null {
  if (program === "radish") return args;
  if (program === "deno" && args[0] === "run" && args.includes("main.ts")) {
    return args.slice(args.indexOf("main.ts") + 1);
  }
  return null;
}

/** Whether a command line of radish can run anywhere. */
function needsNothing([name, ...args]: readonly string[]): boolean {
  const named = args.some((arg) => /^[\w.-]+\/[\w.-]+$/.test(arg) || shortNames.has(arg)); // a model of the Hub
  const measures = name === "bench"; // the embedded model for minutes
  return !named && !measures && name !== "pull" && !args.includes("--host");
}

/** Throws unless radish would take the arguments. */
function checkArguments([name = "", ...args]: readonly string[]): void {
  if (["--help", "--version", "help", "completions"].includes(name)) return;
  const command = commands.find((command) => command.name === name);
  assert.ok(command, `there is no command ${name}`);
  const result = parseSync(command.parser(true), [name, ...args]);
  assert.ok(result.success, result.success ? "" : formatMessage(result.error));
}

/** Starts radish in an empty home; a server listens on a port of its own. */
function start(args: readonly string[], home: string): Deno.ChildProcess {
  const port = args[0] === "serve" && !args.includes("--port") ? ["--port", "0"] : [];
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--config", `${root}/deno.json`, `${root}/main.ts`, ...args, ...port],
    cwd: home,
    env: { HOME: home, NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** A server, ready; disposing of it ends it as Ctrl-C would. */
async function serve(
  args: readonly string[],
  home: string,
): Promise<AsyncDisposable & { readonly url: string }> {
  const child = start(args, home);
  const output = child.stdout.cancel();
  let log = "";
  const errors = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  while (!/ready: /.test(log)) {
    const { done, value } = await errors.read();
    if (done) throw new Error(`radish ${args.join(" ")} ended: ${log}`);
    log += value;
  }
  return {
    url: /listening on (http:\S+)/.exec(log)![1]!,
    async [Symbol.asyncDispose]() {
      child.kill("SIGINT");
      while (!(await errors.read()).done);
      await output;
      assert.equal((await child.status).code, 0);
    },
  };
}

async function runRadish(args: readonly string[], home: string): Promise<void> {
  if (args[0] === "serve") {
    await using _server = await serve(args, home);
    return;
  }
  const { code, stderr } = await start(args, home).output();
  assert.equal(code, 0, `radish ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

/** The request that a `curl` line makes, sent to a server of the embedded model. */
async function runCurl(args: readonly string[], home: string): Promise<void> {
  await using server = await serve(["serve"], home);
  const shown = args.find((arg) => arg.startsWith("http://127.0.0.1:1919"))!;
  const { code, stdout } = await new Deno.Command("curl", {
    args: [
      "--silent",
      "--fail",
      ...args.map((arg) => arg === shown ? shown.replace(/^http:\/\/[^/]*/, server.url) : arg),
    ],
  }).output();
  assert.equal(code, 0, `curl ${args.join(" ")}: ${new TextDecoder().decode(stdout)}`);
}

/** A task of `deno.json`; what a task does has tests of its own. */
function checkTask(args: readonly string[]): void {
  assert.ok(args[1] !== undefined && args[1] in config.tasks, `there is no task ${args[1]}`);
}

async function check(invocation: Invocation, home: string): Promise<void> {
  const { program, args } = invocation;
  const radish = radishArguments(invocation);
  if (radish !== null) {
    checkArguments(radish);
    if (needsNothing(radish)) await runRadish(radish, home);
  } else if (program === "curl") {
    await runCurl(args, home);
  } else if (program === "npx") {
    assert.deepEqual(args.slice(0, 2), ["-y", `deno@${denoVersion}`]);
    checkTask(args.slice(2));
  } else if (program === "deno" && args[0] === "task") {
    checkTask(args);
  } else {
    assert.ok(others.includes(program), `${program} ${args.join(" ")}`);
  }
}

for (const document of await readDocuments()) {
  for (const [i, block] of document.shellBlocks.entries()) {
    testWith("bash", ...(/\bcurl\b/.test(block.script) ? ["curl"] : []))(
      `the commands of ${document.path} work, block ${i + 1}`,
      async () => {
        const home = await Deno.makeTempDir();
        try {
          const found = await invocations(block, home);
          assert.ok(found.length > 0);
          for (const invocation of found) await check(invocation, home);
        } finally {
          await Deno.remove(home, { recursive: true });
        }
      },
    );
  }
}

testWith("bash")("a command with an unknown option, task or program is found", async () => {
  const bad: [script: string, message: RegExp][] = [
    ["radish generate --modle x hi", /--modle/],
    ["radish dance", /there is no command dance/],
    ["deno task dance", /there is no task dance/],
    ["npx -y deno@1.0.0 task demo", /deno@1\.0\.0/],
    ["rm -r x", /rm: (command not found|No such file)/],
  ];
  const home = await Deno.makeTempDir();
  try {
    for (const [script, message] of bad) {
      await assert.rejects(async () => {
        for (const invocation of await invocations({ document: "a document", script }, home)) {
          await check(invocation, home);
        }
      }, message);
    }
  } finally {
    await Deno.remove(home, { recursive: true });
  }
});
