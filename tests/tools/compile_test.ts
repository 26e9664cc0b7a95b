// What a release contains, and what it may touch.

import assert from "node:assert/strict";
import { libraryPaths } from "../../kernels/cuda/driver.ts";
import { compile } from "../../tools/compile.ts";
import { permissions, root } from "../../tools/contents.ts";
import { differences, embeddedFiles, expectedFiles } from "../../tools/embedded_files.ts";
import { programFiles } from "../../tools/program_files.ts";

const program = await programFiles();

Deno.test("deno compile embeds the program, its workers and its model, and nothing else", async () => {
  const folder = await Deno.makeTempDir();
  try {
    // Deno stands in for its runtime, which would be downloaded: everything is embedded, nothing would start.
    const printed = await compile(Deno.build.target, `${folder}/radish`, {
      env: { DENORT_BIN: Deno.execPath() },
    });
    const embedded = await embeddedFiles(printed);
    assert.deepEqual(differences(embedded, expectedFiles(program)), []);
    assert.ok(embedded.files.includes("models/pocket/model.safetensors"));
    assert.ok(embedded.files.includes("server/page/index.html"));
    for (const path of embedded.files) {
      assert.doesNotMatch(
        path,
        /^(tests|bench|tools|docs|dist)\/|reference\.|assembly\/|MODEL_CARD/,
      );
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("every file that starts a worker is found", async () => {
  const started = new Set<string>();
  for (const path of await typescriptFiles(["engine", "kernels", "server"])) {
    if (/^\s*(self|globalThis)\.onmessage =|^answerQuestions</m.test(await read(path))) started.add(path);
  }
  started.delete("engine/workers/answering.ts"); // what such files call
  assert.ok(program.workers.length >= 5);
  for (const path of started) {
    assert.ok(program.workers.includes(path), path);
  }
  for (const path of program.workers) {
    assert.match(path, /\/(worker|thread)\.ts$/);
  }
});

Deno.test("a missing file and a file too many are told apart", async () => {
  const printed = [
    "Embedded Files",
    "",
    "radish",
    "├─┬ .deno_compile_node_modules (1MB - 1MB unique)",
    "│ └─┬ localhost (1MB)",
    "│   ├── @scope/one/* (1MB)",
    "│   └── two/1.0.0/* (1MB - 1KB unique)",
    "├── main.ts (528B)",
    "├─┬ tests (1KB)",
    "│ └─┬ server (1KB)",
    "│   └── detokenizer/worker_test.ts (1KB)",
    "└── tools/tar.ts (1KB)",
    "",
    "Files: 14.51MB",
  ].join("\n");
  const embedded = await embeddedFiles(printed);
  assert.deepEqual(embedded, {
    files: [
      "main.ts",
      "tests/server/detokenizer/worker_test.ts",
      "tools/tar.ts",
    ],
    packages: ["@scope/one", "two"],
  });
  assert.deepEqual(
    differences(embedded, {
      files: ["main.ts", "engine/launch.ts", "tools/tar.ts"],
      packages: ["@scope/one"],
    }),
    [
      "missing: engine/launch.ts",
      "not expected: tests/server/detokenizer/worker_test.ts",
      "not expected: two",
    ],
  );
});

Deno.test("a folder embedded as a whole is expanded from the disk", async () => {
  const { files } = await embeddedFiles(
    "radish\n└── kernels/cpu/wasm/* (55.22KB)\n",
  );
  assert.deepEqual(files, [
    "kernels/cpu/wasm/plain.txt",
    "kernels/cpu/wasm/relaxed.txt",
  ]);
});

Deno.test("a release is permitted what its sources ask for", async () => {
  const listed = (name: string) => {
    const start = `--allow-${name}=`;
    const permission = permissions.find((text) => text.startsWith(start)) ??
      start;
    return permission.slice(start.length).split(",");
  };
  const environment = listed("env").map((name) => new RegExp(`^${name.replace("*", ".*")}$`));
  const sources = await Promise.all(
    program.sources.filter((path) => path.endsWith(".ts")).map(read),
  );
  const all = (pattern: RegExp) =>
    sources.flatMap((text) => [...text.matchAll(pattern)].map((match) => match[1]!));

  // The variables of options are RADISH_*.
  const variables = [...all(/(?:Deno\.env\.(?:get|set|has)\(|\benv\()"(\w+)"/g), "RADISH_MODEL"];
  for (const name of ["TERM", "HF_TOKEN"]) assert.ok(variables.includes(name), name);
  for (const name of variables) {
    assert.ok(environment.some((pattern) => pattern.test(name)), name);
  }

  const system = all(
    /Deno\.(systemMemoryInfo|uid|gid|hostname|osRelease|osUptime|loadavg|networkInterfaces)\b/g,
  );
  assert.deepEqual([...new Set(system)].sort(), listed("sys").sort());

  // git is for a clone only; a release knows its commit.
  const commands = all(/Deno\.Command\("([^"]+)"/g).filter((name) => name !== "git");
  assert.deepEqual(commands.map((name) => `/usr/bin/${name}`), listed("run"));

  // NVIDIA's driver by the paths that are listed, and nothing that takes the permission for all libraries.
  assert.deepEqual(listed("ffi"), Object.values(libraryPaths).flat());
  assert.equal(all(/(Deno\.dlopen)/g).length, 1);
  assert.deepEqual(all(/(Deno\.Unsafe\w+[.(])/g), []);
});

async function typescriptFiles(folders: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const folder of folders) {
    for await (
      const { name, isDirectory } of Deno.readDir(`${root}/${folder}`)
    ) {
      if (isDirectory) {
        files.push(...await typescriptFiles([`${folder}/${name}`]));
      } else if (name.endsWith(".ts")) files.push(`${folder}/${name}`);
    }
  }
  return files;
}

function read(path: string): Promise<string> {
  return Deno.readTextFile(`${root}/${path}`);
}
