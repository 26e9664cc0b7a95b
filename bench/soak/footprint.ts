// What the server under soak holds, as its own metrics say.

/** At one moment, or the medians of several. */
export interface Footprint {
  /** Resident memory in MiB. */
  readonly memory: number;
  /** Open file descriptors. */
  readonly descriptors: number;
}

/** Asks the server. */
export async function footprint(url: string): Promise<Footprint> {
  const text = await (await fetch(`${url}/metrics`, { headers: { authorization: "Bearer one" } })).text();
  const metric = (name: string) => Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, "m").exec(text)?.[1]);
  return {
    memory: metric("process_resident_memory_bytes") / 2 ** 20,
    descriptors: metric("process_open_fds"),
  };
}
