// The tests have a configuration and a lock file of their own, because Deno downloads everything a lock file names
// when a worker starts: a user should not wait for the tests' dependencies.

import assert from "node:assert/strict";

const read = async (path: string) => JSON.parse(await Deno.readTextFile(new URL(path, import.meta.url)));

Deno.test("tests run with the program's own dependencies and compiler options", async () => {
  const [program, tests] = await Promise.all([read("../deno.json"), read("./deno.json")]);
  for (const [name, specifier] of Object.entries(program.imports)) {
    assert.equal(tests.imports[name], specifier);
  }
  assert.deepEqual(tests.compilerOptions, program.compilerOptions);
  assert.deepEqual(tests.unstable, program.unstable);
});

Deno.test("every dependency is pinned to one version, and both lock files agree", async () => {
  const [program, tests] = await Promise.all([read("../deno.lock"), read("./deno.lock")]);
  const { imports } = await read("./deno.json");
  for (const specifier of Object.values(imports)) {
    assert.match(String(specifier), /^npm:@?[^@]+@\d+\.\d+\.\d+/);
  }
  for (const [name, entry] of Object.entries(program.npm as Record<string, { integrity: string }>)) {
    // What no test loads is missing from the tests' lock file.
    if (name in tests.npm) assert.equal(tests.npm[name].integrity, entry.integrity, name);
  }
});
