// Schemas with instances, as MaskBench has them: files of { schema, tests: [{ valid, data }] }. Numbers of instances
// keep their text: 12345.0 is no integer as written, and JavaScript would not tell.

/** One schema and its instances. */
export interface Case {
  readonly name: string;
  readonly schema: unknown;
  readonly tests: readonly { readonly valid: boolean; readonly text: string }[];
}

class NumberText {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** File names of a corpus, every `every`-th in the order of their names. */
export function corpusFiles(folder: string, every: number): string[] {
  return [...Deno.readDirSync(folder)].map((file) => file.name).filter((name) => name.endsWith(".json"))
    .sort()
    .filter((_, i) => i % every === 0);
}

/** Reads one file. Instances are written as Python's json.dumps does. */
export function readCase(folder: string, name: string): Case {
  const text = Deno.readTextFileSync(`${folder}/${name}`);
  const { schema } = JSON.parse(text);
  // The third argument, with the source of a number, is newer than the types.
  const reviver = (_: string, value: unknown, context?: { source?: string }): unknown =>
    typeof value === "number" ? new NumberText(context?.source ?? String(value)) : value;
  const { tests } = JSON.parse(text, reviver as (key: string, value: unknown) => unknown) as {
    tests: { valid: boolean; data: unknown }[];
  };
  return { name, schema, tests: tests.map(({ valid, data }) => ({ valid, text: write(data) })) };
}

function write(value: unknown): string {
  if (value instanceof NumberText) return value.text;
  if (Array.isArray(value)) return `[${value.map(write).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    return `{${
      Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)}: ${write(inner)}`).join(", ")
    }}`;
  }
  return JSON.stringify(value);
}
