// Entry of the WebAssembly module: runs programs, packs weights, scans logits.
//
// Every thread has an instance of this module on the same shared memory and calls `run` with the same program.

import {
  Attention, Combine, Embed, Kind, Norm, Operation, operationBytes, Product, Routing,
} from "../operations";
import { attention } from "./attention";
import { embed } from "./embed";
import { linear, pack } from "./linear";
import { combine, expertLinear, expertPack, groupTokens, route } from "./moe";
import { norm, squares } from "./norm";
import { barrier } from "./program";
import { ropeStore } from "./rope";

export { panelBytes, writeRows } from "../formats";
export { fail } from "./program";
export { argmax, collect, expSum, noisyMaximum } from "./scan";

/** Runs `count` operations as thread `thread` of `threads`. False: another thread failed. */
export function run(program: usize, count: i32, thread: i32, threads: i32): bool {
  for (let i = 0; i < count; i++, program += operationBytes) {
    switch (changetype<Operation>(program).kind) {
      case Kind.embed: embed(changetype<Embed>(program)); break;
      case Kind.pack: pack(changetype<Product>(program)); break;
      case Kind.linear: linear(changetype<Product>(program), thread); break;
      case Kind.norm: norm(changetype<Norm>(program)); break;
      case Kind.squares: squares(changetype<Norm>(program)); break;
      case Kind.ropeStore: ropeStore(changetype<Attention>(program)); break;
      case Kind.attention: attention(changetype<Attention>(program), thread); break;
      case Kind.route: route(changetype<Routing>(program)); break;
      case Kind.groupTokens: groupTokens(changetype<Routing>(program)); break;
      case Kind.expertPack: expertPack(changetype<Product>(program)); break;
      case Kind.expertLinear: expertLinear(changetype<Product>(program), thread); break;
      case Kind.combine: combine(changetype<Combine>(program)); break;
      default: unreachable();
    }
    if (!barrier(changetype<Operation>(program), threads)) return false;
  }
  return true;
}
