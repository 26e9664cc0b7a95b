// Names to folders, and the list of what is in the caches.

import assert from "node:assert/strict";
import { listModels, removeModel, resolveModel } from "../../../server/hub/cache.ts";
import { pull } from "../../../server/hub/pull.ts";
import { huggingFaceCache, isWanted, modelScopeCache } from "../../../server/hub/names.ts";
import { safetensors, temporaryFolder } from "../../engine/weights/files.ts";
import { tiny, tinyTensors } from "../../engine/weights/tiny_model.ts";
import { HubStandIn, name } from "./stand_in.ts";

const retry = { attempts: 1, delay: 1, longestDelay: 1, stall: 1000, contact: 1000 };

Deno.test("a name is pulled once and then opens without the network", async () => {
  await using hub = new HubStandIn();
  await using home = await temporaryFolder({});
  hub.add("config.json", JSON.stringify(tiny)).add("model.safetensors", safetensors(tinyTensors()).slice());
  const env = (key: string) => ({ HF_HOME: home.path, HF_ENDPOINT: hub.url })[key];
  const { directory, id } = await resolveModel(`https://huggingface.co/${name}/tree/main`, { env, retry });
  assert.equal(id, name);
  assert.ok(directory.startsWith(`${home.path}/hub/models--owner--model-1/snapshots/`));
  const requests = hub.seen.length;
  assert.deepEqual(await resolveModel(name, { env, retry }), { directory, id });
  assert.equal(hub.seen.length, requests);
  // A cache that lacks the weights is not a model: the rest is pulled.
  await Deno.remove(await Deno.realPath(`${directory}/model.safetensors`));
  assert.deepEqual(await resolveModel(name, { env, retry }), { directory, id });
  assert.equal(hub.transfers("model.safetensors").length, 2);
  await assert.rejects(resolveModel("no-such-folder", { env, retry }), {
    message:
      '"no-such-folder" is neither a file or folder nor the name of a model on a hub (owner/name, or its address)',
  });
});

Deno.test("offline, a model in the cache opens, and nobody is asked for another", async () => {
  await using hub = new HubStandIn();
  await using home = await temporaryFolder({});
  hub.add("config.json", JSON.stringify(tiny)).add("model.safetensors", safetensors(tinyTensors()).slice());
  const online = { HF_HOME: home.path, HF_ENDPOINT: hub.url };
  const read = (variables: Record<string, string>) => ({ env: (key: string) => variables[key], retry });
  for (const variable of ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]) {
    const options = read({ ...online, [variable]: "1" });
    await assert.rejects(
      resolveModel(name, options),
      /owner\/model-1 is not in the cache, and HF_HUB_OFFLINE is set/,
    );
    await assert.rejects(pull(name, options), /cannot be pulled: HF_HUB_OFFLINE is set/);
  }
  assert.equal(hub.seen.length, 0);
  const { directory } = await resolveModel(name, read({ ...online, HF_HUB_OFFLINE: "0" }));
  const { length } = hub.seen;
  assert.equal((await resolveModel(name, read({ ...online, HF_HUB_OFFLINE: "1" }))).directory, directory);
  assert.equal(hub.seen.length, length);
});

Deno.test("a removed model is gone from its hub's cache, and another one stays", async () => {
  await using home = await temporaryFolder({});
  const put = async (path: string) => {
    await Deno.mkdir(`${home.path}/${path.slice(0, path.lastIndexOf("/"))}`, { recursive: true });
    await Deno.writeTextFile(`${home.path}/${path}`, "12345");
  };
  for (const folder of ["models--a--b", ".locks/models--a--b", "models--a--c"]) {
    await put(`hub/${folder}/blobs/x`);
  }
  await put("scope/models/a/b/x");
  const env = (key: string) => ({ HF_HOME: home.path, MODELSCOPE_CACHE: `${home.path}/scope` })[key];
  const removed = await removeModel("hf.co/a/b", "huggingface", env);
  assert.deepEqual(removed, { directory: `${home.path}/hub/models--a--b`, bytes: 5 });
  assert.deepEqual(await names(`${home.path}/hub`), [".locks", "models--a--c"]);
  assert.deepEqual(await names(`${home.path}/hub/.locks`), []);
  assert.deepEqual(await names(`${home.path}/scope/models/a`), ["b"]);
  await removeModel("a/b", "modelscope", env);
  assert.deepEqual(await names(`${home.path}/scope/models/a`), []);
  for (const name of ["a/b", "../hub/models--a--c", "a/.."]) {
    await assert.rejects(removeModel(name, "huggingface", env), /not in the cache|neither a file or folder/);
  }
  assert.deepEqual(await names(`${home.path}/hub`), [".locks", "models--a--c"]);
});

