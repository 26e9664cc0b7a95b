// Writes llama.cpp's ids of the difficult texts with SmolLM2's vocabulary: llama_ids.json.
//
// usage: deno run -A llama_ids.ts FILE.gguf

const specifier: string = "npm:node-llama-cpp@3.22.1";
const { getLlama } = await import(specifier);
const llama = await getLlama({ gpu: false, build: "never" });
const model = await llama.loadModel({ modelPath: Deno.args[0], vocabOnly: true });
const source = await Deno.readTextFile(new URL("../../data/tokenizers/texts.json", import.meta.url));
const texts: readonly string[] = JSON.parse(source);
const lines = texts.map((text) => JSON.stringify(model.tokenize(text, true)));
await Deno.writeTextFile(new URL("llama_ids.json", import.meta.url), `[\n${lines.join(",\n")}\n]\n`);
Deno.exit(0);
