// Pulling from a hub on loopback: what ends up in the cache, and what happens when things go wrong.

import assert from "node:assert/strict";
import { ModelError } from "../../../engine/model/json.ts";
import { pull, type PullOptions, type PullProgress } from "../../../server/hub/pull.ts";
import { Random } from "../../random.ts";
import { temporaryFolder } from "../../engine/weights/files.ts";
import { commit, HubStandIn, name, sha256 } from "./stand_in.ts";

const weights = Uint8Array.from(new Random(1).normals(50_000, 100), (x) => x & 255);
const retry = { attempts: 4, delay: 1, longestDelay: 50, stall: 300, contact: 2000 };

interface Place {
  readonly hub: HubStandIn;
  readonly home: string;
  readonly cache: string;
  readonly options: PullOptions;
}

/** A hub with a small model, and an empty cache. */
async function withHub(
  run: (place: Place) => Promise<void>,
  env: Record<string, string> = {},
): Promise<void> {
  await using hub = new HubStandIn();
  await using folder = await temporaryFolder({});
  hub.add("config.json", '{"architectures":["LlamaForCausalLM"]}').add("tokenizer.json", "{}")
    .add("model.safetensors", weights).add("README.md", "hello").add("original/params.json", "{}")
    .add("consolidated.safetensors", "no").add("pytorch_model.bin", "no");
  const variables: Record<string, string> = {
    HF_HOME: folder.path,
    HF_ENDPOINT: hub.url,
    MODELSCOPE_ENDPOINT: hub.url,
    MODELSCOPE_CACHE: `${folder.path}/scope`,
    ...env,
  };
  const options = { env: (key: string) => variables[key], retry, segmentBytes: 10_000, connections: 3 };
  await run({ hub, home: folder.path, cache: `${folder.path}/hub`, options });
}

const root = (cache: string) => `${cache}/models--owner--model-1`;

/** Files in the cache that should not outlive a download. */
async function leftovers(cache: string): Promise<string[]> {
  const files = await Array.fromAsync(Deno.readDir(`${root(cache)}/blobs`), (entry) => entry.name);
  return files.filter((file) => file.includes("."));
}

Deno.test("a pulled model lies in the Hub's own layout, and only what is needed is fetched", async () => {
  await withHub(async ({ hub, cache, options }) => {
    const progress: PullProgress[] = [];
    const directory = await pull(name, { ...options, onProgress: (p) => progress.push(p) });
    assert.equal(directory, `${root(cache)}/snapshots/${commit}`);
    const names = (await Array.fromAsync(Deno.readDir(directory), (entry) => entry.name)).sort();
    assert.deepEqual(names, ["config.json", "model.safetensors", "tokenizer.json"]);
    assert.deepEqual(await Deno.readFile(`${directory}/model.safetensors`), weights);
    assert.equal(await Deno.readLink(`${directory}/model.safetensors`), `../../blobs/${sha256(weights)}`);
    assert.equal(await Deno.readTextFile(`${root(cache)}/refs/main`), commit);
    assert.deepEqual(await leftovers(cache), []);
    const { doneBytes, totalBytes, fetchedBytes } = progress.at(-1)!;
    assert.equal(totalBytes, 50_000 + 38 + 2);
    assert.deepEqual([doneBytes, fetchedBytes], [totalBytes, totalBytes]);
    assert.equal(hub.transfers("model.safetensors").length, 5); // in segments
  });
});

