// The packaged file on a machine that has nothing: an empty home, no Deno, no sources, only the few programs that
// the script needs.

import assert from "node:assert/strict";
import { mallocSettings, modelFiles, root } from "../../tools/contents.ts";
import { buildPackage } from "../../tools/package.ts";
import { testWith } from "../programs.ts";
import { HubStandIn, name as hubModel } from "../server/hub/stand_in.ts";

/** All that the script may use. */
const programs = [
  "sh",
  "id",
  "mkdir",
  "mktemp",
  "mv",
  "rm",
  "tail",
  "tar",
  "gzip",
];

/** A folder with the packaged file, a PATH, and a place for homes. */
class Machine implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async create(packaged: Uint8Array): Promise<Machine> {
    const folder = await Deno.makeTempDir();
    await Deno.mkdir(`${folder}/bin`);
    await Deno.mkdir(`${folder}/work`);
    for (const program of programs) {
      const found = Deno.env.get("PATH")!.split(":").map((path) => `${path}/${program}`).find(isFile);
      assert.ok(found, `${program} is not on the PATH`);
      await Deno.symlink(found, `${folder}/bin/${program}`);
    }
    await Deno.writeFile(`${folder}/radish`, packaged, { mode: 0o755 });
    return new Machine(folder);
  }

  path(name: string): string {
    return `${this.#folder}/${name}`;
  }

  /** Starts the packaged file with nothing in the environment but PATH and what is given. */
  spawn(
    args: readonly string[],
    env: Record<string, string>,
    file = "radish",
  ): Deno.ChildProcess {
    return new Deno.Command(this.path(file), {
      args: [...args],
      clearEnv: true,
      env: { PATH: this.path("bin"), NO_COLOR: "1", ...env },
      cwd: this.path("work"),
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  async run(
    args: readonly string[],
    env: Record<string, string>,
    file?: string,
  ): Promise<Outcome> {
    const { code, stdout, stderr } = await this.spawn(args, env, file).output();
    return {
      code,
      stdout: new TextDecoder().decode(stdout),
      stderr: new TextDecoder().decode(stderr),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#folder, { recursive: true });
  }
}

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

const question = ["generate", "--temperature", "0", "What is 23 plus 48?"];
const answer = "23 plus 48 is 71.\n";

/** The only thing in a folder. */
async function onlyEntry(folder: string): Promise<string> {
  const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);
  assert.equal(names.length, 1, names.join(", "));
  return names[0]!;
}

testWith(...programs)("the packaged file works alone on a machine without Deno", async (t) => {
  const packaged = await buildPackage({
    deno: Deno.execPath(),
    target: Deno.build.target,
    level: 1,
  });
  await using machine = await Machine.create(packaged);
  const env = { HOME: machine.path("home") };
  await Deno.mkdir(env.HOME);

  await t.step(
    "generate answers in one command, and leaves one folder in the cache",
    async () => {
      const { code, stdout, stderr } = await machine.run(question, env);
      assert.equal(stdout, answer, stderr);
      assert.equal(code, 0);
      assert.match(
        await onlyEntry(`${env.HOME}/.cache/radish`),
        /^[0-9a-f]{16}$/,
      );
    },
  );

  await t.step("doctor says what the machine can run on", async () => {
    const { code, stdout, stderr } = await machine.run(
      ["doctor", "--json"],
      env,
    );
    assert.equal(code, 0, stderr);
    assert.ok(JSON.parse(stdout).cpu.threads > 0);
  });

  await t.step("--version names the commit and Deno's version", async () => {
    const { stdout } = await machine.run(["--version"], env);
    assert.match(
      stdout,
      /^radish \d+\.\d+\.\d+ \(commit [0-9a-f]{9}(-dirty)?, Deno \d+\.\d+\.\d+, \S+\)\n$/,
    );
  });

  await t.step("serve answers a request, and Ctrl-C reaches it", async () => {
    const child = machine.spawn(["serve", "--port", "0"], { ...env, MALLOC_ARENA_MAX: "3" });
    let log = "";
    const errors = child.stderr.pipeThrough(new TextDecoderStream())
      .getReader();
    while (!/ready: pocket/.test(log)) {
      const { done, value } = await errors.read();
      assert.ok(!done, log);
      log += value;
    }
    const url = /listening on (http:\S+)/.exec(log)![1]!;
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        messages: [{ role: "user", content: "What is 23 plus 48?" }],
        temperature: 0,
      }),
    });
    assert.equal(
      (await response.json()).choices[0].message.content,
      answer.trim(),
    );
    const page = await fetch(url);
    assert.match(await page.text(), /<html/);
    if (Deno.build.os === "linux") {
      const seen = (await Deno.readTextFile(`/proc/${child.pid}/environ`)).split("\0");
      const { MALLOC_MMAP_THRESHOLD_: bound } = mallocSettings;
      assert.ok(seen.includes(`MALLOC_MMAP_THRESHOLD_=${bound}`), "malloc is set");
      assert.ok(seen.includes("MALLOC_ARENA_MAX=3"), "what the user has set stays");
    }
    child.kill("SIGINT"); // the process that was started is the server itself
    while (!(await errors.read()).done);
    assert.equal((await child.status).code, 0);
    await child.stdout.cancel();
  });

  await t.step("a model is pulled from a hub, listed and run, with the permissions there are", async () => {
    await using hub = new HubStandIn();
    for (const path of modelFiles) {
      hub.add(path.slice(path.lastIndexOf("/") + 1), await Deno.readFile(`${root}/${path}`));
    }
    const withHub = { ...env, HF_ENDPOINT: hub.url };
    const { stdout, stderr } = await machine.run([...question, "--model", hubModel], withHub);
    assert.equal(stdout, answer, stderr);
    assert.match((await machine.run(["list"], withHub)).stdout, new RegExp(hubModel));
  });

  await t.step(
    "RADISH_ALLOW_ALL=1 gives it all permissions; without it, it says what it cannot find out",
    async () => {
      const ranks = [...question, "--tp", "2"];
      const [narrow, all] = [
        await machine.run(ranks, env),
        await machine.run(ranks, { ...env, RADISH_ALLOW_ALL: "1" }),
      ];
      for (const { stdout, stderr } of [narrow, all]) assert.equal(stdout, answer, stderr);
      const note = /several GPUs cannot be told apart/;
      assert.equal(note.test(narrow.stderr), Deno.build.os === "linux");
      assert.doesNotMatch(all.stderr, note);
    },
  );

  await t.step("exit codes are the program's", async () => {
    assert.equal((await machine.run(["generat"], env)).code, 2);
    assert.equal(
      (await machine.run(["generate", "--model", "/nothing", "Hello!"], env))
        .code,
      1,
    );
  });

  await t.step("files in the working folder change nothing", async () => {
    await Deno.writeTextFile(machine.path("work/deno.json"), "not json");
    await Deno.writeTextFile(
      machine.path("work/package.json"),
      `{"dependencies": {"hono": "1.0.0"}}`,
    );
    await Deno.writeTextFile(
      machine.path("work/.npmrc"),
      "registry=http://127.0.0.1:9/",
    );
    assert.equal((await machine.run(question, env)).stdout, answer);
  });

  await t.step(
    "two that start at once in an empty home both answer, and unpack to one folder",
    async () => {
      const fresh = { XDG_CACHE_HOME: machine.path("caches/new") };
      const outcomes = await Promise.all([
        machine.run(question, fresh),
        machine.run(question, fresh),
      ]);
      for (const { stdout, stderr } of outcomes) {
        assert.equal(stdout, answer, stderr);
      }
      const folder = `${fresh.XDG_CACHE_HOME}/radish`;
      const unpacked = `${folder}/${await onlyEntry(folder)}`;
      const names = (await Array.fromAsync(Deno.readDir(unpacked))).map((
        { name },
      ) => name).sort();
      assert.deepEqual(names, [
        "LICENSE",
        "LICENSE-deno",
        "app",
        "complete",
        "deno",
        "deno_dir",
      ]);
    },
  );

  await t.step(
    "without a home it unpacks among the temporary files, for this user alone",
    async () => {
      await Deno.mkdir(machine.path("tmp"));
      const { stdout, stderr } = await machine.run(question, {
        TMPDIR: machine.path("tmp"),
        HOME: "",
      });
      assert.equal(stdout, answer, stderr);
      const folder = machine.path(
        `tmp/${await onlyEntry(machine.path("tmp"))}`,
      );
      assert.equal((await Deno.stat(folder)).mode! & 0o777, 0o700);
    },
  );

  await t.step(
    "a folder of someone else's making among the temporary files is not used",
    async () => {
      await Deno.mkdir(machine.path("elsewhere"));
      await Deno.mkdir(machine.path("trap"));
      await Deno.symlink(
        machine.path("elsewhere"),
        machine.path(`trap/radish-${Deno.uid()}`),
      );
      const { code, stderr } = await machine.run(question, {
        TMPDIR: machine.path("trap"),
      });
      assert.equal(code, 1);
      assert.match(
        stderr,
        /^radish: nowhere to unpack; set XDG_CACHE_HOME .*\n$/,
      );
    },
  );

  await t.step(
    "a damaged file is one line of error, and leaves nothing behind",
    async () => {
      await Deno.writeFile(
        machine.path("short"),
        packaged.subarray(0, packaged.length - 1000),
        { mode: 0o755 },
      );
      const changed = packaged.slice();
      changed[packaged.length >> 1]! ^= 1;
      await Deno.writeFile(machine.path("changed"), changed, { mode: 0o755 });
      for (const file of ["short", "changed"]) {
        const cache = machine.path(`caches/${file}`);
        const { code, stderr } = await machine.run(question, {
          XDG_CACHE_HOME: cache,
        }, file);
        assert.equal(code, 1);
        assert.match(
          stderr,
          /radish: cannot unpack into .*: the disk is full, or this file is damaged\n$/,
        );
        assert.deepEqual(
          await Array.fromAsync(Deno.readDir(`${cache}/radish`)),
          [],
        );
      }
    },
  );
});
