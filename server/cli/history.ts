// What was typed in `radish chat`, kept between sessions: one JSON text a line, the newest last. Losing it is no reason
// to stop a conversation, so a folder that cannot be written costs only the history.

import { dirname, join } from "node:path";

const mostLines = 1000;

/** Where it is kept: the user's folder for state, or null where the system names none. */
export function historyPath(env: (name: string) => string | undefined = Deno.env.get): string | null {
  const home = env("HOME");
  const folder = env("XDG_STATE_HOME") ?? env("LOCALAPPDATA") ?? (home && join(home, ".local", "state"));
  return folder ? join(folder, "radish", "chat_history") : null;
}

/** The newest first, as `readline` wants it. */
export async function readHistory(path: string | null): Promise<string[]> {
  if (path === null) return [];
  const text = await Deno.readTextFile(path).catch(() => "");
  return text.split("\n").flatMap((line) => {
    try {
      const value: unknown = JSON.parse(line);
      return typeof value === "string" ? [value] : [];
    } catch {
      return [];
    }
  }).slice(-mostLines).reverse();
}

/** Writes the newest lines, given newest first; readable by the user only. */
export async function writeHistory(path: string | null, history: readonly string[]): Promise<void> {
  if (path === null) return;
  const text = history.slice(0, mostLines).toReversed().map((line) => JSON.stringify(line) + "\n").join("");
  try {
    await Deno.mkdir(dirname(path), { recursive: true });
    await Deno.writeTextFile(path, text, { mode: 0o600 });
  } catch {
    // Only the history is lost.
  }
}
