import assert from "node:assert/strict";
import { slug, writeResult } from "../../bench/common/result_file.ts";

Deno.test("a result file is written whole, with its folder", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await writeResult(`${folder}/new/a.json`, { kind: "test" });
    assert.deepEqual(JSON.parse(await Deno.readTextFile(`${folder}/new/a.json`)), { kind: "test" });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a result that cannot be written leaves nothing behind", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${folder}/a.json`); // in the way
    await assert.rejects(writeResult(`${folder}/a.json`, { kind: "test" }));
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    await assert.rejects(writeResult(`${folder}/b.json`, circular));
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["a.json"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a device's name becomes a file's name", () => {
  assert.equal(slug("NVIDIA H200 (Vulkan)"), "nvidia-h200-vulkan");
  assert.equal(slug("///"), "unknown");
});
