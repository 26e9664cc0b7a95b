// Writes GGUF files for tests that need damaged ones. What is right is tested with the gguf package's writer.

/** A file in parts that a test can change before it is built. */
export class GgufBuilder {
  magic = "GGUF";
  version = 3;
  tensorCount: bigint | null = null;
  entryCount: bigint | null = null;
  entries: [key: string, value: number | string | boolean | string[] | Int32Array][] = [];
  tensors: { name: string; shape: number[]; type: number; offset: number; bytes: number }[] = [];

  set(key: string, value: number): void;
  set(key: string, value: string): void;
  set(key: string, value: number | string): void {
    this.remove(key);
    this.entries.push([key, value]);
  }

  remove(key: string): void {
    this.entries = this.entries.filter(([other]) => other !== key);
  }

  /** A float32 tensor behind the others; shape is outermost first. */
  add(name: string, shape: number[]): void {
    const last = this.tensors.at(-1);
    const offset = last ? Math.ceil((last.offset + last.bytes) / 32) * 32 : 0;
    this.tensors.push({ name, shape, type: 0, offset, bytes: 4 * shape.reduce((a, b) => a * b, 1) });
  }

  build(): Uint8Array {
    const parts: Uint8Array[] = [];
    const text = (value: string) => new TextEncoder().encode(value);
    const u32 = (value: number) => parts.push(new Uint8Array(Uint32Array.of(value).buffer));
    const u64 = (value: number | bigint) =>
      parts.push(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
    const string = (value: string) => {
      u64(text(value).length);
      parts.push(text(value));
    };
    parts.push(text(this.magic));
    u32(this.version);
    u64(this.tensorCount ?? this.tensors.length);
    u64(this.entryCount ?? this.entries.length);
    for (const [key, value] of this.entries) {
      string(key);
      if (typeof value === "string") {
        u32(8);
        string(value);
      } else if (typeof value === "boolean") {
        u32(7);
        parts.push(Uint8Array.of(value ? 1 : 0));
      } else if (typeof value === "number") {
        const whole = Number.isInteger(value);
        u32(whole ? 4 : 6);
        parts.push(new Uint8Array((whole ? Uint32Array.of(value) : Float32Array.of(value)).buffer));
      } else {
        u32(9);
        u32(value instanceof Int32Array ? 5 : 8);
        u64(value.length);
        if (value instanceof Int32Array) parts.push(new Uint8Array(value.buffer));
        else value.forEach(string);
      }
    }
    for (const { name, shape, type, offset } of this.tensors) {
      string(name);
      u32(shape.length);
      for (const length of shape.toReversed()) u64(length);
      u32(type);
      u64(offset);
    }
    const header = parts.reduce((sum, part) => sum + part.length, 0);
    const start = Math.ceil(header / 32) * 32;
    const data = Math.max(
      0,
      ...this.tensors.map(({ offset, bytes }) => offset < 1 << 20 ? offset + bytes : 0),
    );
    const file = new Uint8Array(start + data);
    let at = 0;
    for (const part of parts) {
      file.set(part, at);
      at += part.length;
    }
    return file;
  }
}

/** A Llama of one layer with a byte-level vocabulary of eight tokens. */
export function tinyGguf(): GgufBuilder {
  const file = new GgufBuilder();
  file.entries.push(
    ["general.architecture", "llama"],
    ["llama.block_count", 1],
    ["llama.context_length", 32],
    ["llama.embedding_length", 16],
    ["llama.feed_forward_length", 16],
    ["llama.attention.head_count", 1],
    ["llama.attention.layer_norm_rms_epsilon", 1.5e-5],
    ["llama.rope.freq_base", 10000],
    ["tokenizer.ggml.model", "gpt2"],
    ["tokenizer.ggml.pre", "qwen2"],
    ["tokenizer.ggml.tokens", ["a", "b", "c", "ab", "abc", "<|x|>", "<|end|>", "d"]],
    ["tokenizer.ggml.token_type", Int32Array.of(1, 1, 1, 1, 1, 3, 3, 1)],
    ["tokenizer.ggml.merges", ["a b", "ab c"]],
    ["tokenizer.ggml.eos_token_id", 6],
    ["tokenizer.ggml.add_bos_token", false],
  );
  file.add("token_embd.weight", [8, 16]);
  file.add("output_norm.weight", [16]);
  const layer = {
    attn_norm: [16],
    attn_q: [16, 16],
    attn_k: [16, 16],
    attn_v: [16, 16],
    attn_output: [16, 16],
  };
  const feedForward = { ffn_norm: [16], ffn_gate: [16, 16], ffn_up: [16, 16], ffn_down: [16, 16] };
  for (const [name, shape] of Object.entries({ ...layer, ...feedForward })) {
    file.add(`blk.0.${name}.weight`, shape);
  }
  return file;
}
