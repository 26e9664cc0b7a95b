// What a model's folder says about its embeddings.

import assert from "node:assert/strict";
import { readEmbeddingConfig } from "../../../engine/weights/huggingface/embedding.ts";
import { openModel } from "../../../engine/model/open.ts";
import { temporaryFolder } from "./files.ts";
import { tinyGguf } from "./gguf/builder.ts";

const modules = (...types: string[]) =>
  JSON.stringify(
    types.map((type, idx) => ({
      idx,
      name: `${idx}`,
      type,
      path: type.endsWith("Pooling") ? "1_Pooling" : "",
    })),
  );
const old = "sentence_transformers.models.";

async function read(modules: string | undefined, pooling?: unknown) {
  await using folder = await temporaryFolder({
    ...(modules === undefined ? {} : { "modules.json": modules }),
  });
  if (pooling !== undefined) {
    await Deno.mkdir(`${folder.path}/1_Pooling`);
    await Deno.writeTextFile(`${folder.path}/1_Pooling/config.json`, JSON.stringify(pooling));
  }
  return await readEmbeddingConfig(folder.path);
}

Deno.test("pooling and norm are what sentence-transformers' files say", async () => {
  const whole = modules(`${old}Transformer`, `${old}Pooling`, `${old}Normalize`);
  assert.equal(await read(undefined), null);
  const flags = {
    pooling_mode_cls_token: false,
    pooling_mode_mean_tokens: false,
    pooling_mode_lasttoken: false,
  };
  for (
    const [pooling, config] of [
      ["last", { ...flags, pooling_mode_lasttoken: true }],
      ["mean", { ...flags, pooling_mode_mean_tokens: true }],
      ["cls", { ...flags, pooling_mode_cls_token: true }],
      ["mean", { pooling_mode: "mean" }],
      ["last", { pooling_mode: "lasttoken" }],
    ] as const
  ) {
    assert.deepEqual(await read(whole, config), { pooling, normalize: true });
  }
  const newer = modules(
    "sentence_transformers.base.modules.transformer.Transformer",
    "sentence_transformers.x.Pooling",
  );
  assert.deepEqual(await read(newer, { pooling_mode: "cls" }), { pooling: "cls", normalize: false });
});

Deno.test("a step or a pooling that is not known, and a folder that leads away, are refused in one line", async () => {
  const pooling = modules(`${old}Pooling`);
  const cases: [modules: string, pooling: unknown, message: RegExp][] = [
    [modules(`${old}Dense`), undefined, /the module sentence_transformers\.models\.Dense is not supported/],
    [pooling, { pooling_mode_weightedmean_tokens: true }, /only lasttoken, cls and mean/],
    [pooling, { pooling_mode: "max" }, /pooling_mode max is not supported/],
    [pooling, { pooling_mode_lasttoken: 1 }, /"pooling_mode_lasttoken" must be true or false, not 1/],
    [pooling, undefined, /1_Pooling\/config\.json: no such file/],
    [pooling.replace("1_Pooling", "../x"), undefined, /"path" must name a folder/],
    ["{}", undefined, /modules\.json: expected a list of modules/],
  ];
  for (const [modules, config, message] of cases) await assert.rejects(read(modules, config), message);
});

Deno.test("a GGUF file says how it pools in its metadata; one that says nothing, or ranks, is no embedding model", async () => {
  const poolings = [[null, null], [0, null], [1, "mean"], [2, "cls"], [3, "last"], [4, null]] as const;
  for (const [type, pooling] of poolings) {
    const file = tinyGguf();
    if (type !== null) file.set("llama.pooling_type", type);
    await using folder = await temporaryFolder({});
    await Deno.writeFile(`${folder.path}/m.gguf`, file.build());
    const { embedding } = await openModel(`${folder.path}/m.gguf`);
    assert.deepEqual(embedding, pooling === null ? null : { pooling, normalize: true });
  }
});
