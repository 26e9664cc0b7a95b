// The self-test against backends that need no GPU: it passes the reference, and one that is wrong is named.

import assert from "node:assert/strict";
import { selfTest } from "../../../kernels/cuda/self_test.ts";
import type { AttentionArgs, LinearArgs, Ops } from "../../../kernels/ops.ts";
import { ReferenceBackend } from "../../../kernels/reference/backend.ts";

/** The reference, with some operations left out. */
class Broken extends ReferenceBackend {
  constructor(
    readonly left: (operation: "linear" | "attention", args: LinearArgs | AttentionArgs) => boolean,
  ) {
    super();
  }
  override record(...[plan, forward]: Parameters<ReferenceBackend["record"]>) {
    return super.record(plan, (ops) => {
      const kept: Pick<Ops, "linear" | "attention"> = {
        linear: (args) => this.left("linear", args) ? undefined : ops.linear(args),
        attention: (args) => this.left("attention", args) ? undefined : ops.attention(args),
      };
      forward(Object.assign(Object.create(ops), kept) as Ops);
    });
  }
}

Deno.test("the self-test passes a backend that computes right", async () => {
  await selfTest(() => Promise.resolve(new ReferenceBackend()));
});

Deno.test("the self-test names what comes out wrong", async () => {
  const broken = (left: Broken["left"]) => selfTest(() => Promise.resolve(new Broken(left)));
  await assert.rejects(broken((what) => what === "linear"), /fails the self-test: a product for 1 tokens/);
  let calls = 0;
  await assert.rejects(broken((what) => what === "linear" && ++calls === 3), /a product for 130 tokens/);
  await assert.rejects(broken((what) => what === "attention"), /attention of a prompt is wrong/);
  calls = 0;
  await assert.rejects(broken((what) => what === "attention" && ++calls === 2), /decoding is wrong/);
});
