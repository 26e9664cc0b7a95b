// Entry of the WebAssembly module: runs programs, packs weights, scans logits.
//
// Every thread has an instance of this module on the same shared memory and calls `run` with the same program.

import { attention } from "./attention";
import { embed } from "./embed";
import { linear, pack } from "./linear";
import { combine, expertLinear, expertPack, groupTokens, route } from "./moe";
import { ropeStore } from "./norm";
import { barrier, fail, operationBytes, word } from "./program";

export * from "./cache_tile";
export { fail } from "./program";
export { argmax, collect, expSum, noisyMaximum } from "./scan";
export * from "./tile";
export { packRowQ8 } from "./tile_q8";
export { packRow, packRows8 } from "./weights";

/** Runs `count` operations as thread `thread` of `threads`. False: another thread failed. */
export function run(program: usize, count: i32, thread: i32, threads: i32): bool {
  for (let i = 0; i < count; i++, program += operationBytes) {
    switch (word(program, 0)) {
      case 0: embed(program); break;
      case 1: pack(program); break;
      case 2: linear(program, thread); break;
      case 3: ropeStore(program); break;
      case 4: attention(program, thread); break;
      case 5: route(program); break;
      case 6: groupTokens(program); break;
      case 7: expertPack(program); break;
      case 8: expertLinear(program, thread); break;
      case 9: combine(program); break;
      default: unreachable();
    }
    if (!barrier(program, threads)) return false;
  }
  return true;
}
