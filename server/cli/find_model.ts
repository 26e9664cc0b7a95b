// From what a user names (a path, a Hub id, an address of the Hub, a short name) to a path, pulled when it is missing.

import type { HubSource } from "../hub/pull.ts";
import { formatBytes } from "./format.ts";
import type { Progress } from "./progress.ts";

/** Where a model is and its name for clients. */
export interface FoundModel {
  /** To open. */
  readonly directory: string;
  /** The Hub id, or the path as it was given. */
  readonly id: string;
}

/** A folder or file as it is; a named model from the cache, or pulled when it is missing. */
export async function findModel(
  name: string,
  source: HubSource,
  progress: Progress,
  signal: AbortSignal,
): Promise<FoundModel> {
  if (await Deno.stat(name).then(() => true, () => false)) {
    return { directory: name, id: name };
  }
  // Loaded only for a model with a Hub name: a folder should open at once.
  const { resolveModel } = await import("../hub/cache.ts");
  return await shown(name, progress, (show) => resolveModel(name, { source, signal, ...show }));
}

/** Downloads what the cache does not have of a model. */
export async function fetchModel(
  name: string,
  options: { source: HubSource; revision: string | undefined; connections: number },
  progress: Progress,
  signal: AbortSignal,
): Promise<{ directory: string; fetchedBytes: number }> {
  const { pull } = await import("../hub/pull.ts");
  let fetchedBytes = 0;
  const directory = await shown(name, progress, (show) =>
    pull(name, {
      ...options,
      ...show,
      signal,
      onProgress: (state) => {
        fetchedBytes = state.fetchedBytes;
        show.onProgress(state);
      },
    }));
  return { directory, fetchedBytes };
}

interface Show {
  onContact(host: string, id: string): void;
  onProgress(state: { doneBytes: number; totalBytes: number }): void;
}

/** Shows a transfer, and takes the bar away whatever comes of it. */
async function shown<T>(name: string, progress: Progress, run: (show: Show) => Promise<T>): Promise<T> {
  try {
    return await run({
      onContact: (host, id) => progress.note(`radish: asking ${host} for ${id}`),
      onProgress({ doneBytes, totalBytes }) {
        const message = `${name} ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`;
        progress.update(message, doneBytes / totalBytes);
      },
    });
  } finally {
    progress.clear();
  }
}
