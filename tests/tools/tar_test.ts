import assert from "node:assert/strict";
import { testWith } from "../programs.ts";
import { writeTar } from "../../tools/tar.ts";

const long = `${"folder/".repeat(20)}${"n".repeat(90)}.txt`; // 234 bytes

testWith("tar")("tar reads back names, contents and modes that writeTar wrote", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const bytes = Uint8Array.from({ length: 1025 }, (_, i) => i % 251);
    const archive = writeTar([
      {
        path: "tool",
        bytes: new TextEncoder().encode("#!/bin/sh\n"),
        executable: true,
      },
      { path: long, bytes, executable: false },
      { path: "empty/ü", bytes: new Uint8Array(0), executable: false },
    ]);
    await Deno.writeFile(`${folder}/a.tar`, archive);
    const { success, stderr } = await new Deno.Command("tar", {
      args: ["-xf", "a.tar"],
      cwd: folder,
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    assert.equal(await Deno.readTextFile(`${folder}/tool`), "#!/bin/sh\n");
    assert.equal((await Deno.stat(`${folder}/tool`)).mode! & 0o777, 0o755);
    assert.deepEqual(await Deno.readFile(`${folder}/${long}`), bytes);
    assert.equal((await Deno.stat(`${folder}/${long}`)).mode! & 0o777, 0o644);
    assert.equal((await Deno.stat(`${folder}/empty/ü`)).size, 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a path that fits no header is refused", () => {
  const file = (
    path: string,
  ) => [{ path, bytes: new Uint8Array(0), executable: false }];
  assert.throws(() => writeTar(file("n".repeat(101))), RangeError);
  assert.throws(() => writeTar(file(`${"p".repeat(156)}/name`)), RangeError);
});
