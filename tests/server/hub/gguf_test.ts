// Repositories of GGUF files: which file a name means, what is fetched of it, and what the cache says of it.

import assert from "node:assert/strict";
import { listModels, removeModel, resolveModel } from "../../../server/hub/cache.ts";
import { chooseGguf, ggufModels } from "../../../server/hub/gguf_files.ts";
import { parseModelName } from "../../../server/hub/names.ts";
import { pull, type PullProgress } from "../../../server/hub/pull.ts";
import { openModel } from "../../../engine/model/open.ts";
import { tinyGguf } from "../../engine/weights/gguf/builder.ts";
import { temporaryFolder } from "../../engine/weights/files.ts";
import { commit, HubStandIn, name } from "./stand_in.ts";

const retry = { attempts: 1, delay: 1, longestDelay: 1, stall: 1000, contact: 1000 };
const file = tinyGguf().build().slice();

interface Place {
  readonly hub: HubStandIn;
  readonly options: {
    readonly env: (key: string) => string | undefined;
    readonly retry: typeof retry;
    readonly segmentBytes: number;
  };
}

/** A hub whose repository has these files, and an empty cache. */
async function withHub(names: readonly string[], run: (place: Place) => Promise<void>): Promise<void> {
  await using hub = new HubStandIn();
  await using home = await temporaryFolder({});
  hub.add("README.md", "hello").add("config.json", '{"model_type":"llama"}');
  for (const name of names) hub.add(name, file);
  const variables: Record<string, string> = {
    HF_HOME: home.path,
    HF_ENDPOINT: hub.url,
    MODELSCOPE_ENDPOINT: hub.url,
    MODELSCOPE_CACHE: `${home.path}/scope`,
  };
  await run({ hub, options: { env: (key) => variables[key], retry, segmentBytes: 1000 } });
}

const formats = ["m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-IQ2_XS.gguf", "mmproj-F16.gguf"];

Deno.test("of a repository with GGUF files alone Q4_K_M is pulled, or the format that is named, and opens", async () => {
  await withHub(formats, async ({ hub, options }) => {
    const path = await pull(name, options);
    assert.ok(path.endsWith(`/snapshots/${commit}/m-Q4_K_M.gguf`), path);
    assert.equal((await openModel(path)).config.hiddenSize, 16);
    assert.deepEqual([...new Set(hub.transfers().map(({ path }) => path))], ["/m-Q4_K_M.gguf"]);
    const other = await pull(`${name}:q8_0`, options);
    assert.ok(other.endsWith("/m-Q8_0.gguf"), other);
    const address = await pull(`https://huggingface.co/${name}/blob/main/m-IQ2_XS.gguf`, options);
    assert.ok(address.endsWith("/m-IQ2_XS.gguf"), address);
    await assert.rejects(pull(`${name}:Q3_K_S`, options), {
      message: `${name} on ${
        new URL(hub.url).host
      } has no GGUF file "Q3_K_S"; there are IQ2_XS, Q4_K_M, Q8_0`,
    });
  });
});

Deno.test("all parts of a split GGUF file are pulled, and the first one opens", async () => {
  await withHub(["m-Q6_K-00001-of-00002.gguf", "m-Q6_K-00002-of-00002.gguf"], async ({ hub, options }) => {
    hub.add("m-Q6_K-00002-of-00002.gguf", Uint8Array.of(...file, 0)); // the same bytes would be fetched once
    const path = await pull(`${name}:Q6_K`, options);
    assert.ok(path.endsWith("/m-Q6_K-00001-of-00002.gguf"), path);
    assert.equal(new Set(hub.transfers().map(({ path }) => path)).size, 2);
  });
});

