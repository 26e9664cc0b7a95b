// The program on terminals of 40 and 120 columns, and on one that says it can do nothing.

import assert from "node:assert/strict";
import { testWith } from "../../programs.ts";
import { HubStandIn, name } from "../hub/stand_in.ts";
import { Terminal } from "./tmux.ts";

const main = decodeURIComponent(new URL("../../../main.ts", import.meta.url).pathname);
const radish = [Deno.execPath(), "run", "-A", "--no-check", main];
const tmuxTest = testWith("tmux", "env");

/** A hub that stops in the middle of the weights. */
function stuckHub(): HubStandIn {
  const hub = new HubStandIn();
  hub.add("config.json", "{}").add("model.safetensors", new Uint8Array(3_000_000));
  hub.trouble.stall = { after: 1_500_000, times: 1000 };
  return hub;
}

for (const columns of [40, 120]) {
  tmuxTest(
    `a bar is one line of a terminal with ${columns} columns, and Ctrl-C there is exit code 130`,
    async () => {
      const home = await Deno.makeTempDir();
      try {
        await using hub = stuckHub();
        const env = { HF_HOME: home, HF_ENDPOINT: hub.url };
        await using terminal = await Terminal.start([...radish, "pull", name], { columns, env });
        const screen = await terminal.see(/1 MiB of 3 MiB.* [1-9]\d %/);
        const bars = screen.split("\n").filter((line) => line.startsWith(`${name} `));
        assert.equal(bars.length, 1, screen);
        assert.equal(/[█░]{8,28} \d+ %$/.test(bars[0]!), columns === 120, screen);
        assert.ok(terminal.written.includes("\\033[K"));
        await terminal.type("C-c");
        assert.match(await terminal.see(/^rc/m), /^radish: interrupted; [^]*rc 130$/m);
      } finally {
        await Deno.remove(home, { recursive: true });
      }
    },
  );

  tmuxTest(
    `with ${columns} columns a paste of two lines is one message, without marks two, none is lost`,
    async () => {
      await using terminal = await Terminal.start([...radish, "chat"], { columns });
      await terminal.see(/^>/m);
      await terminal.paste("My name is Kim.\nWhat is my name?", true);
      await terminal.see(/Kim\.⏎What is/);
      await terminal.type("Enter");
      await terminal.see(/is Kim\.\n>/);
      await terminal.type("/reset", "Enter");
      await terminal.see(/forgotten\n>/);
      await terminal.paste("My name is Ida.\nWhat is my name?\n", false);
      const screen = await terminal.see(/Your name is Ida\.\n>/);
      assert.match(screen, /meet you, Ida\.\n> What is my name\?\nYour name is Ida\./);
      await terminal.type('"""', "Enter", "What is", "Enter", '2 plus 3?"""', "Enter");
      await terminal.see(/… 2 plus 3\?"""\n.*5\.\n>/);
      await terminal.type("C-d");
      await terminal.see(/^rc 0$/m);
    },
  );
}

tmuxTest("TERM=dumb gets plain lines: no bar, no escape sequences", async () => {
  const home = await Deno.makeTempDir();
  try {
    await using hub = new HubStandIn();
    hub.add("config.json", "{}").add("model.safetensors", new Uint8Array(3_000_000));
    const env = { HF_HOME: home, HF_ENDPOINT: hub.url, TERM: "dumb" };
    await using terminal = await Terminal.start([...radish, "pull", name], { columns: 80, env });
    await terminal.see(/asking[^]*^rc 0$/m);
    // What comes before is Deno's.
    assert.match(terminal.written, /asking/);
    assert.doesNotMatch(terminal.written.slice(terminal.written.indexOf("asking")), /\\033|[█░]/);
  } finally {
    await Deno.remove(home, { recursive: true });
  }
});

tmuxTest(
  "after Ctrl-C the part of the answer that came stands there once, and then that it was stopped",
  async () => {
    await using terminal = await Terminal.start([...radish, "chat", "--ignore-eos"], { columns: 80 });
    await terminal.see(/^>/m);
    await terminal.type("Tell me a story about a fox named Ida.", "Enter");
    await terminal.see(/Once upon[^.]* Ida\b/);
    await terminal.type("C-c");
    await terminal.see(/\(stopped\)\n>/);
    const screen = await terminal.whole();
    // Where a story ends before it is stopped, another one begins.
    assert.equal(screen.match(/Once upon[^.]* Ida\b/g)?.length, 1, screen);
    assert.doesNotMatch(screen, /\^C/);
    await terminal.type("C-d");
    await terminal.see(/^rc 0$/m);
  },
);
