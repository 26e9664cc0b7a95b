// A model with Qwen3's vocabulary and next to nothing else: one narrow layer with random weights. What it draws is
// nearly uniform over 151,936 tokens, which no real model would write: a hard test for masks.

/** Ids of Qwen3's model; its tokenizer has fewer. */
export const QWEN3_VOCABULARY = 151_936;
/** What ends a text of Qwen3's. */
export const QWEN3_ENDS: readonly number[] = [151_643, 151_645];

const config = {
  architectures: ["Qwen3ForCausalLM"],
  model_type: "qwen3",
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 16,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  max_position_embeddings: 2048,
  tie_word_embeddings: true,
  torch_dtype: "bfloat16",
  vocab_size: QWEN3_VOCABULARY,
  eos_token_id: QWEN3_ENDS,
};

/** Makes its folder with the tokenizer's files; to be started with `dummyWeights`. */
export async function dummyModel(tokenizer: string): Promise<string> {
  const folder = await Deno.makeTempDir();
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
    await Deno.copyFile(`${tokenizer}/${file}`, `${folder}/${file}`);
  }
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(config));
  return folder;
}
