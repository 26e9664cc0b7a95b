// Where the reference models are: tiny random ones, one per variant of the architecture, with what transformers makes
// of them (tests/data/reference/README.md). More than half of all their bytes are not kept here:
// $RADISH_REFERENCE_MODELS says where they are, or they lie in ../shared/reference beside the checkout.

const own = new URL("../data/reference/", import.meta.url).pathname;
const places = [
  own,
  Deno.env.get("RADISH_REFERENCE_MODELS"),
  new URL("../../../shared/reference/", import.meta.url).pathname,
];

/** Names of those that are not kept here. */
const apart = [
  "gemma2",
  "gemma3",
  "gpt-oss",
  "granite",
  "llama3-rope",
  "mistral",
  "olmo2",
  "phi3",
  "smollm3",
];

/** Names of all. */
export const referenceModels: readonly string[] = [
  ...[...Deno.readDirSync(own)].filter((entry) => entry.isDirectory).map((entry) => entry.name),
  ...apart,
].sort();

/** Directory of one that is kept here. */
export const keptReference = (name: string): string => own + name;

const isThere = (directory: string) => {
  try {
    return Deno.statSync(`${directory}/config.json`).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
};

/** Directory of a model; null where it is not on this machine. */
function findReference(name: string): string | null {
  for (const place of places) {
    if (place !== undefined && isThere(`${place}/${name}`)) return `${place.replace(/\/$/, "")}/${name}`;
  }
  return null;
}

/** Registers a test of a model, which gets its directory; where it is missing, the test is ignored and says so. */
export function modelTest<Context>(
  register: (title: string, fn: (context: Context) => Promise<void>) => void,
  model: string,
  title: string,
  fn: (directory: string, context: Context) => Promise<void>,
): void {
  const directory = findReference(model);
  if (directory !== null) return register(title, (context) => fn(directory, context));
  const why = `(ignored: ${model} is neither at $RADISH_REFERENCE_MODELS nor in ../shared/reference)`;
  Deno.test({ name: `${title} ${why}`, ignore: true, fn: () => {} });
}
