// AWQ and GPTQ checkpoints, packed by numpy as the libraries pack (pack.py), against the weights that they mean.

import assert from "node:assert/strict";
import { planParts } from "../../../engine/weights/plan.ts";
import { loadDecoderWeights, planWeights } from "../../../engine/model/load.ts";
import { openModel } from "../../../engine/model/open.ts";
import { createReferenceBackend } from "../../../kernels/reference/backend.ts";
import { formats } from "../../../kernels/formats/mod.ts";
import { mapTree } from "../../../engine/model/layers.ts";
import { LoadedModel } from "../../models/harness.ts";
import { hasPython, python } from "../../python.ts";
import { relativeError } from "../../random.ts";
import { bytesOf, RecordingBackend, temporaryFolder } from "./files.ts";

const available = await hasPython("numpy");

/** A test with a packed checkpoint and the same in float32. */
function packedTest(
  name: string,
  [method, group, symmetric]: readonly [method: "awq" | "gptq", group: number, symmetric: boolean],
  body: (packed: string, plain: string) => Promise<void>,
): void {
  Deno.test({
    name: available ? name : `${name} (ignored: python3 has no numpy)`,
    ignore: !available,
    fn: async () => {
      await using folder = await temporaryFolder({});
      const where = new URL("pack.py", import.meta.url);
      await python(where, null, method, String(group), symmetric ? "1" : "0", folder.path);
      await body(`${folder.path}/packed`, `${folder.path}/plain`);
    },
  });
}

/** All matrices of a rank as numbers, with their formats. */
async function matrices(path: string, rank: number, size: number) {
  const model = await openModel(path), backend = new RecordingBackend();
  const shard = { rank, size };
  const plan = planParts(planWeights(model, backend, { dtype: "auto", shard }));
  const weights = await loadDecoderWeights(model, backend, { dtype: "auto", shard });
  const values: Float32Array[] = [];
  mapTree(
    weights,
    (matrix) => values.push(formats[matrix.spec.dtype].decode(bytesOf(matrix).slice(), matrix.spec.columns)),
    () => 0,
  );
  return { values, types: plan.matrices.map(({ spec }) => spec.dtype) };
}

const kinds = [
  ["gptq", 32, true],
  ["gptq", -1, true],
  ["gptq", 64, false],
  ["awq", 32, false],
  ["awq", 64, false],
] as const;

for (const [method, group, symmetric] of kinds) {
  const kind = `${method}, ${group === -1 ? "one group" : `groups of ${group}`}, ${
    symmetric ? "zeros of 8" : "any zeros"
  }`;
  packedTest(
    `a checkpoint in four bits keeps its numbers: ${kind}`,
    [method, group, symmetric],
    async (packed, plain) => {
      for (const [rank, size] of [[0, 1], [0, 2], [1, 2]] as const) {
        const [ours, meant] = await Promise.all([packed, plain].map((path) => matrices(path, rank, size)));
        const native = symmetric ? "q4_0" : "q4_1";
        assert.deepEqual(new Set(ours!.types), new Set(["f16", native]));
        meant!.values.forEach((expected, i) => {
          const error = relativeError(ours!.values[i]!, expected);
          // Of a zero's product with its scale, float16 keeps eleven bits.
          assert.ok(symmetric ? error === 0 : error < 1e-3, `${ours!.types[i]}: ${error}`);
        });
      }
      const logits = await Promise.all([packed, plain].map(async (path) => {
        using backend = await createReferenceBackend();
        const loaded = await LoadedModel.load(path, backend, 16);
        return (await loaded.prefill([{ row: 0, ids: [3, 9, 27, 1], everyPosition: true }])).logits!;
      }));
      const error = relativeError(logits[0]!, logits[1]!);
      assert.ok(error < (symmetric ? 1e-5 : 2e-3), `${error}`);
    },
  );
}

packedTest(
  "a checkpoint in four bits becomes another type where that is asked for",
  ["awq", 32, false],
  async (packed) => {
    const backend = new RecordingBackend(), shard = { rank: 0, size: 1 };
    const weights = await loadDecoderWeights(await openModel(packed), backend, { dtype: "float32", shard });
    assert.ok(bytesOf(weights.layers[0]!.output).length === 4 * 64 * 64);
  },
);

packedTest(
  "what cannot be read of a four-bit checkpoint is refused in one line",
  ["gptq", 32, false],
  async (packed) => {
    const path = `${packed}/config.json`, config = JSON.parse(await Deno.readTextFile(path));
    const refused = async (change: Record<string, unknown>, message: RegExp) => {
      const quantization_config = { ...config.quantization_config, ...change };
      await Deno.writeTextFile(path, JSON.stringify({ ...config, quantization_config }));
      await assert.rejects(async () => {
        const options = { dtype: "auto", shard: { rank: 0, size: 1 } } as const;
        await loadDecoderWeights(await openModel(packed), new RecordingBackend(), options);
      }, (error) => error instanceof Error && message.test(error.message) && !error.message.includes("\n"));
    };
    await refused({ bits: 8 }, /"bits" must be 4/);
    await refused({ desc_act: true }, /desc_act/);
    await refused({ group_size: 48 }, /groups of 48/);
    await refused({ sym: true }, /a zero is \d+, though the configuration says "sym"/);
    await refused({ group_size: 64 }, /expected I32 \[1,/);
    await refused({ checkpoint_format: "marlin" }, /marlin/);
  },
);
