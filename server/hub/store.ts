// Where a pulled model's files lie: in Hugging Face's cache, shared with its other tools, or in ModelScope's.

import type { RemoteFile } from "./sources.ts";

/** Where a model's files go. */
export interface Store {
  /** The folder that the model can be opened from. */
  readonly directory: string;
  /** Whether the file is there, whole. */
  has(file: RemoteFile): Promise<boolean>;
  /** The path that its data is downloaded to. */
  target(file: RemoteFile): string;
  /** The path of a file to lock while that goes on. */
  lock(file: RemoteFile): string;
  /** Called when the target is there: makes the file appear in the folder. */
  publish(file: RemoteFile): Promise<void>;
  /** Called when all files of a revision are there. */
  complete(revision: string): Promise<void>;
}

/** Hugging Face's cache: content by hash, named by links of a snapshot. */
export class HuggingFaceStore implements Store {
  readonly directory: string;
  readonly #root: string;
  readonly #locks: string;
  readonly #commit: string;

  private constructor(cache: string, folder: string, commit: string) {
    this.#root = `${cache}/${folder}`;
    this.#locks = `${cache}/.locks/${folder}`;
    this.#commit = commit;
    this.directory = `${this.#root}/snapshots/${commit}`;
  }

  /** The place of one commit in the cache; `folder` is the model's. */
  static async open(cache: string, folder: string, commit: string): Promise<HuggingFaceStore> {
    const store = new HuggingFaceStore(cache, folder, commit);
    for (const directory of [`${store.#root}/blobs`, store.directory, store.#locks]) {
      await Deno.mkdir(directory, { recursive: true });
    }
    return store;
  }

  async has(file: RemoteFile): Promise<boolean> {
    if (await sizeOf(this.target(file)) !== file.size) return false;
    await this.publish(file);
    return true;
  }

  target(file: RemoteFile): string {
    return `${this.#root}/blobs/${file.hash.value}`;
  }

  lock(file: RemoteFile): string {
    return `${this.#locks}/${file.hash.value}.lock`;
  }

  async publish(file: RemoteFile): Promise<void> {
    const path = `${this.directory}/${file.name}`;
    if (await sizeOf(path) === file.size) return;
    const folder = path.slice(0, path.lastIndexOf("/"));
    await Deno.mkdir(folder, { recursive: true });
    // Made under another name first: another pull may be publishing the same file.
    const link = `${folder}/.${crypto.randomUUID()}`;
    const up = "../".repeat(file.name.split("/").length + 1);
    try {
      await Deno.symlink(`${up}blobs/${file.hash.value}`, link);
    } catch {
      // Windows without the right to make links
      await Deno.copyFile(this.target(file), link);
    }
    await Deno.rename(link, path);
  }

  /** Remembers which commit a branch stood for; written last, so that it names complete snapshots. */
  async complete(revision: string): Promise<void> {
    if (revision === this.#commit) return;
    const path = `${this.#root}/refs/${revision}`;
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    await Deno.writeTextFile(path, this.#commit);
  }
}

/** ModelScope's cache: the files in a folder. */
export class PlainStore implements Store {
  private constructor(readonly directory: string) {}

  /** `directory` is the model's. */
  static async open(directory: string): Promise<PlainStore> {
    await Deno.mkdir(directory, { recursive: true });
    return new PlainStore(directory);
  }

  async has(file: RemoteFile): Promise<boolean> {
    const target = this.target(file);
    await Deno.mkdir(target.slice(0, target.lastIndexOf("/")), { recursive: true });
    return await sizeOf(target) === file.size;
  }

  target(file: RemoteFile): string {
    return `${this.directory}/${file.name}`;
  }

  lock(file: RemoteFile): string {
    return `${this.directory}/${file.name}.lock`;
  }

  async publish(file: RemoteFile): Promise<void> {
    await Deno.remove(this.lock(file)).catch(() => {}); // who waits for it will find the file
  }

  async complete(): Promise<void> {}
}

/** Bytes of a file; null where there is none. */
export async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await Deno.stat(path)).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