Deno.test("an interrupted pull of a GGUF file goes on where it was", async () => {
  await withHub(formats, async ({ options }) => {
    const interruption = new AbortController();
    let done = 0;
    await assert.rejects(
      pull(name, {
        ...options,
        connections: 1,
        signal: interruption.signal,
        onProgress: ({ doneBytes }) => {
          done = doneBytes;
          if (doneBytes >= 2000) interruption.abort(new Error("stopped by the user"));
        },
      }),
      /stopped by the user/,
    );
    assert.ok(done > 0 && done < file.length);
    const progress: PullProgress[] = [];
    const path = await pull(name, { ...options, onProgress: (p) => progress.push(p) });
    assert.deepEqual(await Deno.readFile(path), file);
    const { totalBytes, fetchedBytes } = progress.at(-1)!;
    assert.deepEqual([totalBytes, fetchedBytes], [file.length, file.length - done]);
  });
});

Deno.test("a pulled GGUF file opens by its name without the network, is listed, and is removed alone", async () => {
  for (const source of ["huggingface", "modelscope"] as const) {
    await withHub(formats, async ({ hub, options }) => {
      for (const tag of ["Q8_0", "Q4_K_M"]) await pull(`${name}:${tag}`, { ...options, source });
      const requests = hub.seen.length;
      const { directory, id } = await resolveModel(`${name}:q8_0`, { ...options, source });
      assert.ok(directory.endsWith("/m-Q8_0.gguf") && id === `${name}:q8_0`);
      assert.ok((await resolveModel(name, { ...options, source })).directory.endsWith("/m-Q4_K_M.gguf"));
      assert.equal(hub.seen.length, requests);
      const listed = await listModels(options.env);
      assert.deepEqual(
        listed.map((
          { name, bytes, architecture, types, problem },
        ) => [name, bytes, architecture, types, problem]),
        ["Q4_K_M", "Q8_0"].map((tag) => [`${name}:${tag}`, file.length, "llama", ["F32"], null]),
      );
      const removed = await removeModel(`${name}:Q8_0`, source, options.env);
      assert.equal(removed.bytes, file.length);
      assert.deepEqual((await listModels(options.env)).map(({ name }) => name), [`${name}:Q4_K_M`]);
      await assert.rejects(
        removeModel(`${name}:Q8_0`, source, options.env),
        /no GGUF file "Q8_0"; there are Q4_K_M/,
      );
      await removeModel(name, source, options.env);
      assert.deepEqual(await listModels(options.env), []);
    });
  }
});

Deno.test("safetensors come first where a repository has both, unless a format is named", async () => {
  await withHub(["model-Q4_K_M.gguf"], async ({ hub, options }) => {
    hub.add("model.safetensors", new Uint8Array(8));
    assert.ok((await pull(name, options)).endsWith(commit));
    assert.ok((await pull(`${name}:Q4_K_M`, options)).endsWith("/model-Q4_K_M.gguf"));
  });
});

Deno.test("a format is read from a file's name, and a split file counts only when it is whole", () => {
  const tags = (...names: string[]) => ggufModels(names).map(({ tag }) => tag);
  assert.deepEqual(tags("Qwen3-8B-Q4_K_M.gguf", "a.IQ4_XS.gguf", "b_f16.gguf", "c-MXFP4_MOE.gguf"), [
    "Q4_K_M",
    "IQ4_XS",
    "F16",
    "MXFP4_MOE",
  ]);
  assert.deepEqual(tags("some-model.gguf", "mmproj-x-F16.gguf", "notes.txt", "../x-Q8_0.gguf"), [
    "SOME-MODEL",
  ]);
  assert.deepEqual(tags("m-Q8_0-00001-of-00002.gguf"), []);
  assert.equal(chooseGguf(["a-Q2_K.gguf", "a-Q3_K.gguf"], undefined), null);
  assert.deepEqual(parseModelName("owner/name:Q4_K_M"), {
    id: "owner/name",
    revision: undefined,
    file: "Q4_K_M",
  });
  assert.throws(() => parseModelName("owner/name:../x"), /neither a file or folder nor/);
});