Deno.test("an embedding model comes with the folder that says how it pools, from either hub", async () => {
  await withHub(async ({ hub, home, cache, options }) => {
    hub.add("modules.json", "[]").add("1_Pooling/config.json", "{}").add("onnx/config.json", "{}");
    const directory = await pull(name, options);
    assert.equal(await Deno.readTextFile(`${directory}/1_Pooling/config.json`), "{}");
    const link = await Deno.readLink(`${directory}/1_Pooling/config.json`);
    assert.match(link, /^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
    assert.deepEqual(await leftovers(cache), []);
    const before = hub.transfers().length;
    await pull(name, options);
    assert.equal(hub.transfers().length, before);
    const other = await pull(name, { ...options, source: "modelscope" });
    assert.equal(other, `${home}/scope/models/${name}`);
    assert.equal(await Deno.readTextFile(`${other}/1_Pooling/config.json`), "{}");
  });
});

Deno.test("a second pull downloads nothing", async () => {
  await withHub(async ({ hub, options }) => {
    const first = await pull(name, options);
    const before = hub.transfers().length;
    const progress: PullProgress[] = [];
    assert.equal(await pull(name, { ...options, onProgress: (p) => progress.push(p) }), first);
    assert.equal(hub.transfers().length, before);
    assert.equal(progress.at(-1)?.doneBytes, progress.at(-1)?.totalBytes);
    assert.equal(progress.at(-1)?.fetchedBytes, 0);
  });
});

Deno.test("an interrupted pull goes on where it was and ends with the right hash", async () => {
  await withHub(async ({ cache, options }) => {
    const interruption = new AbortController();
    let done = 0;
    const onProgress = ({ doneBytes }: PullProgress) => {
      done = doneBytes;
      if (doneBytes > 20_000) {
        interruption.abort(new Error("stopped by the user"));
      }
    };
    await assert.rejects(
      pull(name, { ...options, onProgress, signal: interruption.signal }),
      /stopped by the user/,
    );
    assert.ok((await leftovers(cache)).length > 0);
    const progress: PullProgress[] = [];
    const directory = await pull(name, { ...options, onProgress: (p) => progress.push(p) });
    assert.deepEqual(await Deno.readFile(`${directory}/model.safetensors`), weights);
    const { totalBytes, fetchedBytes } = progress.at(-1)!;
    assert.equal(fetchedBytes, totalBytes - done);
    assert.deepEqual(await leftovers(cache), []);
  });
});

Deno.test("connections that break are taken up at the byte where they broke", async () => {
  await withHub(async ({ hub, options }) => {
    hub.trouble.cut = { after: 4000, times: 6 };
    const directory = await pull(name, options);
    assert.deepEqual(await Deno.readFile(`${directory}/model.safetensors`), weights);
    assert.equal(hub.trouble.cut.times, 0);
    assert.ok(hub.transfers().some(({ range }) => range === "bytes=4000-9999"));
  });
});

Deno.test("a connection that always breaks at once is given up with one line", async () => {
  await withHub(async ({ hub, options }) => {
    hub.trouble.cut = { after: 0, times: Infinity };
    await assert.rejects(pull(name, options), (error) => {
      assert.ok(error instanceof ModelError && !error.message.includes("\n"));
      assert.match(error.message, /^[\w.]+: the connection (broke|ended)/);
      return true;
    });
  });
});

Deno.test("a transfer that stalls is begun again", async () => {
  await withHub(async ({ hub, options }) => {
    hub.trouble.stall = { after: 5000, times: 1 };
    const directory = await pull(name, options);
    assert.deepEqual(await Deno.readFile(`${directory}/model.safetensors`), weights);
    assert.equal(hub.trouble.stall.times, 0);
  });
});

Deno.test("a rate limit is waited for as long as the server asks", async () => {
  await withHub(async ({ hub, options }) => {
    hub.trouble.status = { code: 429, times: 2, retryAfter: "0.02" };
    const directory = await pull(name, {
      ...options,
      retry: { ...retry, delay: 1e9, longestDelay: 1e9 },
    });
    assert.deepEqual(await Deno.readFile(`${directory}/model.safetensors`), weights);
  });
});

Deno.test("a rate limit without end and a hub that is down are reported in one line", async () => {
  await withHub(async ({ hub, options }) => {
    hub.trouble.status = { code: 429, times: Infinity, retryAfter: "0" };
    await assert.rejects(
      pull(name, options),
      /^ModelError: 127\.0\.0\.1:\d+ limits the rate of requests \(429\); try again later$/,
    );
    hub.trouble.status = { code: 503, times: Infinity };
    await assert.rejects(pull(name, options), /answered with status 503$/);
    const env = (key: string) => key === "HF_ENDPOINT" ? "http://127.0.0.1:1" : options.env!(key);
    await assert.rejects(pull(name, { ...options, env }), /^ModelError: 127\.0\.0\.1:1 cannot be reached: /);
  });
});

Deno.test("a hub out of reach is given up at once, in one line that says what else can be done", () =>
  withHub(async ({ hub, options }) => {
    const asked: string[] = [];
    const { hostname, port } = new URL(hub.url);
    await hub[Symbol.asyncDispose]();
    const everything = { ...options, onContact: (host: string, id: string) => asked.push(`${id} ${host}`) };
    await assert.rejects(pull(name, everything), (error: Error) => {
      assert.match(error.message, /^127\.0\.0\.1:\d+ cannot be reached: [^\n]*$/);
      for (const way of ["folder", "--source", "HF_ENDPOINT", "HF_HUB_OFFLINE"]) {
        assert.ok(error.message.includes(way), error.message);
      }
      return true;
    });
    assert.deepEqual(asked, [`${name} ${hostname}:${port}`]);
    // Somebody listens and never answers.
    using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const env = (key: string) =>
      key === "HF_ENDPOINT" ? `http://127.0.0.1:${silent.addr.port}` : options.env?.(key);
    await assert.rejects(
      pull(name, { ...options, env, retry: { ...retry, contact: 50 } }),
      /has not answered for 0\.05 s\. Name a folder/,
    );
  }));

Deno.test("content with a wrong hash is fetched once more, and refused if it stays wrong", async () => {
  await withHub(async ({ hub, cache, options }) => {
    hub.trouble.spoil = 1;
    const directory = await pull(name, options);
    assert.deepEqual(await Deno.readFile(`${directory}/config.json`), hub.files.get("config.json"));
    hub.trouble.spoil = Infinity;
    const fresh = {
      ...options,
      env: (key: string) => key === "HF_HOME" ? `${cache}/other` : options.env!(key),
    };
    await assert.rejects(pull(name, fresh), /came with hash [0-9a-f]+, not [0-9a-f]+$/);
    // Nothing of it was published, and nothing wrong is kept.
    const published = Array.fromAsync(Deno.readDir(`${root(`${cache}/other/hub`)}/snapshots/${commit}`));
    assert.deepEqual(await published, []);
    hub.trouble.spoil = 0;
    assert.deepEqual(await Deno.readFile(`${await pull(name, fresh)}/model.safetensors`), weights);
  });
});

Deno.test("the token goes to the hub's host only", async () => {
  await withHub(async ({ hub, options }) => {
    hub.token = "hf_secret";
    await pull(name, options);
    assert.ok(hub.transfers().length > 0);
    for (const { host, authorization } of hub.seen) {
      assert.equal(authorization, host === "hub" ? "Bearer hf_secret" : null);
    }
  }, { HF_TOKEN: "hf_secret" });
});

Deno.test("the token that a login has left is used, and its absence explained", async () => {
  await withHub(async ({ hub, home, options }) => {
    hub.token = "hf_login";
    await assert.rejects(pull(name, options), /refuses owner\/model-1: .*private or gated.*set HF_TOKEN$/);
    await Deno.writeTextFile(`${home}/token`, "hf_login\n");
    await pull(name, options);
  });
});

Deno.test("a redirect that leads nowhere, in circles or to another protocol ends in one line", async () => {
  await withHub(async ({ hub, options }) => {
    hub.trouble.redirect = "file:///etc/passwd";
    await assert.rejects(pull(name, options), /redirects to an address that is not allowed$/);
    hub.trouble.redirect = `${hub.url}/${name}/resolve/${commit}/config.json`;
    await assert.rejects(pull(name, options), /more than 10 redirects$/);
    hub.trouble.redirect = `${hub.storageUrl}/missing`;
    await assert.rejects(
      pull(name, options),
      /^ModelError: 127\.0\.0\.1:\d+ has no [\w.]+ of owner\/model-1$/,
    );
  });
});

Deno.test("a server without ranges still gives small files, and is told apart for large ones", async () => {
  await withHub(async ({ hub, options }) => {
    hub.trouble.noRanges = true;
    await assert.rejects(pull(name, options), /model\.safetensors: the server does not send the part/);
    const directory = await pull(name, { ...options, segmentBytes: 1 << 20 });
    assert.deepEqual(await Deno.readFile(`${directory}/model.safetensors`), weights);
  });
});

Deno.test("lies of a hub about names, sizes and hashes never become paths", async () => {
  await withHub(async ({ hub, options }) => {
    const config = (change: Record<string, unknown>) => {
      hub.lie = (entry) => entry["path"] === "config.json" ? { ...entry, ...change } : entry;
    };
    config({ path: "../../evil.json" });
    await assert.rejects(pull(name, options), /has no config\.json$/); // the path is not a file of the model
    config({ oid: "../../../evil" });
    await assert.rejects(pull(name, options), /the hash of config\.json is "\.\.\/\.\.\/\.\.\/evil"$/);
    config({ size: -1 });
    await assert.rejects(pull(name, options), /config\.json has -1 bytes$/);
    config({ size: 2 ** 50 });
    await assert.rejects(pull(name, options), /config\.json has \d+ bytes$/);
    hub.lie = (entry) => entry["path"] === "model.safetensors" ? { ...entry, path: "model.bin" } : entry;
    await assert.rejects(pull(name, options), /has no weights in the safetensors or GGUF format$/);
    // A smaller size than the content: more bytes are not taken.
    config({ size: 5 });
    await assert.rejects(pull(name, options), ModelError);
  });
  for (const bad of ["model", "../x", "a/../b", "a/b/c", "a/.b", "a b/c", "a/b--c", "", "/a/b", "a/b\n"]) {
    await assert.rejects(pull(bad), /is neither a file or folder nor the name of a model/);
  }
  for (const bad of ["../main", "a//b", "", "-x"]) {
    await assert.rejects(pull(name, { revision: bad }), /is not a revision$/);
  }
});

Deno.test("two pulls at the same time share the work and both succeed", async () => {
  await withHub(async ({ hub, options }) => {
    const [a, b] = await Promise.all([pull(name, options), pull(name, options)]);
    assert.equal(a, b);
    assert.deepEqual(await Deno.readFile(`${a}/model.safetensors`), weights);
    assert.equal(hub.transfers("model.safetensors").length, 5);
  });
});

Deno.test("ModelScope's models come into its own cache, resumable and checked alike", async () => {
  await withHub(async ({ hub, home, options }) => {
    const scope = { ...options, source: "modelscope" as const };
    hub.trouble.cut = { after: 4000, times: 2 };
    const directory = await pull(name, scope);
    assert.equal(directory, `${home}/scope/models/${name}`);
    const names = (await Array.fromAsync(Deno.readDir(directory), (entry) => entry.name)).sort();
    assert.deepEqual(names, ["config.json", "model.safetensors", "tokenizer.json"]);
    assert.deepEqual(await Deno.readFile(`${directory}/model.safetensors`), weights);
    const before = hub.transfers().length;
    await pull(name, scope);
    assert.equal(hub.transfers().length, before);
  });
});
