import assert from "node:assert/strict";
import { runDeno } from "./program.ts";

Deno.test("the front's benchmark gets every token of every answer, streamed and whole, through two trees in turn", async () => {
  const out = await Deno.makeTempFile({ suffix: ".json" });
  try {
    for (const whole of [[], ["--whole"]]) {
      const { code, stderr } = await runDeno(
        ["bench/front.ts", "--api", "generate,chat,completions", "--trees", ".,."],
        [
          ...["--requests", "8", "--concurrency", "4", "--tokens", "12", "--period", "2", "--out", out],
          ...whole,
        ],
      );
      assert.equal(code, 0, stderr); // it compares each answer with what was sent
      const { kind, runs } = JSON.parse(await Deno.readTextFile(out));
      assert.equal(kind, "front");
      const seen = runs.map(({ api, tokens }: { api: string; tokens: number }) => `${api} ${tokens}`);
      assert.deepEqual(
        seen,
        ["generate", "chat", "completions"].flatMap((api) => Array(2).fill(`${api} 96`)),
      );
      for (const { cpu_seconds, client_cpu_seconds } of runs) {
        assert.ok(cpu_seconds > 0 && client_cpu_seconds > 0);
      }
    }
  } finally {
    await Deno.remove(out);
  }
});
