// Logits on their way to and from the place where they are kept for a later draw, one set for each row of the pool.
//
// Grid: (stride / 1024, rows), a thread for each four logits. Bound by memory, but small.

import { SampleFlag } from "../../sampling.ts";
import { Sample } from "../plan/words.ts";
import { kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { elementMain } from "../shader/reduce.ts";
import { divideUp } from "../shader/wgsl.ts";
import { type LogitsShape, sampleRecord } from "./draw.ts";

const threads = 256;

/** Keeps the logits of those of `rows` rows that are drawn later, or brings back what was kept of all of them. */
export function moveKept(
  { stride }: Pick<LogitsShape, "stride">,
  direction: "keep" | "restore",
  rows: number,
): KernelCall<"logits" | "kept"> {
  const vecs = stride / 4, vec = "vec4<f32>", keeps = direction === "keep";
  const others = keeps ? ` || field(id.y, ${Sample.flags}u) != ${SampleFlag.Keep}u` : "";
  const here = `logits[id.y * ${vecs}u + id.x]`;
  const there = `kept[field(id.y, ${Sample.row}u) * ${vecs}u + id.x]`;
  return kernel({
    key: `${direction} ${stride}`,
    buffers: keeps ? { logits: read(vec), kept: write(vec) } : { logits: write(vec), kept: read(vec) },
    workgroups: [divideUp(vecs, threads), rows, 1],
    code: () =>
      `${sampleRecord}
${elementMain(threads)} {
  if (id.x >= ${vecs}u${others}) { return; }
  ${keeps ? `${there} = ${here}` : `${here} = ${there}`};
}`,
  });
}
