// Result files: JSON, whole or not at all.

/** A file name's part: "NVIDIA H200" → "nvidia-h200". */
export function slug(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9.]+/g, "-").replace(/^-+|-+$/g, "") || "unknown";
}

/** Writes beside the destination and renames, so that a run which fails leaves no half of a file. */
export async function writeResult(path: string, result: unknown): Promise<void> {
  const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : ".";
  await Deno.mkdir(folder, { recursive: true });
  const unfinished = `${path}.unfinished`;
  try {
    await Deno.writeTextFile(unfinished, JSON.stringify(result, null, 2) + "\n");
    await Deno.rename(unfinished, path);
  } catch (error) {
    await Deno.remove(unfinished).catch(() => {}); // it may not even be there
    throw error;
  }
}
