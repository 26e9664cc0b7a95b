// A long conversation becomes elements frame by frame, from the end, which is seen first, so that no frame keeps the
// reader waiting.

import { useEffect, useState } from "preact/hooks";
import type { Message } from "./conversation.ts";

/** Characters that become elements for one frame. */
const perFrame = 2500;

/**
 * How many characters of each message are made into elements by now: 0 or less for one that is not reached yet,
 * infinitely many once all are.
 */
export function useReach(conversation: string, shown: readonly Message[]): readonly number[] {
  const [known, setKnown] = useState({ conversation: "", reach: perFrame });
  const reach = known.conversation === conversation ? known.reach : perFrame;
  const reaches: number[] = [];
  let left = reach;
  for (let i = shown.length - 1; i >= 0; i--) {
    reaches[i] = left;
    left -= shown[i]!.content.length;
  }
  useEffect(() => {
    if (known.conversation === conversation && reach === Infinity) return;
    const next = left >= 0 ? Infinity : reach + perFrame;
    const frame = requestAnimationFrame(() => setKnown({ conversation, reach: next }));
    return () => cancelAnimationFrame(frame);
  }, [conversation, known]);
  return reaches;
}