async function names(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder), ({ name }) => name)).sort();
}

Deno.test("the list tells architecture, size and whether a model can run", async () => {
  await using home = await temporaryFolder({});
  const put = async (folder: string, files: Record<string, string | Uint8Array>) => {
    await Deno.mkdir(`${home.path}/${folder}`, { recursive: true });
    for (const [file, content] of Object.entries(files)) {
      await Deno.writeFile(
        `${home.path}/${folder}/${file}`,
        typeof content === "string" ? new TextEncoder().encode(content) : content,
      );
    }
  };
  const commit = "a".repeat(40);
  const weights = safetensors(tinyTensors());
  await put(`hub/models--b--llama/snapshots/${commit}`, {
    "config.json": JSON.stringify(tiny),
    "model.safetensors": weights,
  });
  await put("hub/models--b--llama/refs", { main: commit });
  await put(`hub/models--a--bert/snapshots/${commit}`, {
    "config.json": '{"architectures":["BertModel"]}',
  });
  await put(`hub/models--c--empty/snapshots/${commit}`, {});
  await put("hub/datasets--d--data/snapshots/x", { "config.json": "{}" });
  await put("scope/models/q/cut", {
    "config.json": JSON.stringify(tiny),
    "model.safetensors": weights.slice(0, -1),
  });
  const env = (key: string) => ({ HF_HOME: home.path, MODELSCOPE_CACHE: `${home.path}/scope` })[key];
  const models = await listModels(env);
  assert.deepEqual(
    models.map(({ name, source, architecture, types }) => [name, source, architecture, ...types]),
    [
      ["a/bert", "huggingface", "BertModel"],
      ["b/llama", "huggingface", "LlamaForCausalLM", "F32"],
      ["q/cut", "modelscope", "LlamaForCausalLM"],
    ],
  );
  assert.match(models[0]!.problem!, /^config\.json: unsupported architecture "BertModel"/);
  assert.equal(models[1]!.problem, null);
  assert.equal(models[1]!.bytes, weights.length + JSON.stringify(tiny).length);
  assert.match(models[2]!.problem!, /^model\.safetensors: .*truncated/);
});

Deno.test("the caches are where the environment says", () => {
  const cache = (variables: Record<string, string>) => huggingFaceCache((key) => variables[key]);
  assert.equal(cache({ HOME: "/h" }), "/h/.cache/huggingface/hub");
  assert.equal(cache({ HOME: "/h", XDG_CACHE_HOME: "/x" }), "/x/huggingface/hub");
  assert.equal(cache({ HF_HOME: "/hf" }), "/hf/hub");
  assert.equal(cache({ HF_HOME: "/hf", HF_HUB_CACHE: "/c" }), "/c");
  assert.throws(() => cache({}), /HOME is not set/);
  assert.equal(modelScopeCache((key) => ({ HOME: "/h" })[key]), "/h/.cache/modelscope/hub/models");
});

Deno.test("only files that a model needs are wanted", () => {
  const wanted = [
    "config.json",
    "model.safetensors",
    "model-00001-of-00002.safetensors",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "1_Pooling/config.json",
  ];
  const unwanted = [
    "README.md",
    "a/config.json",
    "1_Pooling/model.safetensors",
    "1_Pooling/../config.json",
    "a/1_Pooling/config.json",
    "../config.json",
    ".json",
    "x..json",
    "consolidated.safetensors",
    "model.gguf",
    "/etc/x.json",
    "model.safetensors/..",
    "",
  ];
  assert.deepEqual(wanted.filter(isWanted), wanted);
  assert.deepEqual(unwanted.filter(isWanted), []);
});
