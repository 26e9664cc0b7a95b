// Loading: which bytes of which file end up where, for one rank and for several.

import assert from "node:assert/strict";
import type { DecoderWeights } from "../../../engine/model/decoder.ts";
import { loadDecoderWeights, planWeights } from "../../../engine/model/load.ts";
import type { Model } from "../../../engine/model/model.ts";
import { openModel } from "../../../engine/model/open.ts";
import { ModelError } from "../../../engine/model/json.ts";
import { convert } from "../../../engine/weights/convert.ts";
import { planSize } from "../../../engine/weights/plan.ts";
import { vocabRange, wholeModel } from "../../../engine/weights/shard.ts";
import { rowBytes } from "../../../kernels/formats/mod.ts";
import { type Matrix } from "../../../kernels/ops.ts";
import { keptReference as reference } from "../../models/references.ts";
import { decode } from "../../kernels/numbers.ts";
import {
  bytesOf,
  float32,
  RecordingBackend,
  safetensors,
  temporaryFolder,
  type TestTensor,
  valuesOf,
} from "./files.ts";
import { tiny, tinyTensors } from "./tiny_model.ts";

const names = ["llama-gqa", "qwen2-bias", "qwen3-moe", "qwen3-tied", "qwen3-yarn"];

/** The stored bytes of a tensor, read without the code under test but for its place in the file. */
async function stored(model: Model, name: string): Promise<Uint8Array> {
  const { file, offset, bytes } = model.tensors!.get(name)!;
  return (await Deno.readFile(file)).subarray(offset, offset + bytes);
}

