import assert from "node:assert/strict";
import { defaultEngineOptions } from "../../../engine/options.ts";
import { placeRanks } from "../../../kernels/webgpu/device/gpus.ts";
import { shareOut } from "../../../server/replicas/start.ts";

/** GPUs and engines per device of each replica, on a machine with so many GPUs of a kind. */
function shared(dp: number, tp: number, gpus: number, wanted: readonly string[] = []) {
  const found = Array.from(
    { length: gpus },
    (_, i) => ({ address: `gpu ${i}`, kind: "10de:2330", name: "GPU" }),
  );
  const options = { ...defaultEngineOptions, modelDir: "", tp };
  return shareOut(options, dp, placeRanks(dp * tp, wanted, found, true))
    .map(({ gpus, enginesPerDevice }) => [gpus.map((address) => Number(address.slice(4))), enginesPerDevice]);
}

Deno.test("each replica takes the next GPUs, and those that must share one know it", () => {
  assert.deepEqual(shared(2, 1, 2), [[[0], 1], [[1], 1]]);
  assert.deepEqual(shared(2, 2, 4), [[[0, 1], 1], [[2, 3], 1]]);
  assert.deepEqual(shared(2, 2, 2), [[[0, 1], 2], [[0, 1], 2]]);
  assert.deepEqual(shared(4, 1, 2), [[[0], 2], [[1], 2], [[0], 2], [[1], 2]]);
  assert.deepEqual(shared(2, 1, 4, ["gpu 3", "gpu 1"]), [[[3], 1], [[1], 1]]);
});

Deno.test("replicas without GPUs to choose from share what there is, cores included", () => {
  assert.deepEqual(shared(2, 1, 1), [[[], 2], [[], 2]]);
  assert.deepEqual(shared(2, 2, 0), [[[], 2], [[], 2]]);
  const options = { ...defaultEngineOptions, modelDir: "" };
  const places = Array.from({ length: 2 }, () => ({ address: null, sharing: 2 }));
  const threads = shareOut(options, 2, places).map(({ threads }) => threads);
  const half = Math.min(64, Math.max(1, Math.floor(navigator.hardwareConcurrency / 2)));
  assert.deepEqual(threads, [half, half]);
  assert.equal(shareOut({ ...options, threads: 3 }, 2, places)[1]!.threads, 3);
});
