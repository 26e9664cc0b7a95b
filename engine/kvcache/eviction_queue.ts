// Least recently used first, without moving anything on use.
//
// A binary heap ordered by the time of last use as it was when the entry was queued. Using an entry again only
// changes its own `lastAccess`; that makes the order in the heap too early, never too late, so `pop` puts a stale
// entry back with its present time and looks again. A use costs nothing, an eviction O(log n).

/** Something that can be evicted. */
export interface Evictable {
  /** Logical time of last use; only grows. */
  lastAccess: number;
  /** Kept by the queue: it is in the heap. */
  queued: boolean;
}

/** Entries in the order of their last use. */
export class EvictionQueue<T extends Evictable> {
  readonly #heap: { readonly time: number; readonly entry: T }[] = [];

  /** Adds an entry unless it waits already. */
  push(entry: T): void {
    if (entry.queued) return;
    entry.queued = true;
    const heap = this.#heap;
    const item = { time: entry.lastAccess, entry };
    let at = heap.length;
    heap.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]!.time <= item.time) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = item;
  }

  /** Removes and returns the least recently used entry. */
  pop(): T | undefined {
    while (true) {
      const first = this.#heap[0];
      if (first === undefined) return undefined;
      this.#removeFirst();
      first.entry.queued = false;
      if (first.time === first.entry.lastAccess) return first.entry;
      this.push(first.entry);
    }
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const item = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    while (true) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.time < heap[child]!.time) child++;
      if (heap[child]!.time >= item.time) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = item;
  }
}
