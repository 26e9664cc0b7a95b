// Where a position's keys and values are, by the page table (PagedAttention: Kwon et al. 2023, arXiv 2309.06180).

import { Attention } from "../operations";

/** Number of a position's slot among all slots: (page · kv heads + head) · page size + slot. `row` is a sequence's. */
@inline
export function slotOf(op: Attention, row: usize, kvHead: usize, position: usize): usize {
  const page = load<usize>(op.pageTable + (row * op.pagesPerRow + (position >> op.pageShift)) * 4);
  return ((page * op.kvHeads + kvHead) << op.pageShift) + (position & ((1 << op.pageShift) - 1));
}