function joined(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

async function load(model: Model, rank = 0, size = 1): Promise<DecoderWeights> {
  return await loadDecoderWeights(model, new RecordingBackend(), { dtype: "auto", shard: { rank, size } });
}

Deno.test("q, k and v are one matrix by rows, gate and up another, in the stored type", async () => {
  const model = await openModel(reference("llama-gqa"));
  const weights = await load(model);
  const layer = weights.layers[1]!;
  const part = (name: string) => stored(model, `model.layers.1.${name}.weight`);
  assert.deepEqual(
    bytesOf(layer.qkv),
    joined(await part("self_attn.q_proj"), await part("self_attn.k_proj"), await part("self_attn.v_proj")),
  );
  assert.equal(layer.qkv.spec.dtype, "f32");
  assert.ok(layer.feedForward.type === "dense");
  assert.deepEqual(
    bytesOf(layer.feedForward.gateUp),
    joined(await part("mlp.gate_proj"), await part("mlp.up_proj")),
  );
  assert.equal(layer.feedForward.gateUp.spec.layout, "paired");
  assert.deepEqual(bytesOf(layer.feedForward.down), await part("mlp.down_proj"));
  assert.deepEqual(bytesOf(layer.output), await part("self_attn.o_proj"));
  assert.deepEqual(bytesOf(weights.head!), await stored(model, "lm_head.weight"));
  const norm = await part("input_layernorm");
  assert.deepEqual(valuesOf(layer.inputNorm), [...new Float32Array(norm.slice().buffer)]);
});

Deno.test("experts are stacked, each as gate rows then up rows", async () => {
  const model = await openModel(reference("qwen3-moe"));
  const { feedForward } = (await load(model)).layers[2]!;
  assert.ok(feedForward.type === "moe");
  const expert = (e: number, name: string) =>
    stored(model, `model.layers.2.mlp.experts.${e}.${name}_proj.weight`);
  const all = await Promise.all(
    Array.from({ length: 8 }, async (_, e) => joined(await expert(e, "gate"), await expert(e, "up"))),
  );
  assert.deepEqual(bytesOf(feedForward.gateUp), joined(...all));
  assert.deepEqual([feedForward.gateUp.spec.experts, feedForward.gateUp.spec.rows], [8, 128]);
  assert.deepEqual(bytesOf(feedForward.router), await stored(model, "model.layers.2.mlp.gate.weight"));
});

Deno.test("a tied head is the embedding matrix itself, an untied one is not", async () => {
  const tied = await load(await openModel(reference("qwen3-tied")));
  assert.equal(tied.head, null);
  const untied = await load(await openModel(reference("llama-gqa")));
  assert.notEqual(untied.head, null);
});

/** Rows of bytes. */
function rowsOf(matrix: Matrix): Uint8Array[] {
  const data = bytesOf(matrix);
  const width = rowBytes(matrix.spec.dtype, matrix.spec.columns);
  return Array.from(
    { length: data.length / width },
    (_, row) => data.subarray(row * width, (row + 1) * width),
  );
}

for (const name of names) {
  for (const size of [2, 4]) {
    Deno.test(`the parts of ${size} ranks of ${name} make up the whole model`, async () => {
      const model = await openModel(reference(name));
      const { numHeads, numKvHeads, headDim, vocabSize } = model.config;
      if (numHeads % size !== 0) {
        await assert.rejects(load(model, 0, size), /ranks cannot share 14 heads/);
        return;
      }
      const whole = await load(model);
      const ranks = await Promise.all(Array.from({ length: size }, (_, rank) => load(model, rank, size)));
      // Vocabulary by rows.
      assert.deepEqual(
        bytesOf(whole.head ?? whole.embedding),
        joined(...ranks.map((rank) => bytesOf(rank.head ?? rank.embedding))),
      );
      assert.equal(vocabRange(model.config, { rank: size - 1, size }).start, vocabSize / size * (size - 1));
      whole.layers.forEach((layer, i) => {
        const parts = ranks.map((rank) => rank.layers[i]!);
        // Columns of o, put side by side.
        const output = rowsOf(layer.output).map((_, row) =>
          joined(...parts.map((part) => rowsOf(part.output)[row]!))
        );
        assert.deepEqual(joined(...output), bytesOf(layer.output));
        // Head by head; a key/value head may stand on several ranks.
        const kvPerRank = Math.max(1, numKvHeads / size);
        const queriesPerRank = numHeads / size;
        const wholeRows = rowsOf(layer.qkv);
        parts.forEach((part, rank) => {
          const firstKv = Math.floor(rank * numKvHeads / size);
          const heads = [
            ...Array.from({ length: queriesPerRank }, (_, h) => rank * queriesPerRank + h),
            ...Array.from({ length: kvPerRank }, (_, h) => numHeads + firstKv + h),
            ...Array.from({ length: kvPerRank }, (_, h) => numHeads + numKvHeads + firstKv + h),
          ];
          const expected = heads.flatMap((head) => wholeRows.slice(head * headDim, (head + 1) * headDim));
          assert.deepEqual(bytesOf(part.qkv), joined(...expected));
          assert.equal(valuesOf(part.qkvBias)?.length, layer.qkvBias ? expected.length : undefined);
        });
        // Inner dimension: rows of gate and up, columns of down, in every expert.
        const experts = layer.feedForward.gateUp.spec.experts ?? 1;
        const inner = layer.feedForward.gateUp.spec.rows / 2;
        const share = inner / size;
        const gateUp = rowsOf(layer.feedForward.gateUp);
        parts.forEach((part, rank) => {
          const expected: Uint8Array[] = [];
          for (let block = 0; block < 2 * experts; block++) {
            const first = block * inner + rank * share;
            expected.push(...gateUp.slice(first, first + share));
          }
          assert.deepEqual(bytesOf(part.feedForward.gateUp), joined(...expected));
        });
        const down = rowsOf(layer.feedForward.down).map((_, row) =>
          joined(...parts.map((part) => rowsOf(part.feedForward.down)[row]!))
        );
        assert.deepEqual(joined(...down), bytesOf(layer.feedForward.down));
      });
    });
  }
}

Deno.test("ranks that do not divide a model are refused with the numbers", async () => {
  const model = await openModel(reference("llama-gqa"));
  await assert.rejects(load(model, 0, 3), {
    message: /^3 ranks cannot share 8 heads and 4 key\/value heads evenly/,
  });
});

Deno.test("shards are found through the index, wherever each tensor lies", async () => {
  const tensors = Object.entries(tinyTensors());
  const [first, second] = [tensors.filter((_, i) => i % 2 === 0), tensors.filter((_, i) => i % 2 === 1)];
  const weightMap = Object.fromEntries([
    ...first.map(([name]) => [name, "model-00001-of-00002.safetensors"]),
    ...second.map(([name]) => [name, "model-00002-of-00002.safetensors"]),
  ]);
  await using whole = await temporaryFolder({
    "config.json": JSON.stringify(tiny),
    "model.safetensors": safetensors(tinyTensors()),
  });
  await using split = await temporaryFolder({
    "config.json": JSON.stringify(tiny),
    "model.safetensors.index.json": JSON.stringify({ weight_map: weightMap }),
    "model-00001-of-00002.safetensors": safetensors(Object.fromEntries(first)),
    "model-00002-of-00002.safetensors": safetensors(Object.fromEntries(second)),
  });
  const [a, b] = [await load(await openModel(whole.path)), await load(await openModel(split.path))];
  assert.deepEqual(bytesOf(a.layers[0]!.qkv), bytesOf(b.layers[0]!.qkv));
  assert.deepEqual(valuesOf(a.layers[0]!.qkvBias), valuesOf(b.layers[0]!.qkvBias));
  assert.deepEqual(bytesOf(a.embedding), bytesOf(b.embedding));
});

Deno.test("biases after a reduction stand on the first rank only, biases of rows are split", async () => {
  await using folder = await temporaryFolder({
    "config.json": JSON.stringify({ ...tiny, num_attention_heads: 2, num_key_value_heads: 1 }),
    "model.safetensors": safetensors(tinyTensors(2)),
  });
  const model = await openModel(folder.path);
  const layers = await Promise.all([0, 1].map(async (rank) => (await load(model, rank, 2)).layers[0]!));
  const biases = layers.map(({ qkvBias, outputBias, feedForward }) => {
    assert.ok(feedForward.type === "dense");
    return [qkvBias, outputBias, feedForward.gateUpBias, feedForward.downBias].map(valuesOf);
  });
  const count = (from: number, length: number) => Array.from({ length }, (_, i) => from + i);
  const kv = [...count(10, 16), ...count(20, 16)];
  assert.deepEqual(biases, [
    [[...count(0, 16), ...kv], count(30, 16), [...count(40, 8), ...count(50, 8)], count(60, 16)],
    [[...count(16, 16), ...kv], null, [...count(48, 8), ...count(58, 8)], null],
  ]);
});

Deno.test("a missing tensor, a wrong shape and a wrong type are named before anything is allocated", async () => {
  const rejects = async (change: (tensors: Record<string, TestTensor>) => void, message: RegExp) => {
    const tensors = tinyTensors();
    change(tensors);
    await using folder = await temporaryFolder({
      "config.json": JSON.stringify(tiny),
      "model.safetensors": safetensors(tensors),
    });
    const model = await openModel(folder.path);
    const backend = new RecordingBackend();
    await assert.rejects(
      loadDecoderWeights(model, backend, { dtype: "auto", shard: wholeModel }),
      (error) => {
        assert.ok(error instanceof ModelError);
        assert.match(error.message, message);
        assert.ok(!error.message.includes("\n"));
        return true;
      },
    );
    assert.equal(backend.bytes, 0);
  };
  const up = "model.layers.0.mlp.up_proj.weight";
  await rejects((t) => delete t[up], /the weights lack tensor model\.layers\.0\.mlp\.up_proj\.weight$/);
  await rejects(
    (t) => t[up] = float32(new Array(8 * 16).fill(0), [8, 16]),
    /up_proj\.weight has shape \[8,16\], but config\.json makes it \[16,16\]$/,
  );
  await rejects(
    (t) => t[up] = { dtype: "I32", shape: [16, 16], data: new Uint8Array(1024) },
    /up_proj\.weight has type I32, which cannot be loaded$/,
  );
  await rejects(
    (t) => t[up] = { dtype: "F8_E4M3", shape: [16, 16], data: new Uint8Array(256) },
    /fp8 tensor model\.layers\.0\.mlp\.up_proj\.weight has no scales$/,
  );
});

Deno.test("--dtype converts the matrices; auto keeps the stored type", async () => {
  const model = await openModel(reference("qwen3-tied"));
  const shard = wholeModel;
  const wide = await loadDecoderWeights(model, new RecordingBackend(), { dtype: "float32", shard });
  const half = await loadDecoderWeights(model, new RecordingBackend(), { dtype: "float16", shard });
  const stored = await load(model);
  assert.equal(stored.embedding.spec.dtype, "bf16");
  const bits = new Uint16Array(bytesOf(stored.embedding).slice().buffer);
  const values = new Float32Array(Uint32Array.from(bits, (b) => b << 16).buffer);
  assert.deepEqual(new Float32Array(bytesOf(wide.embedding).slice().buffer), values);
  assert.deepEqual(new Float16Array(bytesOf(half.embedding).slice().buffer), Float16Array.from(values));
});

Deno.test("int8 quantises embedding, head, attention, feed-forward and experts, but neither router nor vectors", async () => {
  const options = { dtype: "int8", shard: wholeModel } as const;
  const model = await openModel(reference("qwen3-moe"));
  const backend = new RecordingBackend();
  const weights = await loadDecoderWeights(model, backend, options);
  const routers = new Set(
    weights.layers.flatMap(({ feedForward }) => feedForward.type === "moe" ? [feedForward.router] : []),
  );
  assert.ok(routers.size > 0);
  for (const matrix of backend.matrices) {
    assert.equal(matrix.spec.dtype, routers.has(matrix) ? "bf16" : "q8", matrix.spec.name);
  }
  const plain = await load(model);
  const same = plain.layers[0]!.feedForward, quantised = weights.layers[0]!.feedForward;
  assert.ok(same.type === "moe" && quantised.type === "moe");
  assert.deepEqual(bytesOf(quantised.router), bytesOf(same.router));
  assert.deepEqual(valuesOf(weights.finalNorm), valuesOf(plain.finalNorm));
  for (const part of ["gateUp", "down"] as const) {
    const stored: Matrix = same[part];
    const expected = convert(bytesOf(stored).slice(), "BF16", "q8", stored.spec.columns);
    assert.deepEqual(bytesOf(quantised[part]), expected);
  }
});

Deno.test("a rank quantises the columns that it holds", async () => {
  const model = await openModel(reference("qwen2-bias"));
  const size = 2;
  for (const rank of [0, 1]) {
    const shard = { rank, size };
    const stored = await load(model, rank, size);
    const quantised = await loadDecoderWeights(model, new RecordingBackend(), { dtype: "int8", shard });
    for (const part of ["output", "qkv"] as const) {
      const { columns } = stored.layers[1]![part].spec;
      assert.deepEqual(
        bytesOf(quantised.layers[1]![part]),
        convert(bytesOf(stored.layers[1]![part]).slice(), "BF16", "q8", columns),
      );
    }
  }
});

Deno.test("eight-bit dummy weights are as large as others, and finite", async () => {
  const model = await openModel(reference("qwen3-moe"), { dummy: true });
  const options = { dtype: "int8", shard: wholeModel } as const;
  const weights = await loadDecoderWeights(model, new RecordingBackend(), options);
  const { spec } = weights.embedding;
  const values = decode(bytesOf(weights.embedding), "q8", spec.columns);
  assert.ok(values.every((value) => Math.abs(value) < 0.0301));
  const mean = values.reduce((sum, value) => sum + Math.abs(value), 0) / values.length;
  assert.ok(Math.abs(mean - 0.015) < 1e-3, `${mean}`);
});

Deno.test("progress counts up to all bytes of the model", async () => {
  const model = await openModel(reference("llama-gqa"));
  const seen: [number, number][] = [];
  await loadDecoderWeights(model, new RecordingBackend(), {
    dtype: "auto",
    shard: wholeModel,
    onProgress: (done, total) => seen.push([done, total]),
  });
  const total = [...model.tensors!.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  assert.deepEqual(seen.at(-1), [total, total]);
  assert.ok(seen.every(([done], i) => i === 0 || done > seen[i - 1]![0]));
});

Deno.test("a rank reads the rows that it holds, and whole rows only where it holds some of their columns", async () => {
  const model = await openModel(reference("llama-gqa"));
  let shared = 0, byColumns = 0, byRows = 0;
  for (const { name, bytes, shape } of model.tensors!.values()) {
    if (shape.length === 1) shared += bytes;
    else if (/o_proj|down_proj/.test(name)) byColumns += bytes;
    else byRows += bytes;
  }
  for (const size of [2, 4]) {
    for (let rank = 0; rank < size; rank++) {
      let read = 0;
      await loadDecoderWeights(model, new RecordingBackend(), {
        dtype: "auto",
        shard: { rank, size },
        onProgress: (done) => read = done,
      });
      assert.equal(read, shared + byColumns + byRows / size);
    }
  }
});

Deno.test("dummy weights need only config.json, are the same every time, and small", async () => {
  await using folder = await temporaryFolder({
    "config.json": await Deno.readTextFile(`${reference("qwen3-moe")}/config.json`),
  });
  const model = await openModel(folder.path, { dummy: true });
  const [a, b] = [await load(model), await load(model)];
  const numbers = (matrix: Matrix) =>
    new Float32Array(
      Uint32Array.from(new Uint16Array(bytesOf(matrix).slice().buffer), (h) => h << 16).buffer,
    );
  const qkv = numbers(a.layers[0]!.qkv);
  assert.deepEqual(qkv, numbers(b.layers[0]!.qkv));
  assert.ok(qkv.every((value) => Math.abs(value) <= 0.0301));
  const mean = qkv.reduce((sum, value) => sum + value, 0) / qkv.length;
  const spread = Math.sqrt(qkv.reduce((sum, value) => sum + value * value, 0) / qkv.length);
  assert.ok(Math.abs(mean) < 0.001 && spread > 0.015 && spread < 0.02, `mean ${mean}, spread ${spread}`);
  assert.notDeepEqual(qkv, numbers(a.layers[1]!.qkv));
  assert.deepEqual(valuesOf(a.finalNorm), new Array(96).fill(1));
  // What ranks hold in common must be the same on each.
  const router = (weights: DecoderWeights) => {
    const { feedForward } = weights.layers[0]!;
    return feedForward.type === "moe" ? bytesOf(feedForward.router) : null;
  };
  assert.deepEqual(router(await load(model, 1, 2)), router(a));
});

Deno.test("the estimate of memory is what loading allocates, for every model, type and number of ranks", async () => {
  for (const name of names) {
    const model = await openModel(reference(name));
    for (const dtype of ["auto", "bfloat16", "float32", "int8", "q4"] as const) {
      for (const size of [1, 2]) {
        const backend = new RecordingBackend();
        const shard = { rank: size - 1, size };
        await loadDecoderWeights(model, backend, { dtype, shard });
        const { bytes } = planSize(planWeights(model, backend, { dtype, shard }));
        assert.equal(bytes, backend.bytes, `${name} ${dtype} ${size}`);
      }
    }
  }
});
