// The router of few tokens, its choice and the list of tiles: the kernels, compiled for the processor, against float64.

import assert from "node:assert/strict";
import { numbers } from "./emulator/data.ts";
import { emulate, emulatedTest, type Run } from "./emulator/emulator.ts";

/** A library's entry: everything but sizes is a pointer. The prepared input and the weights are bfloat16 and float32. */
const entry = `
extern "C" void run(int one, int grid, int groups, long shared, const u32* plan, const float* x, const float* norm,
                    const float* w, const float* bias, float* logits, void* prepared, u32* routes, u32* order, u32* tiles,
                    u32* counters, int T, int experts, int K, int k, int renormalize, int tileRows) {
  emulated::launch(grid, 256, shared, [=] {
    (one ? choose_1 : choose_8)(plan, x, norm, 1e-6f, (const u8*)w, F32, bias, logits, prepared, BF16, routes, order, tiles,
                                counters, T, experts, K, k, renormalize, tileRows);
  }, groups);
}`;

/** Tokens (and those that a padded step has beside), experts, columns, choices, rows of a tile. */
const cases = [
  { tokens: 1, padded: 1, experts: 32, columns: 2880, k: 4, renormalize: true, tileRows: 8 },
  { tokens: 1, padded: 1, experts: 6, columns: 96, k: 2, renormalize: false, tileRows: 8 },
  { tokens: 5, padded: 5, experts: 24, columns: 2048, k: 8, renormalize: true, tileRows: 8 },
  { tokens: 17, padded: 24, experts: 10, columns: 352, k: 3, renormalize: false, tileRows: 8 },
  { tokens: 20, padded: 20, experts: 140, columns: 64, k: 40, renormalize: true, tileRows: 16 },
] as const;

emulatedTest(
  "the router chooses what float64 chooses, lists every pair once, and leaves its counters at zero",
  () => emulate({ source: "moe/moe.cu", entry, parameters: "iiilpppppppppppiiiiii" }, compare),
);

function compare(run: Run): void {
  for (const [i, { tokens, padded, experts, columns, k, renormalize, tileRows }] of cases.entries()) {
    const x = numbers(padded * columns, 10 + i), norm = numbers(columns, 20 + i).map((g) => 1 + g);
    const w = numbers(experts * columns, 30 + i).map((v) => v / Math.sqrt(columns)),
      bias = numbers(experts, 40 + i);
    const each = tokens === 1 ? 1 : 8, groups = Math.ceil(padded / each), pairs = padded * k;
    const routes = new Uint32Array(2 * pairs),
      order = new Uint32Array(pairs).fill(~0),
      counters = new Uint32Array(9);
    const tiles = new Uint32Array(1 + 3 * (experts + pairs)), prepared = new Uint16Array(padded * columns);
    const shared = each === 1 ? 0 : 4 * (2 * experts + 64);
    run(
      each === 1 ? 1 : 0,
      Math.ceil(experts / 4),
      groups,
      BigInt(shared),
      Uint32Array.from([tokens]),
      x,
      norm,
      w,
      bias,
      new Float32Array(padded * experts),
      prepared,
      routes,
      order,
      tiles,
      counters,
      padded,
      experts,
      columns,
      k,
      renormalize ? 1 : 0,
      tileRows,
    );
    const weights = new Float32Array(routes.buffer), text = `case ${i}`;
    for (let t = 0; t < padded; t++) {
      const row = x.subarray(t * columns, (t + 1) * columns);
      const scale = 1 / Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / columns + 1e-6);
      for (let c = 0; c < columns; c++) {
        const word = new Float32Array(Uint32Array.of(prepared[t * columns + c]! << 16).buffer)[0]!;
        assert.ok(Math.abs(word - row[c]! * scale * norm[c]!) <= Math.abs(word) / 128 + 1e-6, text);
      }
      if (t >= tokens) {
        for (let n = 0; n < k; n++) assert.equal(routes[2 * (t * k + n)], 0xffffffff);
        continue;
      }
      const logits = Array.from(
        { length: experts },
        (_, e) => row.reduce((sum, v, c) => sum + v * norm[c]! * w[e * columns + c]!, 0) * scale + bias[e]!,
      );
      const sorted = logits.map((_, e) => e).sort((a, b) => logits[b]! - logits[a]!);
      const total = (renormalize ? sorted.slice(0, k) : sorted).reduce(
        (sum, e) => sum + Math.exp(logits[e]!),
        0,
      );
      for (let n = 0; n < k; n++) {
        const chosen = routes[2 * (t * k + n)]!, right = logits[sorted[n]!]!;
        assert.ok(Math.abs(logits[chosen]! - right) < 1e-5, `${text}: token ${t}, choice ${n}`);
        assert.ok(Math.abs(weights[2 * (t * k + n) + 1]! - Math.exp(right) / total) < 1e-5, text);
      }
      assert.equal(new Set(Array.from({ length: k }, (_, n) => routes[2 * (t * k + n)])).size, k, text);
    }
    const seen = new Set<number>();
    for (let tile = 0, next = 0; tile < tiles[0]!; tile++) {
      const [expert, first, rows] = tiles.subarray(1 + 3 * tile, 4 + 3 * tile) as unknown as [
        number,
        number,
        number,
      ];
      assert.ok(first === next && rows >= 1 && rows <= tileRows, text);
      for (let r = first; r < first + rows; r++) {
        assert.equal(routes[2 * order[r]!], expert, text);
        seen.add(order[r]!);
      }
      next += rows;
    }
    assert.equal(seen.size, tokens * k, text);
    assert.ok(counters.every((word) => word === 0), text);
  }
}
