import { gpuTest } from "../../gpu.ts";
import assert from "node:assert/strict";
import { createGroupMemory } from "../../../engine/executor/collectives.ts";
import { readReference } from "../../models/harness.ts";
import type { RankOutcome, RankTask } from "./parallel_rank.ts";

const pocket = new URL("../../../models/pocket/", import.meta.url).pathname;

for (const size of [1, 2]) {
  gpuTest(
    `${size} WebGPU ranks that share a model give the reference's greedy tokens, each of them`,
    async () => {
      const { prompt, greedy } = (await readReference(`${pocket}reference.safetensors`))[1]!;
      const memory = createGroupMemory(size);
      const workers = Array.from(
        { length: size },
        () =>
          new Worker(new URL("./parallel_rank.ts", import.meta.url), {
            type: "module",
          }),
      );
      const outcomes = await Promise.all(
        workers.map((worker, rank) =>
          new Promise<RankOutcome>((resolve) => {
            worker.onmessage = ({ data }) => resolve(data);
            const task: RankTask = {
              directory: pocket,
              memory,
              rank,
              size,
              prompt,
              tokens: 12,
            };
            worker.postMessage(task);
          })
        ),
      );
      for (const outcome of outcomes) {
        if ("error" in outcome) throw new Error(outcome.error);
        assert.deepEqual(outcome.tokens, greedy.slice(0, 12));
        assert.ok(outcome.logprob < 0 && outcome.logprob > -20);
        assert.equal(outcome.logits, 2048);
      }
    },
  );
}
