// Which GGUF file of a repository is meant. A repository often has one model in many formats, a file (or a few that it
// was split into) for each; `owner/name:Q4_K_M` names one by the format in its name, as llama.cpp and Ollama spell it.

import { ModelError, shown } from "../../engine/model/json.ts";

/** Whether a file of a repository may be a model in the GGUF format. */
export const isGgufName = (name: string): boolean =>
  /^[A-Za-z0-9][\w.+-]{0,180}\.gguf$/.test(name) && !name.includes("..") && !/^mmproj/i.test(name);

/** A model in one file, or in those that it was split into. */
export interface GgufModelFiles {
  /** The format in its name, for example "Q4_K_M"; the name where there is none. */
  readonly tag: string;
  /** All of them, the first one first. */
  readonly files: readonly string[];
}

/** Formats that people take first where nothing is said. */
const preferred = ["Q4_K_M", "Q4_K_S", "Q4_0", "Q4_1", "Q5_K_M", "Q6_K", "Q8_0", "F16", "BF16"];

const part = /-(\d{5})-of-(\d{5})\.gguf$/;
const format = /(?:^|[-._])((?:I?Q\d\w*|MXFP4\w*|F16|BF16|F32))(?:-\d{5}-of-\d{5})?\.gguf$/i;

/** The models among names of files; of split ones only those that are whole. */
export function ggufModels(names: readonly string[]): GgufModelFiles[] {
  const all = new Set(names.filter(isGgufName));
  return [...all].sort().flatMap((name) => {
    const [, number, count] = part.exec(name) ?? [];
    if (number !== undefined && number !== "00001") return [];
    const files = count === undefined
      ? [name]
      : Array.from({ length: Number(count) }, (_, i) =>
        name.replace(part, `-${String(i + 1).padStart(5, "0")}-of-${count}.gguf`));
    if (!files.every((file) => all.has(file))) return [];
    return [{ tag: (format.exec(name)?.[1] ?? name.replace(/\.gguf$/, "")).toUpperCase(), files }];
  });
}

/**
 * The model that `tag` (a format, or a file's name) names, or the one to take where nothing is said; null where there is
 * none among the files.
 */
export function chooseGguf(names: readonly string[], tag: string | undefined): GgufModelFiles | null {
  const models = ggufModels(names);
  if (tag !== undefined) {
    const wanted = tag.toUpperCase();
    return models.find(({ files }) => files.includes(tag)) ?? models.find((model) => model.tag === wanted) ??
      null;
  }
  return preferred.flatMap((tag) => models.filter((model) => model.tag === tag))[0] ??
    (models.length === 1 ? models[0]! : null);
}

/** Why no file was chosen. */
export function noGguf(where: string, names: readonly string[], tag: string | undefined): ModelError {
  const tags = [...new Set(ggufModels(names).map((model) => model.tag))];
  if (tags.length === 0) return new ModelError(`${where} has no GGUF file`);
  const list = tags.slice(0, 20).join(", ");
  return new ModelError(
    tag === undefined
      ? `${where} has several GGUF files: say which, for example with :${tags[0]} (there are ${list})`
      : `${where} has no GGUF file ${shown(tag)}; there are ${list}`,
  );
}
