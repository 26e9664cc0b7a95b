// The coding agents themselves, from their makers' packages, started by `radish launch` against a server whose engine
// plays a script: read a file, edit it, run a command, answer. The edit has to be on disk in the end.
//
// `npm install @anthropic-ai/claude-code @openai/codex opencode-ai` somewhere and its `node_modules/.bin` on the PATH;
// an agent that is not there is left out.

import assert from "node:assert/strict";
import { FakeEngine, type Script } from "../server/http/fake_engine.ts";
import { onLoopback } from "../server/http/loopback.ts";
import { spawnRadish } from "./radish.ts";

type Call = readonly [name: string, args: Readonly<Record<string, unknown>>];

interface Agent {
  readonly name: string;
  /** Its own arguments for a run without a terminal. */
  readonly args: readonly string[];
  readonly calls: (file: string) => readonly Call[];
  /** Where it asks. */
  readonly path: string;
}

const task = "Make the sky green in note.txt";
const agents: readonly Agent[] = [
  {
    name: "claude",
    args: ["-p", "--allowedTools", "Read,Edit,Bash", "--", task],
    calls: (file) => [
      ["Read", { file_path: file }],
      ["Edit", { file_path: file, old_string: "blue", new_string: "green" }],
      ["Bash", { command: `wc -c ${file}`, description: "count" }],
    ],
    path: "/v1/messages",
  },
  {
    name: "codex",
    args: ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", task],
    calls: (file) => [
      ["exec_command", { cmd: `cat ${file}` }],
      ["exec_command", { cmd: `sed -i s/blue/green/ ${file}` }],
      ["exec_command", { cmd: `wc -c ${file}` }],
    ],
    path: "/v1/responses",
  },
  {
    name: "opencode",
    args: ["run", task],
    calls: (file) => [
      ["read", { filePath: file }],
      ["edit", { filePath: file, oldString: "blue", newString: "green" }],
      ["bash", { command: `wc -c ${file}`, description: "count" }],
    ],
    path: "/v1/chat/completions",
  },
];

async function installed(name: string): Promise<boolean> {
  try {
    return (await new Deno.Command(name, { args: ["--version"], stdout: "null", stderr: "null" }).output())
      .success;
  } catch {
    return false;
  }
}

/** The next call for as many results as there are; agents ask for a title, too, and offer no tools then. */
function script(calls: readonly Call[]): Script {
  return (prompt) => {
    if (!prompt.includes(`"name":"${calls[0]![0]}"`)) return { pieces: ["A title"] };
    const call = calls[(prompt.match(/\ntool: /g) ?? []).length];
    if (call === undefined) return { pieces: [..."The sky is green now."] };
    const [name, args] = call;
    return { pieces: [...`<tool_call>\n${JSON.stringify({ name, arguments: args })}\n</tool_call>`] };
  };
}

for (const { name, args, calls, path } of agents) {
  const there = await installed(name);
  Deno.test({
    name: `${name}, started by radish launch, edits a file${
      there ? "" : ` (ignored: ${name} is not on the PATH)`
    }`,
    ignore: !there,
    async fn() {
      const home = await Deno.makeTempDir();
      try {
        const file = `${home}/work/note.txt`;
        await Deno.mkdir(`${home}/work`);
        await Deno.writeTextFile(file, "The sky is blue.\n");
        const engine = new FakeEngine(script(calls(file)), { contextLength: 2 ** 20 });
        const lines: string[] = [];
        await using server = onLoopback(engine, { logFormat: "text", log: (line) => lines.push(line) });
        const child = spawnRadish(["launch", name, "--url", server.url, "--", ...args], {
          cwd: `${home}/work`,
          env: { HOME: home, PWD: `${home}/work` },
        });
        const { code, stdout, stderr } = await child.output();
        const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
        const told = `${decode(stdout)}\n${decode(stderr)}\n${lines.join("\n")}`;
        assert.equal(await Deno.readTextFile(file), "The sky is green.\n", told);
        assert.equal(code, 0, told);
        assert.match(told, /The sky is green now\./);
        assert.ok(lines.filter((line) => line.includes(` POST ${path} 200 `)).length >= 4, told);
        assert.ok(!lines.some((line) => / POST \S+ [45]\d\d /.test(line)), told);
      } finally {
        await Deno.remove(home, { recursive: true });
      }
    },
  });
}

const codexIsThere = await installed("codex");
Deno.test({
  name: `codex takes the list of models that the server gives${
    codexIsThere ? "" : " (ignored: codex is not on the PATH)"
  }`,
  ignore: !codexIsThere,
  async fn() {
    const home = await Deno.makeTempDir();
    try {
      const prompts: string[] = [];
      const engine = new FakeEngine((prompt) => {
        prompts.push(prompt);
        return { pieces: [..."Done."] };
      }, { contextLength: 2 ** 20 });
      await using server = onLoopback(engine);
      const models = await (await fetch(`${server.url}/v1/models`)).text();
      await Deno.writeTextFile(`${home}/models.json`, models);
      const catalog = `model_catalog_json=${JSON.stringify(`${home}/models.json`)}`;
      const args = ["-c", catalog, "exec", "--skip-git-repo-check", "Hello"];
      const child = spawnRadish(["launch", "codex", "--url", server.url, "--", ...args], {
        cwd: home,
        env: { HOME: home, PWD: home },
      });
      const { code, stdout, stderr } = await child.output();
      const told = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
      assert.equal(code, 0, told);
      assert.doesNotMatch(told, /metadata for .* not found/);
      const [{ base_instructions }] = JSON.parse(models).models;
      assert.ok(prompts.some((prompt) => prompt.includes(base_instructions)), told);
    } finally {
      await Deno.remove(home, { recursive: true });
    }
  },
});
