import assert from "node:assert/strict";
import { parseResult } from "../../bench/report/results.ts";
import { runDeno } from "./program.ts";

const answer = JSON.stringify({
  device: "a GPU",
  load_seconds: 1,
  measurements: [
    { what: "prefill", size: 16, tokens_per_second: 100 },
    { what: "decode", size: 2, tokens_per_second: 200 },
    { what: "offline", size: 3, tokens_per_second: 50 },
  ],
});

Deno.test({
  name: "radish and mini-SGLang come out as one table and a result that the report reads",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
        await Deno.writeTextFile(`${folder}/${name}`, "{}");
      }
      const python = `${folder}/python`;
      await Deno.writeTextFile(python, `#!/bin/sh\necho a line of a log\necho '${answer}'\n`, {
        mode: 0o755,
      });
      const { code, stdout, stderr } = await runDeno(
        ["bench/peers/mini_sglang.ts", "--sources", folder, "--tokenizer", folder, "--python", python],
        [
          "--device",
          "cpu",
          "--shapes",
          "models/pocket",
          "--prompts",
          "16",
          "--batches",
          "2",
          "--tokens",
          "8",
        ],
        ["--repeat", "1", "--requests", "3", "--min", "4", "--max", "9", "--out", folder],
      );
      assert.equal(code, 0, stderr);
      assert.match(stdout, /pocket: prefill, 16 tokens +[\d,.]+ +100 /);
      assert.match(
        stdout,
        /pocket: offline, 3 requests, tokens out +[\d,.]+ +50 /,
      );
      const result = parseResult(await Deno.readTextFile(`${folder}/mini-sglang-pocket.json`));
      assert.equal(result.kind, "peers");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
