// Options: where their values come from, what is said of wrong ones, and the help made from their declarations.

import assert from "node:assert/strict";
import { object } from "@optique/core/constructs";
import { formatMessage } from "@optique/core/message";
import { type InferValue, type Parser, parseSync } from "@optique/core/parser";
import { extractOptionNames } from "@optique/core/usage";
import { defaultEngineOptions } from "../../../engine/options.ts";
import { defaultSamplingParams } from "../../../engine/params.ts";
import { commands } from "../../../server/cli/commands.ts";
import { engineOptions } from "../../../server/cli/engine_options.ts";
import { flag, list, number, oneOf, text, value, whole, wholes } from "../../../server/cli/option.ts";
import { samplingOptions, samplingParams, terminalDefaults } from "../../../server/cli/sampling_options.ts";
import { radish } from "../../e2e/radish.ts";

/** The value, or the message. */
function parse<T>(parser: Parser<"sync", T, unknown>, ...args: string[]): T | string {
  const result = parseSync(parser, args);
  return result.success ? result.value : formatMessage(result.error, { quotes: false });
}

/** Runs with variables in the environment. */
function withVariables(variables: Record<string, string>, run: () => void): void {
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  try {
    run();
  } finally {
    for (const name of Object.keys(variables)) Deno.env.delete(name);
  }
}

const example = () =>
  object({
    device: value("--device", oneOf(["auto", "cpu"]), "where", { fallback: "auto", env: true }),
    numPages: value("-p --num-pages", whole("N", 1, 9), "pages", { env: true }),
    fast: flag("--fast", "or not", { env: true }),
    names: list("--name", "NAME", "some", { env: true }),
    secret: value("--secret", text("TEXT"), "not from the environment"),
  });

Deno.test("the command line comes before the environment, and that before the default", () => {
  const none = { device: "auto", numPages: undefined, fast: false, names: [], secret: undefined };
  assert.deepEqual(parse(example()), none);
  const variables = {
    RADISH_DEVICE: "cpu",
    RADISH_NUM_PAGES: "3",
    RADISH_FAST: "1",
    RADISH_NAME: "a",
    RADISH_SECRET: "no",
  };
  withVariables(variables, () => {
    const set = { device: "cpu", numPages: 3, fast: true, names: ["a"], secret: undefined };
    assert.deepEqual(parse(example()), set);
    assert.deepEqual(parse(example(), "--device=auto", "-p", "4", "--name", "b", "--name", "c"), {
      ...set,
      device: "auto",
      numPages: 4,
      names: ["b", "c"],
    });
  });
  for (const no of ["0", "false", "No", ""]) {
    withVariables({ RADISH_FAST: no, RADISH_DEVICE: "" }, () => assert.deepEqual(parse(example()), none));
  }
});

Deno.test("a wrong value is blamed on the option or on the variable that brought it", () => {
  assert.equal(parse(example(), "--device", "quantum"), '--device must be one of auto, cpu, not "quantum"');
  assert.equal(parse(example(), "-p", "0"), '--num-pages must be a whole number from 1 to 9, not "0"');
  withVariables({ RADISH_DEVICE: "quantum" }, () => {
    assert.equal(parse(example()), 'RADISH_DEVICE must be one of auto, cpu, not "quantum"');
    assert.equal(typeof parse(example(), "--device", "cpu"), "object");
  });
});

Deno.test("numbers are taken within their bounds, negative ones too, and nothing else", () => {
  const one = (parser: ReturnType<typeof number>) => object({ x: value("--x", parser, "a number") });
  assert.deepEqual(parse(one(number("X", { min: -2, max: 2 })), "--x", "-1.5"), { x: -1.5 });
  assert.deepEqual(parse(one(whole("N", 0)), "--x", "1e3"), { x: 1000 });
  for (const bad of ["", " ", "x", "NaN", "Infinity", "2.5", "-3", "9007199254740993"]) {
    assert.match(
      String(parse(one(whole("N", -2)), `--x=${bad}`)),
      /^--x must be a whole number of at least -2, not/,
    );
  }
  const open = object({ x: value("--x", number("X", { min: 0, max: 1, open: true }), "a share") });
  assert.deepEqual(parse(open, "--x", "0.01"), { x: 0.01 });
  assert.equal(parse(open, "--x", "0"), '--x must be a number above 0, up to 1, not "0"');
  const several = object({ x: value("--x", wholes("N,N", 100), "numbers") });
  assert.deepEqual(parse(several, "--x", "1,100"), { x: [1, 100] });
  for (const bad of ["", "1,", "0", "1,101", "1;2"]) {
    assert.match(String(parse(several, "--x", bad)), /^--x must be/);
  }
});

