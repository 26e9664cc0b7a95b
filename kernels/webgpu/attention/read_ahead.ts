// Workgroups of decode attention that only read the weights which the next products need, so that these find them in
// the last-level cache: with few sequences attention leaves most of the device idle, and the memory with it.
//
// Each thread touches 32-byte sectors, a word of each, many in flight. The compiler must not see that the words are not
// used, so they are combined, and where all of a thread come out as one certain number that is written where nobody
// reads. Which weights and how many bytes is decided here; it changes no result.

import type { DeviceCaps } from "../kernel.ts";
import { type Binding, input, lines, range } from "../wgsl.ts";

/** Most weights, each a binding of the kernel. */
export const mostAhead = 2;

/** Roles of the weights' buffers. */
export type ReadAheadRole = "ahead0" | "ahead1";

const sectorBytes = 32;

/** Sectors in flight in each thread. */
const unrolled = 8;

/** The number whose appearance is written down. */
export const rareWord = 0x9e3779b9;

/** Bytes to read from the beginning of each weight of `sizes` bytes, beside `workgroups` workgroups of attention. */
export function chooseAhead(sizes: readonly number[], workgroups: number, caps: DeviceCaps): number[] {
  let left = caps.software || workgroups > caps.parallelism / 8 ? 0 : caps.readAheadBytes ?? 0;
  const chosen: number[] = [];
  for (const size of sizes.slice(0, mostAhead)) {
    const bytes = Math.min(size, left) & -sectorBytes;
    if (bytes === 0) break;
    chosen.push(bytes);
    left -= bytes;
  }
  return chosen;
}

/** How many layers of the grid, of `workgroups` workgroups each, read ahead beside `queries` layers of attention. */
export const aheadLayers = (
  ahead: readonly number[],
  workgroups: number,
  queries: number,
  caps: DeviceCaps,
): number =>
  // A quarter of what fills the device is about one workgroup for each multiprocessor.
  ahead.length === 0 ? 0 : Math.max(1, Math.floor(caps.parallelism / 4 / workgroups) - queries);

/** Their bindings, in order. */
export function aheadBindings(
  ahead: readonly number[],
): { readonly roles: readonly ReadAheadRole[]; readonly bindings: readonly Binding[] } {
  const roles = range(ahead.length).map((i): ReadAheadRole => `ahead${i as 0 | 1}`);
  return { roles, bindings: roles.map((role) => input(role, "array<u32>")) };
}

/** WGSL of what a workgroup of `threads` threads in layer `layer` of `layers` does. */
export function readAheadCode(
  ahead: readonly number[],
  threads: number,
  layer: string,
  layers: string,
): string {
  return `    let worker = ((${layer} * groups.y + group.y) * groups.x + group.x) * ${threads}u + thread;
    let workers = ${layers} * groups.y * groups.x * ${threads}u;
    var seen = 0u;
${
    lines(ahead.map((bytes, n) => {
      const sectors = bytes / sectorBytes;
      return `    for (var i = worker; i < ${sectors}u; i += ${unrolled}u * workers) {
${
        lines(
          range(unrolled).map((u) =>
            `      let w${u} = ahead${n}[min(i + ${u}u * workers, ${sectors - 1}u) * ${sectorBytes / 4}u];`
          ),
        )
      }
${
        lines(
          range(unrolled).map((u) => `      seen ^= select(0u, w${u}, i + ${u}u * workers < ${sectors}u);`),
        )
      }
    }`;
    }))
  }
    if (seen == ${rareWord}u) { partials[0] = bitcast<f32>(seen); }`;
}
