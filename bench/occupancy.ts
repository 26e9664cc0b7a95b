// How many workgroups a multiprocessor holds at once, by their threads and their workgroup memory: WebGPU does not say,
// and a driver may set aside less memory than the chip has.
//
//   deno run -A bench/occupancy.ts [--multiprocessors 132] [--bytes 8192,24576,41984,49152] [--threads 128,256]
//
// A workgroup runs one chain of dependent multiply–adds a thread, which leaves room for several others. Where k
// workgroups per multiprocessor take as long as one, k are resident; where they take twice as long, half of them are.

import { list, readOptions, whole } from "./common/arguments.ts";
import { figure, table } from "./common/table.ts";
import { BenchDevice, median } from "./gpu.ts";

const { values: options } = readOptions(import.meta.url, {
  options: {
    multiprocessors: { type: "string", default: "132" },
    bytes: { type: "string", default: "4096,12288,16384,24576,31744,32768,40960,49152" },
    threads: { type: "string", default: "128,256" },
  },
});
const multiprocessors = whole(options.multiprocessors, "multiprocessors");
const multiples = [1, 2, 3, 4, 6, 8];

const code = (threads: number, bytes: number) =>
  `var<workgroup> scratch: array<vec4<f32>, ${bytes / 16}>;
@group(0) @binding(0) var<storage, read_write> result: array<f32>;
@compute @workgroup_size(${threads}) fn main(@builtin(local_invocation_index) thread: u32) {
  // Written and read at places that the compiler does not know, so that the array is kept.
  let seed = u32(result[0]);
  for (var i = thread; i < ${bytes / 16}u; i += ${threads}u) {
    scratch[i] = vec4<f32>(f32(i ^ seed));
  }
  workgroupBarrier();
  var x = scratch[(thread * 7u + seed) % ${bytes / 16}u].x;
  let m = 0.999 + result[1];
  for (var i = 0u; i < 2000u; i++) {
${"    x = fma(x, m, 0.5);\n".repeat(16)}  }
  if (x == 1234.5) {
    result[2] = x;
  }
}`;

using bench = await BenchDevice.open();
const buffer = bench.buffer(256);
const rows: string[][] = [];
// The clock must have risen.
const warm = bench.bindRaw(code(256, 4096), [buffer], [multiprocessors * 16, 1, 1]);
for (let i = 0; i < 200; i++) bench.passTime((pass) => bench.record(pass, warm));
for (const threads of list(options.threads, (part) => whole(part, "threads"))) {
  for (const bytes of list(options.bytes, (part) => whole(part, "bytes"))) {
    const times = multiples.map((multiple) => {
      const bound = bench.bindRaw(code(threads, bytes), [buffer], [multiple * multiprocessors, 1, 1]);
      return median(Array.from({ length: 6 }, () => bench.passTime((pass) => bench.record(pass, bound))));
    });
    rows.push([`${threads}`, `${bytes}`, ...times.map((time) => figure(time))]);
  }
}
console.log(`${bench.description}: µs by workgroups per multiprocessor\n`);
console.log(table(["threads", "bytes", ...multiples.map(String)], rows));
Deno.exit(0);
