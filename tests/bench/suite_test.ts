import assert from "node:assert/strict";
import type { ChildOutcome } from "../../bench/suite/child.ts";
import { denoRunner } from "../../bench/suite/child.ts";
import { type Part, type SuiteOptions, suiteParts } from "../../bench/suite/parts.ts";
import { runParts } from "../../bench/suite/run.ts";
import { runDeno } from "./program.ts";

const root = decodeURIComponent(new URL("../../", import.meta.url).pathname);

const options: SuiteOptions = {
  device: "auto",
  threads: null,
  cachedOnly: true,
  model: "bench/shapes/qwen3-0.6b",
  shapes: "bench/shapes",
  batches: [1, 8],
  plainBatches: [1],
  prompt: 2048,
  context: 128,
  tokens: 128,
  repeat: 5,
  requests: 256,
  minTokens: 100,
  maxTokens: 1024,
};

const part = (name: string): Part => ({
  name,
  args: [name],
  read: ({ stdout }) => ({ figures: [{ name, value: JSON.parse(stdout), unit: "" }], raw: stdout }),
});

const outcome = (changes: Partial<ChildOutcome>): ChildOutcome => ({
  code: 0,
  stdout: "1",
  stderr: "",
  seconds: 1,
  ...changes,
});

Deno.test("a part that fails, crashes after its output or times out loses none of the others", async () => {
  const outcomes: Record<string, ChildOutcome> = {
    fails: outcome({ code: 1, stdout: "", stderr: "radish: no such thing\n" }),
    crashes: outcome({ code: 139, stdout: "7" }),
    hangs: outcome({ code: null, stdout: "" }),
    works: outcome({ stdout: "9" }),
  };
  const told: string[] = [];
  const results = await runParts(
    Object.keys(outcomes).map(part),
    100,
    ([name]) => Promise.resolve(outcomes[name!]!),
    ({ name }) => told.push(name),
    () => 0,
  );
  assert.deepEqual(told, ["fails", "crashes", "hangs", "works"]);
  assert.deepEqual(results.map(({ status }) => status), ["failed", "ok", "timed out", "ok"]);
  assert.match(results[0]!.problem!, /radish: no such thing/);
  assert.equal(results[1]!.exit_code, 139);
  assert.deepEqual(results[3]!.figures, [{ name: "works", value: 9, unit: "" }]);
});

Deno.test("what does not fit into the time budget is skipped, and each part gets only what is left", async () => {
  let clock = 0;
  const limits: number[] = [];
  const results = await runParts(
    ["a", "b", "c"].map(part),
    60,
    (_, limit) => {
      limits.push(limit);
      clock += 40;
      return Promise.resolve(outcome({}));
    },
    () => {},
    () => clock,
  );
  assert.deepEqual(limits, [60, 20]);
  assert.deepEqual(results.map(({ status }) => status), ["ok", "ok", "skipped"]);
});

Deno.test("a child process is ended at its time limit and when the suite is stopped", async () => {
  const forever = ["eval", "console.log('begun'); await new Promise((r) => setTimeout(r, 1e6))"];
  const limited = await denoRunner(root, new AbortController().signal)(forever, 0.5);
  assert.equal(limited.code, null);
  const stopped = await denoRunner(root, AbortSignal.abort())(forever, 1000);
  assert.equal(stopped.code, null);
  const { code, stdout } = await denoRunner(root, new AbortController().signal)(
    ["eval", "console.log(1)"],
    100,
  );
  assert.deepEqual([code, stdout], [0, "1\n"]);
});

Deno.test("the suite checks correctness first, and a failing test is a failed part", () => {
  const [check] = suiteParts(options);
  assert.equal(check!.name, "correctness");
  const tests = ["tests/kernels/webgpu", "tests/kernels/linear_test.ts", "tests/models/webgpu_test.ts"];
  assert.deepEqual(check!.args.slice(-tests.length), tests);
  const [cuda] = suiteParts({ ...options, device: "cuda" });
  assert.deepEqual(cuda!.args.slice(-2), ["tests/kernels/cuda", "tests/models/cuda_test.ts"]);
  const read = (stdout: string) => check!.read({ stdout, code: 0 });
  assert.equal(read("ok | 103 passed | 0 failed (3s)").figures[0]!.value, 103);
  assert.equal(read("ok | 103 passed (4 steps) | 0 failed (3s)").figures[0]!.value, 103);
  assert.throws(() => read("FAILED | 102 passed | 1 failed (3s)"), /1 failed/);
  assert.throws(() => read("ok | 0 passed | 0 failed (3s)"), /0 tests passed/);
  assert.throws(() => read("killed"), /no end/);
});

Deno.test("the products of a long prompt are one figure, weighted by their time, and one each", () => {
  const products = suiteParts(options).find(({ name }) => name === "products")!;
  const kernel = (name: string, microseconds: number, teraflops: number) => ({
    kernel: name,
    microseconds,
    teraflops,
  });
  const { figures } = products.read({
    stdout: JSON.stringify({
      kernels: [
        kernel("q/k/v 6×4", 100, 30),
        kernel("down 4×4", 300, 70),
        kernel("attention, prefill", 9, 1),
      ],
    }),
    code: 0,
  });
  assert.deepEqual(figures.map(({ value }) => value), [60, 30, 70]);
  assert.throws(() => products.read({ stdout: JSON.stringify({ kernels: [] }), code: 0 }), /no products/);
});

Deno.test("a trace is kept as it is, and one without steps is a failure", () => {
  const trace = suiteParts(options).find(({ name }) => name === "trace")!;
  const stdout = "device\n\ndecode, 8 sequences at 128: 200 dispatches, kernels 1 ms\n  1 ms gemm\n";
  assert.deepEqual(trace.read({ stdout, code: 0 }), {
    figures: [{ name: "traced steps", value: 1, unit: "" }],
    raw: stdout,
  });
  assert.throws(() => trace.read({ stdout: "", code: 1 }), /no step/);
});

Deno.test("the whole suite runs on a small model and writes one file with all its figures", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const { code, stdout, stderr } = await runDeno(
      ["bench/suite.ts", "--model", "models/pocket", "--device", "cpu", "--threads", "1", "--out", folder],
      [
        "--parts",
        "decode,offline,decode-plain,pocket,generate",
        "--batches",
        "1,3",
        "--plain-batches",
        "1",
        "--prompt",
        "48",
      ],
      ["--tokens", "32", "--repeat", "1", "--requests", "3", "--min", "4", "--max", "12"],
    );
    assert.equal(code, 0, stderr);
    const [file, ...others] = [...Deno.readDirSync(folder)].map(({ name }) => name);
    assert.deepEqual(others, []);
    const result = JSON.parse(await Deno.readTextFile(`${folder}/${file}`));
    assert.match(result.device, /CPU/);
    const figures: { name: string; value: number }[] = result.parts.flatMap((each: { figures: unknown }) =>
      each.figures
    );
    assert.deepEqual(figures.map(({ name }) => name), [
      "pocket: prefill, 48 tokens",
      "pocket: decode, 1 sequence, context 128",
      "pocket: decode, 3 sequences, context 128",
      "pocket: offline, 3 requests",
      "pocket: offline, 3 requests, busy",
      "generate, pocket",
      "generate, pocket: first token",
      "generate, random weights of pocket",
      "generate, random weights of pocket: first token",
      "pocket: decode, 1 sequence, context 128, no overlap",
    ]);
    for (const { name, value } of figures) {
      assert.ok(value > 0, name);
      assert.ok(stdout.includes(name));
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