Deno.test("without options the engine gets its own defaults, and the sampler the terminal's behind the model's", () => {
  const { name, source, ...engine } = parse(engineOptions(false)) as InferValue<
    ReturnType<typeof engineOptions>
  >;
  assert.deepEqual(engine, defaultEngineOptions);
  assert.deepEqual([name, source], [undefined, "huggingface"]);
  const none = parse(samplingOptions(false)) as InferValue<ReturnType<typeof samplingOptions>>;
  assert.deepEqual(samplingParams(none, {}), { ...defaultSamplingParams, ...terminalDefaults });
  const given = parse(samplingOptions(false), "--top-k", "5") as typeof none;
  assert.deepEqual(samplingParams(given, { temperature: 0.6, topK: 20 }), {
    ...defaultSamplingParams,
    ...terminalDefaults,
    temperature: 0.6,
    topK: 5,
  });
});

Deno.test("help of every command fits 80 columns and 40 lines, and ends with an example that the command takes", async () => {
  const { stdout: overview } = await radish(["--help"]);
  for (const command of commands) {
    const { code, stdout } = await radish([command.name, "--help"]);
    assert.equal(code, 0);
    assert.match(overview, new RegExp(`^  ${command.name} `, "m"));
    const lines = stdout.trimEnd().split("\n");
    assert.ok(lines.length <= 40, `${command.name}: ${lines.length} lines`);
    for (const line of lines) assert.ok(line.length <= 80, line);
    assert.equal((await radish(["help", command.name])).stdout, stdout);
    const shown = /^example: radish (.*)$/.exec(lines.at(-1)!)![1]!;
    const args = [...shown.matchAll(/"([^"]*)"|\S+/g)].map(([word, quoted]) => quoted ?? word);
    assert.equal(typeof parse(command.parser(true), ...args), "function", shown);
  }
  assert.ok(overview.split("\n").length <= 24);
});

Deno.test("--help-all shows every option, --help leaves out rare ones", async () => {
  for (const name of ["generate", "serve"]) {
    const [few, all] = await Promise.all([radish([name, "--help"]), radish([name, "--help-all"])]);
    const command = commands.find((command) => command.name === name)!;
    for (const option of extractOptionNames(command.parser(true).usage, true)) {
      assert.match(all.stdout, new RegExp(`(^|[ ,])${option}[ ,\\n]`, "m"));
    }
    assert.match(all.stdout, /--num-pages/);
    assert.doesNotMatch(few.stdout, /--num-pages/);
  }
});

Deno.test("a wrong command line is one line that helps, and exit code 2", async () => {
  const cases: [args: string[], message: RegExp, env?: Record<string, string>][] = [
    [["run"], /^radish: say which model: radish run qwen3:0.6b; radish list shows those that are here\n$/],
    [["launch"], /^radish: say which tool: /],
    [[], /^radish: no command given: one of generate, serve, .*; see radish --help\n$/],
    [["generat", "hi"], /^radish: .*generat\b.*generate\b.*\n$/],
    [["generate", "--tempreature", "1", "hi"], /^radish: .*--tempreature.*--temperature.*\n$/],
    [
      ["generate", "--temperature", "-1", "hi"],
      /^radish: --temperature must be a number from 0 to 2, not "-1"\n$/,
    ],
    [["generate", "hi"], /^radish: RADISH_DEVICE must be .*, not "quantum"\n$/, { RADISH_DEVICE: "quantum" }],
    [["list", "everything"], /^radish: .*everything.*\n$/],
    [["pull"], /^radish: .*MODEL.*\n$/],
    [["help", "dance"], /^radish: .*dance.*\n$/],
    [["generate", "--model"], /^radish: --model .*DIR\|ID.*\n$/],
  ];
  for (const [args, message, env = {}] of cases) {
    const { code, stdout, stderr } = await radish(args, { env });
    assert.match(stderr, message);
    assert.equal(code, 2);
    assert.equal(stdout, "");
  }
});
