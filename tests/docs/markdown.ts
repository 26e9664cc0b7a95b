// Reads the project's documents, as far as their tests need it.

import { dirname, resolve } from "node:path";
import { root } from "../../tools/contents.ts";
import { documents } from "../../tools/count_lines.ts";

/** A link, with its text as it is written. */
export interface Link {
  readonly text: string;
  readonly target: string;
}

/** A fenced block of shell commands. */
export interface ShellBlock {
  readonly document: string;
  readonly script: string;
}

/** A document, taken apart. */
export class Document {
  readonly #prose: string;

  private constructor(readonly path: string, readonly text: string) {
    this.#prose = text.replaceAll(/^```[^]*?^```$/gm, "").replaceAll(/<!--[^]*?-->/g, "");
  }

  static async read(path: string): Promise<Document> {
    return new Document(path, await Deno.readTextFile(`${root}/${path}`));
  }

  /** Links and images. */
  get links(): Link[] {
    return [...this.#prose.matchAll(/\[((?:[^[\]]|\[[^[\]]*\])*)\]\(([^()\s]+)\)/g)].map((
      [, text, target],
    ) => ({
      text: text!,
      target: target!,
    }));
  }

  /** Code within the text that no link surrounds. */
  get inlineCode(): string[] {
    const withoutLinks = this.#prose.replaceAll(/\[[^[\]]*\]\([^()\s]+\)/g, "");
    return [...withoutLinks.matchAll(/`([^`]+)`/g)].map(([, code]) => code!.replaceAll(/\s+/g, " "));
  }

  get shellBlocks(): ShellBlock[] {
    return [...this.text.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, script]) => ({
      document: this.path,
      script: script!,
    }));
  }

  /** Anchors of the headings, as GitHub makes them. */
  get anchors(): Set<string> {
    return new Set(
      [...this.#prose.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
        heading!.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
      ),
    );
  }

  /** The file that a relative link leads to, relative to the root. */
  resolve(target: string): string {
    return resolve(root, dirname(this.path), target.split("#")[0]!).slice(root.length + 1);
  }
}

/** All documents. */
export async function readDocuments(): Promise<Document[]> {
  return await Promise.all((await documents()).map((path) => Document.read(path)));
}
