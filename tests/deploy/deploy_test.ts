// The files of deploy/, each read by the program that it is for; and what they say of radish, by radish itself.

import assert from "node:assert/strict";
import { parseSync } from "@optique/core/parser";
import { commands } from "../../server/cli/commands.ts";
import { createApp } from "../../server/http/app.ts";
import { root } from "../../tools/contents.ts";
import { hasProgram } from "../programs.ts";
import { get } from "../server/http/client.ts";
import { FakeEngine } from "../server/http/fake_engine.ts";

const deploy = `${root}/deploy`;
const decoder = new TextDecoder();

interface Ran {
  readonly code: number;
  readonly output: string;
}

async function run(command: string, args: readonly string[], stdin = "", env = {}): Promise<Ran> {
  const child = new Deno.Command(command, {
    args: [...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env,
  })
    .spawn();
  const writer = child.stdin.getWriter();
  const written = writer.write(new TextEncoder().encode(stdin)).then(() => writer.close());
  const { code, stdout, stderr } = await child.output();
  await written;
  return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** A Python with SkyPilot and kubernetes-validate: they need other versions of some packages than other judges. */
const python = Deno.env.get("RADISH_DEPLOY_PYTHON") ?? "python3";
const has = async (command: string, name: string) => {
  if (!hasProgram("python3")) return false;
  const code = `import sys; from importlib.util import find_spec; sys.exit(find_spec("${name}") is None)`;
  const found = (await run(command, ["-c", code])).code === 0;
  if (!found) console.warn(`part of deploy/ is not tested: Python's package ${name} is not here`);
  return found;
};
const hasSky = await has(python, "sky"), hasKubernetes = await has(python, "kubernetes_validate");
const hasRouter = await has("python3", "sglang_router");
for (const program of ["nginx", "systemd-analyze"]) {
  if (!hasProgram(program)) console.warn(`part of deploy/ is not tested: there is no ${program} here`);
}

/** What a parser makes of a file; throws its refusal. */
async function judge<T>(kind: "skypilot" | "kubernetes", path: string): Promise<T> {
  const home = await Deno.makeTempDir();
  try {
    const script = decodeURIComponent(new URL("judge.py", import.meta.url).pathname);
    const env = { HOME: home, SKYPILOT_DISABLE_USAGE_COLLECTION: "1" };
    const { code, output } = await run(python, [script], JSON.stringify({ [kind]: path }), env);
    assert.equal(code, 0, output);
    const answer = JSON.parse(output.trim().split("\n").at(-1)!);
    if ("refused" in answer) throw new Error(answer.refused);
    return answer.read;
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}

/** The file with something replaced, in a place of its own, for as long as `use` takes. */
async function changed(
  name: string,
  [from, to]: readonly [string, string],
  use: (path: string) => Promise<void>,
): Promise<void> {
  const text = await Deno.readTextFile(`${deploy}/${name}`);
  assert.ok(text.includes(from), `${name} has no ${from}`);
  const directory = await Deno.makeTempDir();
  try {
    const path = `${directory}/${name.split("/").at(-1)}`;
    await Deno.writeTextFile(path, text.replaceAll(from, to));
    await use(path);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Checks the arguments behind `radish`. */
function assertTaken(args: readonly string[]): void {
  const command = commands.find(({ name }) => name === args[0]);
  assert.ok(command, `no command ${args[0]}`);
  const result = parseSync(command.parser(true), args);
  assert.ok(result.success, `radish ${args.join(" ")} is refused`);
}

/** Words of a shell's command, without its quotes and with lines joined. */
const words = (text: string) =>
  text.replaceAll("\\\n", " ").trim().split(/\s+/).map((word) => word.replaceAll('"', ""));

Deno.test({
  name:
    "SkyPilot takes the service file: readiness probe, replicas, policy; and radish takes its command lines",
  ignore: !hasSky,
  fn: async () => {
    const task = await judge<Record<string, unknown> & { run: string; setup: string }>(
      "skypilot",
      `${deploy}/skypilot.yaml`,
    );
    assert.equal(task["probe"], "/health");
    assert.deepEqual(task["replicas"], [1, 8]);
    assert.equal(task["policy"], "least_load");
    assert.deepEqual(task["ports"], ["8000"]);
    assert.deepEqual(task["envs"], ["MODEL", "RADISH_API_KEY"]);
    const lines = [task.setup, task.run].join("\n").replaceAll("\\\n", " ").split("\n");
    const calls = lines.filter((line) => line.includes("main.ts"));
    assert.equal(calls.length, 2);
    for (const call of calls) {
      const all = words(call);
      assertTaken(all.slice(all.indexOf("main.ts") + 1));
    }
    assert.match(task.setup, new RegExp(`deno==${Deno.version.deno.replaceAll(".", "\\.")}$`, "m"));
    assert.match(task.run, /--port 8000/);
    await changed(
      "skypilot.yaml",
      ["least_load", "most_load"],
      (path) => assert.rejects(judge("skypilot", path), /most_load|policy/i),
    );
  },
});

interface KubernetesObject {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Record<string, string> };
  // deno-lint-ignore no-explicit-any -- as deep as Kubernetes' objects are; they have been validated
  readonly spec: any;
  // deno-lint-ignore no-explicit-any
  readonly data: any;
}

const one = (objects: readonly KubernetesObject[], kind: string) => {
  const found = objects.filter((each) => each.kind === kind);
  assert.equal(found.length, 1, kind);
  return found[0]!;
};

Deno.test({
  name: "Kubernetes' schemas take every manifest, and refuse a misspelt field",
  ignore: !hasKubernetes,
  fn: async () => {
    const read = (name: string) => judge<KubernetesObject[]>("kubernetes", `${deploy}/kubernetes/${name}`);
    const [radish, metrics, router] = await Promise.all(
      ["radish.yaml", "metrics.yaml", "router.yaml"].map(read),
    ) as [KubernetesObject[], KubernetesObject[], KubernetesObject[]];
    const server = one(radish, "Deployment"), pod = server.spec.template;
    const [container] = pod.spec.containers;
    assertTaken(container.command.slice(1));

    // Every variable is an option's: with a wrong value the option is blamed.
    const variables = container.env.map(({ name }: { name: string }) => name)
      .filter((name: string) => name.startsWith("RADISH_"));
    for (const name of variables) {
      assertTaken([
        "serve",
        `--${name.slice("RADISH_".length).toLowerCase().replaceAll("_", "-")}`,
        valueOf(name),
      ]);
    }
    function valueOf(name: string): string {
      return container.env.find((each: { name: string }) => each.name === name).value ?? "a-key";
    }

    // Time to end: the pause, then the drain, and something to spare.
    const pause = container.lifecycle.preStop.sleep.seconds, drain = Number(valueOf("RADISH_DRAIN_TIMEOUT"));
    assert.ok(pause + drain + 5 <= pod.spec.terminationGracePeriodSeconds);
    for (const probe of ["startupProbe", "readinessProbe", "livenessProbe"]) {
      assert.deepEqual(container[probe].httpGet, { path: "/health", port: "http" });
    }
    assert.equal(String(container.ports[0].containerPort), valueOf("RADISH_PORT"));
    assert.deepEqual(one(radish, "Service").spec.selector, server.spec.selector.matchLabels);

    // The autoscaler's metrics are made by the adapter's rules from series that the server has.
    const scaler = one(radish, "HorizontalPodAutoscaler").spec;
    assert.equal(scaler.scaleTargetRef.name, server.metadata.name);
    const wanted = scaler.metrics.map((each: { pods: { metric: { name: string } } }) =>
      each.pods.metric.name
    );
    const { rules } = one(metrics, "ConfigMap").data["config.yaml"];
    assert.deepEqual(wanted, rules.map((rule: { name: { as: string } }) => rule.name.as));
    const shown = await (await get(createApp(new FakeEngine(), { logFormat: "none" }), "/metrics")).text();
    for (const { seriesQuery } of rules) {
      const name = /__name__="([^"]+)"/.exec(seriesQuery)![1]!;
      assert.ok(shown.includes(`\n${name}{`), name);
    }

    // The router looks for the servers' label and port.
    const { args } = one(router, "Deployment").spec.template.spec.containers[0];
    assert.ok(args.includes(`--selector=app=${pod.metadata.labels.app}`));
    assert.ok(args.includes(`--service-discovery-port=${container.ports[0].containerPort}`));

    await changed(
      "kubernetes/radish.yaml",
      ["readinessProbe", "readynessProbe"],
      (path) => assert.rejects(judge("kubernetes", path), /readynessProbe/),
    );
  },
});

Deno.test({
  name: "SGLang's router takes the options of its unit and of its Deployment",
  ignore: !hasRouter,
  fn: async () => {
    const parse = (args: readonly string[]) =>
      run("python3", [
        "-c",
        "import sys; from sglang_router.launch_router import parse_router_args; print(parse_router_args(sys.argv[1:]))",
        ...args,
      ]);
    const unit = await Deno.readTextFile(`${deploy}/systemd/sglang-router.service`);
    const start = /^ExecStart=((?:.*\\\n)*.*)$/m.exec(unit)![1]!;
    const parsed = await parse(words(start).slice(3));
    assert.equal(parsed.code, 0, parsed.output);
    assert.match(parsed.output, /worker_urls=\['http:\/\/127.0.0.1:1919', 'http:\/\/127.0.0.1:1920'\]/);
    const manifest = await Deno.readTextFile(`${deploy}/kubernetes/router.yaml`);
    const args = [...manifest.matchAll(/^ +- (--\S+)$/gm)].map(([, arg]) => arg!);
    assert.ok(args.length > 5);
    const pods = await parse(args);
    assert.equal(pods.code, 0, pods.output);
    assert.match(pods.output, /selector=\{'app': 'radish'\}/);
    assert.notEqual((await parse([...args, "--health-check-intervall=1"])).code, 0);
  },
});

Deno.test({
  name: "systemd takes both units without a word, and complains of a misspelt key",
  ignore: !hasProgram("systemd-analyze"),
  fn: async () => {
    const verify = (path: string) => run("systemd-analyze", ["verify", "--man=no", path]);
    const units = [
      ["systemd/radish@.service", "/usr/local/bin/radish", /radish serve --port %i/],
      ["systemd/sglang-router.service", "/opt/sglang-router/bin/python", /--policy cache_aware/],
    ] as const;
    for (const [name, program, command] of units) {
      assert.match(await Deno.readTextFile(`${deploy}/${name}`), command);
      // A program that is not installed would be refused.
      await changed(name, [program, Deno.execPath()], async (path) => {
        assert.deepEqual(await verify(path), { code: 0, output: "" });
      });
    }
    await changed("systemd/radish@.service", ["TimeoutStopSec", "TimeoutStopSecs"], async (path) => {
      assert.match((await verify(path)).output, /Unknown key.* 'TimeoutStopSecs'/);
    });
    const unit = await Deno.readTextFile(`${deploy}/systemd/radish@.service`);
    assertTaken(/^ExecStart=\S+ (.*)$/m.exec(unit)![1]!.replaceAll("%i", "1919").split(" "));
  },
});

Deno.test({
  name: "nginx takes its configuration, and refuses a misspelt directive",
  ignore: !hasProgram("nginx"),
  fn: async () => {
    const test = (path: string) => run("nginx", ["-t", "-e", "stderr", "-c", path]);
    const taken = await test(`${deploy}/nginx.conf`);
    assert.equal(taken.code, 0, taken.output);
    await changed("nginx.conf", ["proxy_buffering", "proxy_bufering"], async (path) => {
      assert.match((await test(path)).output, /unknown directive "proxy_bufering"/);
    });
  },
});
