// The virtual clock: actions in the order of their times, those of one time in the order in which they were planned.

interface Event {
  readonly at: number;
  readonly order: number;
  readonly act: () => void;
}

/** A discrete-event simulation's clock; times in milliseconds. */
export class VirtualClock {
  /** A binary heap by time. */
  readonly #heap: Event[] = [];
  #now = 0;
  #planned = 0;

  /** The time of the action that runs. */
  get now(): number {
    return this.#now;
  }

  /** Plans an action; a time that has passed means now. */
  at(time: number, act: () => void): void {
    const heap = this.#heap;
    heap.push({ at: Math.max(time, this.#now), order: this.#planned++, act });
    let i = heap.length - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(heap[i]!, heap[parent]!)) break;
      [heap[i], heap[parent]] = [heap[parent]!, heap[i]!];
      i = parent;
    }
  }

  /** Runs until nothing is planned any more, or until `limit`; later actions are dropped. */
  run(limit = Infinity): void {
    for (let event = this.#pop(); event !== undefined && event.at <= limit; event = this.#pop()) {
      this.#now = event.at;
      event.act();
    }
  }

  #pop(): Event | undefined {
    const heap = this.#heap, first = heap[0], last = heap.pop();
    if (heap.length === 0 || last === undefined) return first;
    heap[0] = last;
    for (let i = 0;;) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2]) {
        if (child < heap.length && before(heap[child]!, heap[least]!)) least = child;
      }
      if (least === i) return first;
      [heap[i], heap[least]] = [heap[least]!, heap[i]!];
      i = least;
    }
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
