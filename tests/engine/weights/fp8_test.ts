// fp8 checkpoints: int8 while they load, or what they mean where another type is asked for.

import assert from "node:assert/strict";
import type { DecoderWeights } from "../../../engine/model/decoder.ts";
import { formats } from "../../../kernels/formats/mod.ts";
import { loadDecoderWeights } from "../../../engine/model/load.ts";
import { openModel } from "../../../engine/model/open.ts";
import type { DTypeOption } from "../../../engine/weights/device_types.ts";
import {
  bytesOf,
  float32,
  RecordingBackend,
  safetensors,
  temporaryFolder,
  type TestTensor,
} from "./files.ts";
import { tiny, tinyTensors } from "./tiny_model.ts";

async function load(
  directory: string,
  rank = 0,
  size = 1,
  dtype: DTypeOption = "float32",
): Promise<DecoderWeights> {
  const options = { dtype, shard: { rank, size } } as const;
  return await loadDecoderWeights(await openModel(directory), new RecordingBackend(), options);
}

Deno.test("fp8 weights are multiplied by the scales of their blocks, rows or tensor", async () => {
  const name = "model.layers.0.mlp.down_proj.weight";
  // e4m3: 0x38 is 1, 0x40 is 2, 0xb8 is −1, 0x01 the smallest subnormal, 0x7e the largest number.
  const codes = [0x38, 0x40, 0xb8, 0x01, 0x7e, 0x00];
  const values = [1, 2, -1, 2 ** -9, 448, 0];
  const data = Uint8Array.from({ length: 256 }, (_, i) => codes[i % codes.length]!);
  const expected = async (
    suffix: string,
    scale: TestTensor,
    factor: (row: number, column: number) => number,
  ) => {
    await using folder = await temporaryFolder({
      "config.json": JSON.stringify({
        ...tiny,
        quantization_config: { quant_method: "fp8", weight_block_size: [8, 4] },
      }),
      "model.safetensors": safetensors({
        ...tinyTensors(),
        [name]: { dtype: "F8_E4M3", shape: [16, 16], data },
        [name + suffix]: scale,
      }),
    });
    const weights = await load(folder.path);
    const down = bytesOf(weights.layers[0]!.feedForward.down);
    assert.deepEqual(
      [...new Float32Array(down.slice().buffer)],
      Array.from({ length: 256 }, (_, i) => values[i % values.length]! * factor(Math.floor(i / 16), i % 16)),
    );
    // Eight bits stay eight where nothing else is asked for.
    for (const dtype of ["auto", "int8"] as const) {
      const int8 = bytesOf((await load(folder.path, 0, 1, dtype)).layers[0]!.feedForward.down);
      assert.deepEqual(int8, formats.q8.encode(new Float32Array(down.slice().buffer), 16));
    }
  };
  const blocks = [1, 2, 4, 8, 0.5, 0.25, 16, 32];
  await expected(
    "_scale_inv",
    float32(blocks, [2, 4]),
    (r, c) => blocks[Math.floor(r / 8) * 4 + Math.floor(c / 4)]!,
  );
  await expected("_scale", float32([2], []), () => 2);
  const perRow = Array.from({ length: 16 }, (_, r) => 2 ** (r - 8));
  await expected("_scale", float32(perRow, [16, 1]), (r) => perRow[r]!);
});

Deno.test("column shards of fp8 weights take the scales of their columns", async () => {
  const name = "model.layers.0.mlp.down_proj.weight";
  const scales = Array.from({ length: 8 }, (_, i) => 2 ** i);
  await using folder = await temporaryFolder({
    "config.json": JSON.stringify({
      ...tiny,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      quantization_config: { quant_method: "fp8", weight_block_size: [8, 4] },
    }),
    "model.safetensors": safetensors({
      ...tinyTensors(2),
      [name]: { dtype: "F8_E4M3", shape: [16, 16], data: new Uint8Array(256).fill(0x38) },
      [`${name}_scale_inv`]: float32(scales, [2, 4]),
    }),
  });
  const second = await load(folder.path, 1, 2);
  const down = new Float32Array(bytesOf(second.layers[0]!.feedForward.down).slice().buffer);
  assert.deepEqual([...down.slice(0, 8)], [4, 4, 4, 4, 8, 8, 8, 8]);
  assert.deepEqual([...down.slice(64, 72)], [64, 64, 64, 64, 128, 128, 128, 128]);
});

Deno.test("rows and columns that a width of eights adds are zero, of fp8 weights too, and on every rank", async () => {
  const layer = "model.layers.0.mlp";
  const ones = (rows: number, columns: number): TestTensor => ({
    dtype: "F8_E4M3",
    shape: [rows, columns],
    data: new Uint8Array(rows * columns).fill(0x38),
  });
  const scaled = (name: string, rows: number, columns: number) => ({
    [`${layer}.${name}.weight`]: ones(rows, columns),
    [`${layer}.${name}.weight_scale`]: float32([2], []),
    [`${layer}.${name}.bias`]: float32(new Array(rows).fill(3), [rows]),
  });
  await using folder = await temporaryFolder({
    "config.json": JSON.stringify({
      ...tiny,
      intermediate_size: 11,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      quantization_config: { quant_method: "fp8", weight_block_size: [8, 4] },
    }),
    "model.safetensors": safetensors({
      ...tinyTensors(2),
      ...scaled("gate_proj", 11, 16),
      ...scaled("up_proj", 11, 16),
      ...scaled("down_proj", 16, 11),
    }),
  });
  for (const [rank, size, width, stored] of [[0, 1, 16, 11], [0, 2, 8, 8], [1, 2, 8, 3]] as const) {
    const { feedForward } = (await load(folder.path, rank, size, "float32")).layers[0]!;
    assert.ok(feedForward.type === "dense");
    const row = (count: number, value: number) =>
      Array.from({ length: width }, (_, i) => i < count ? value : 0);
    const numbers = (
      matrix: typeof feedForward.down,
    ) => [...new Float32Array(bytesOf(matrix).slice().buffer)];
    assert.deepEqual(numbers(feedForward.down), Array.from({ length: 16 }, () => row(stored, 2)).flat());
    const half = Array.from({ length: width }, (_, i) => new Array(16).fill(i < stored ? 2 : 0)).flat();
    assert.deepEqual(numbers(feedForward.gateUp), [...half, ...half]);
  }
});
