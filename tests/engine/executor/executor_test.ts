import assert from "node:assert/strict";
import { Executor } from "../../../engine/executor/executor.ts";
import type { StepResult } from "../../../kernels/plan.ts";
import { ReferenceBackend } from "../../../kernels/reference/backend.ts";
import type { RecordedStep } from "../../../kernels/ops.ts";
import { plan } from "../../kernels/plans.ts";

/** A backend that only writes down the order in which it is used. */
class LoggingBackend extends ReferenceBackend {
  readonly log: string[] = [];
  override record(step: { id: number }): RecordedStep {
    this.log.push(`record ${step.id}`);
    return {
      submit: () => void this.log.push(`submit ${step.id}`),
      read: () => {
        this.log.push(`read ${step.id}`);
        return { id: step.id } as StepResult;
      },
    };
  }
}

Deno.test("the executor records a step before it reads the one before, and posts results after the submit", async () => {
  const backend = new LoggingBackend();
  const executor = new Executor(
    backend,
    { forward() {} },
    ({ result }) => backend.log.push(`post ${result.id}`),
  );
  void executor.handle({ type: "plan", plan: plan(1, []) });
  void executor.handle({ type: "plan", plan: plan(2, []) });
  await executor.handle({ type: "drain" });
  await executor.handle({ type: "drain" });
  assert.deepEqual(backend.log, [
    ...["record 1", "submit 1"],
    ...["record 2", "read 1", "submit 2", "post 1"],
    ...["read 2", "post 2"],
  ]);
});

Deno.test("a draw and the forward behind it are recorded before the forward that runs is read, in this order", async () => {
  const backend = new LoggingBackend();
  const executor = new Executor(
    backend,
    { forward() {} },
    ({ result }) => backend.log.push(`post ${result.id}`),
  );
  const draw = (id: number) => ({ ...plan(id, []), draws: true });
  for (const step of [plan(1, []), draw(2), plan(3, []), draw(4)]) {
    void executor.handle({ type: "plan", plan: step });
  }
  await executor.handle({ type: "drain" });
  await executor.handle({ type: "plan", plan: draw(5) });
  await executor.idle();
  assert.deepEqual(backend.log, [
    ...["record 1", "submit 1", "record 2", "record 3"],
    ...["read 1", "submit 2", "post 1", "read 2", "submit 3", "post 2"],
    // Nothing follows this one, and a drain says so.
    ...["record 4", "read 3", "submit 4", "post 3", "read 4", "post 4"],
    ...["record 5", "submit 5", "read 5"],
  ]);
});

Deno.test("a step that fails rejects its message and every one after it", async () => {
  class Failing extends LoggingBackend {
    override record(step: { id: number }): RecordedStep {
      if (step.id === 2) throw new Error("device lost");
      return super.record(step);
    }
  }
  const executor = new Executor(new Failing(), { forward() {} }, () => {});
  await executor.handle({ type: "plan", plan: plan(1, []) });
  await assert.rejects(executor.handle({ type: "plan", plan: plan(2, []) }), /device lost/);
  await assert.rejects(executor.handle({ type: "drain" }), /device lost/);
});
