// CUDA C++ to PTX by NVRTC, NVIDIA's run-time compiler, which needs neither a GPU nor a toolkit: it is one wheel on
// PyPI. Used where the project is built, never where it runs.

/** Version of the wheel. PTX of 12.4 is version 8.4, which drivers from 550 on take. */
const wheel = "nvidia-cuda-nvrtc-cu12==12.4.127";

/** Compiles CUDA C++. */
export class Nvrtc implements Disposable {
  readonly #library: ReturnType<typeof open>;
  readonly #builtins: Deno.DynamicLibrary<Record<never, never>>;

  private constructor(folder: string) {
    // Loaded first: the compiler looks for it by name.
    this.#builtins = Deno.dlopen(`${folder}/libnvrtc-builtins.so.12.4`, {});
    this.#library = open(`${folder}/libnvrtc.so.12`);
  }

  /** Downloads the wheel into `cache`, unless it is there. */
  static async fetch(cache: string): Promise<Nvrtc> {
    const folder = `${cache}/nvidia/cuda_nvrtc/lib`;
    if (!await Deno.stat(`${folder}/libnvrtc.so.12`).then(() => true, () => false)) {
      await python("-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--dest", cache, wheel);
      for await (const { name } of Deno.readDir(cache)) {
        if (name.endsWith(".whl")) await python("-m", "zipfile", "-e", `${cache}/${name}`, cache);
      }
    }
    return new Nvrtc(folder);
  }

  /**
   * PTX of a source.
   * @throws with the compiler's messages
   */
  compile(source: string, name: string, options: readonly string[]): string {
    const { symbols } = this.#library;
    const handle = new BigUint64Array(1);
    const made = symbols.nvrtcCreateProgram(
      new Uint8Array(handle.buffer),
      text(source),
      text(name),
      0,
      null,
      null,
    );
    if (made !== 0) throw new Error(`NVRTC gave error ${made} for ${name}`);
    const program = Deno.UnsafePointer.create(handle[0]!);
    const strings = options.map(text);
    const pointers = BigUint64Array.from(strings, (s) => Deno.UnsafePointer.value(Deno.UnsafePointer.of(s)));
    const code = symbols.nvrtcCompileProgram(program, options.length, new Uint8Array(pointers.buffer));
    const read = (
      size: "nvrtcGetPTXSize" | "nvrtcGetProgramLogSize",
      get: "nvrtcGetPTX" | "nvrtcGetProgramLog",
    ) => {
      const length = new BigUint64Array(1);
      symbols[size](program, new Uint8Array(length.buffer));
      const bytes = new Uint8Array(Number(length[0]));
      symbols[get](program, bytes);
      return new TextDecoder().decode(bytes).replace(/\0+$/, "");
    };
    try {
      if (code !== 0) throw new Error(read("nvrtcGetProgramLogSize", "nvrtcGetProgramLog"));
      return read("nvrtcGetPTXSize", "nvrtcGetPTX");
    } finally {
      symbols.nvrtcDestroyProgram(new Uint8Array(handle.buffer));
    }
  }

  /** Closes the libraries. */
  [Symbol.dispose](): void {
    this.#library.close();
    this.#builtins.close();
  }
}

/** Runs Python. @throws with what it printed */
async function python(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("python3", { args }).output();
  if (success) return;
  throw new Error(`python3 ${args.slice(0, 3).join(" ")}: ${new TextDecoder().decode(stderr).trim()}`);
}

const text = (value: string) => new TextEncoder().encode(value + "\0");

function open(path: string) {
  return Deno.dlopen(path, {
    nvrtcCreateProgram: {
      parameters: ["buffer", "buffer", "buffer", "i32", "pointer", "pointer"],
      result: "i32",
    },
    nvrtcCompileProgram: { parameters: ["pointer", "i32", "buffer"], result: "i32" },
    nvrtcDestroyProgram: { parameters: ["buffer"], result: "i32" },
    nvrtcGetPTXSize: { parameters: ["pointer", "buffer"], result: "i32" },
    nvrtcGetPTX: { parameters: ["pointer", "buffer"], result: "i32" },
    nvrtcGetProgramLogSize: { parameters: ["pointer", "buffer"], result: "i32" },
    nvrtcGetProgramLog: { parameters: ["pointer", "buffer"], result: "i32" },
  });
}
