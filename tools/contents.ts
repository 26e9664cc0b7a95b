// What a release contains and what it may touch: the lists that `compile`, `package` and their tests share.
// The program's own files are found by `program_files.ts`.

import { fileURLToPath } from "node:url";
import { libraryPaths } from "../kernels/cuda/driver.ts";

/** The repository's folder. */
export const root: string = fileURLToPath(new URL("..", import.meta.url)).replace(/[/\\]$/, "");

/** A folder for what is built. */
export const dist = `${root}/dist`;

/** Where the program begins. */
export const entry = "main.ts";

/** The embedded model's files: what a loader reads. Its card and the references of the tests stay behind. */
export const modelFiles: readonly string[] = [
  "chat_template.jinja",
  "config.json",
  "generation_config.json",
  "model.safetensors",
  "tokenizer.json",
  "tokenizer_config.json",
].map((name) => `models/pocket/${name}`);

/**
 * Deno's permissions of a released program; `docs/release.md` says why each is needed. Native libraries other than
 * NVIDIA's driver, remote code and every other program than apt-get (for `doctor --fix`) are out of reach; environment variables
 * that are not named read as absent.
 */
export const permissions: readonly string[] = [
  "--no-prompt",
  "--allow-read",
  "--allow-write",
  "--allow-net",
  "--ignore-env",
  "--allow-env=RADISH_*,HF_*,HUGGINGFACE_HUB_CACHE,TRANSFORMERS_OFFLINE,MODELSCOPE_*,HOME,USERPROFILE,XDG_CACHE_HOME,XDG_STATE_HOME,LOCALAPPDATA,XDG_RUNTIME_DIR,TERM,DRI_PRIME,NODEVICE_SELECT",
  "--allow-sys=systemMemoryInfo,uid",
  "--allow-run=/usr/bin/apt-get",
  `--allow-ffi=${Object.values(libraryPaths).flat().join(",")}`,
];

/**
 * Every worker has a heap of its own, whose young generation V8 lets grow to dozens of megabytes under load: together
 * more than the embedded model and its cache. The messages that are made here live shortly; four megabytes do. The old
 * generation it lets grow to four times what lives in it where much is allocated; to half as much again does as well,
 * and keeps the process's size from following the load.
 */
export const v8Flags = "--v8-flags=--max-semi-space-size=4,--heap-growing-percent=50";

/**
 * How glibc's `malloc` shares memory out. It gives up to eight pools to every core, and what a thread frees stays in
 * the pool it came from: threads that send each other messages hold far more than they use, and fill it for an hour.
 * Two pools do. Blocks from 128 KiB go back to the system; without this, that bound grows with what is asked for.
 */
export const mallocSettings: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: "2",
  MALLOC_MMAP_THRESHOLD_: "131072",
};
