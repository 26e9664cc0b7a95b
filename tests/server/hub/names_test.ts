// What a user may call a model, and what becomes of it.

import assert from "node:assert/strict";
import { isModelName, parseModelName } from "../../../server/hub/names.ts";
import { shortNames } from "../../../server/hub/short_names.ts";

Deno.test("a model is found by its id, its address as a browser shows it, and its short name", () => {
  const id = "Qwen/Qwen3-0.6B";
  const same = [
    id,
    `https://huggingface.co/${id}`,
    `http://www.huggingface.co/${id}/`,
    `huggingface.co/${id}?library=transformers`,
    `hf.co/${id}`,
    `HTTPS://HF.co/${id}#readme`,
    "qwen3:0.6b",
    "Qwen3:0.6B",
    "qwen3",
  ];
  for (const name of same) assert.deepEqual(parseModelName(name), { id, revision: undefined }, name);
  for (const page of ["tree", "blob", "resolve"]) {
    assert.deepEqual(parseModelName(`https://huggingface.co/${id}/${page}/v1.0/config.json`), {
      id,
      revision: "v1.0",
    });
  }
});

Deno.test("what is no model is refused in one line, with the short names of its family", () => {
  const bad = [
    "",
    "no-such-folder",
    "./models/missing",
    "https://example.org/Qwen/Qwen3-0.6B",
    "https://huggingface.co/datasets/owner/name",
    "hf.co/../etc",
    "a/b/c",
    "a--b/c",
  ];
  for (const name of bad) {
    assert.throws(() => parseModelName(name), /^ModelError: .* is neither a file or folder nor .*$/, name);
  }
  assert.throws(() => parseModelName("qwen3:7b"), /short names: qwen3, qwen3:0\.6b, /);
});

Deno.test("every short name stands for the id of a model, and is none itself", () => {
  for (const [name, id] of shortNames) {
    assert.ok(isModelName(id), id);
    assert.match(name, /^[a-z0-9.-]+(:[0-9.]+[bm])?$/);
  }
});
