// While a long prompt is computed nothing comes out, on a CPU for a minute or more: this tells how far it has got.

import type { Generation, ServedEngine } from "../http/engine_api.ts";
import type { Delta } from "../../engine/messages.ts";

/** Milliseconds between two looks at the scheduler's counters. */
const defaultInterval = 500;

/** What to show: a fraction of the prompt, or null once there is nothing more to show. */
export type ShowReading = (fraction: number | null) => void;

/**
 * Passes a generation's deltas on, and until the first of them calls `show` now and then. The counters are those of
 * the whole engine, so this is for a program that has one request at a time.
 */
export async function* withReading(
  engine: Pick<ServedEngine, "counters">,
  generation: AsyncIterable<Delta> & Pick<Generation, "promptIds">,
  show: ShowReading,
  interval = defaultInterval,
): AsyncGenerator<Delta, void, void> {
  let reading = true;
  const computed = async () => {
    const { prefillTokensTotal, cachedTokensTotal } = await engine.counters();
    return prefillTokensTotal + cachedTokensTotal;
  };
  const look = async () => {
    const [now, before, ids] = await Promise.all([computed(), begun, generation.promptIds]);
    if (reading) show(Math.min(1, (now - before) / ids.length));
  };
  const begun = computed();
  // An engine that is dead, or a prompt that was refused, says so in the deltas.
  begun.catch(() => {});
  const timer = setInterval(() => void look().catch(() => {}), interval);
  const end = () => {
    if (!reading) return;
    reading = false;
    clearInterval(timer);
    show(null);
  };
  try {
    for await (const delta of generation) {
      end();
      yield delta;
    }
  } finally {
    end();
  }
}
