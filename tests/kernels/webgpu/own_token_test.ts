// Decode attention that also normalises, rotates and stores its own token, kernel against kernels: `ropeStore` and
// then attention without. Both start from the same pages, in which every slot that holds no key is NaN, the one that
// is about to be written among them.

import { gpuTest } from "../../gpu.ts";
import assert from "node:assert/strict";
import type { HeadLayout, StateSpec } from "../../../kernels/ops.ts";
import type { KvDType } from "../../../kernels/kv_format.ts";
import { attend } from "../../../kernels/reference/attention.ts";
import { decode, encode } from "../numbers.ts";
import { decodeAttention } from "../../../kernels/webgpu/attention/decode.ts";
import { mergeSplits } from "../../../kernels/webgpu/attention/merge.ts";
import type { DecodeLayout } from "../../../kernels/webgpu/attention/tuning.ts";
import { type HeadNorms, partialWords } from "../../../kernels/webgpu/attention/shape.ts";
import { BufferAllocator } from "../../../kernels/webgpu/device/buffers.ts";
import { GpuDevice } from "../../../kernels/webgpu/device/device.ts";
import type { DeviceCaps } from "../../../kernels/webgpu/shader/kernel.ts";
import { PipelineCache } from "../../../kernels/webgpu/device/pipelines.ts";
import { packPlan } from "../../../kernels/webgpu/plan/pack.ts";
import { Readback } from "../../../kernels/webgpu/device/readback.ts";
import { prepare, type Prepared, Recorder } from "../../../kernels/webgpu/record/recorder.ts";
import { ropeStore } from "../../../kernels/webgpu/attention/rope_store.ts";
import { DeviceState } from "../../../kernels/webgpu/state/state.ts";
import { Random, relativeError } from "../../random.ts";
import { plan, scatteredPages, smallState } from "../plans.ts";

interface Case {
  readonly heads: HeadLayout;
  readonly kvDType: KvDType;
  readonly pageSize: number;
  readonly window: number | null;
  readonly norms: HeadNorms;
  /** Of the queries, one sequence each. */
  readonly positions: readonly number[];
  readonly splitKeys: number;
  readonly layout: DecodeLayout;
}

/** Bits of float16, or integers with a scale for each slot's key and value. */
interface Pages {
  readonly keys: Uint16Array | Int8Array;
  readonly values: Uint16Array | Int8Array;
  readonly scales: Float32Array;
}

interface Outcome extends Pages {
  readonly result: Float32Array;
}

/** A key (`which` 0) or a value (1) whose first element is `at`. */
function vectorAt(pages: Pages, which: 0 | 1, at: number, headDim: number): Float64Array {
  const numbers = (which === 0 ? pages.keys : pages.values).slice(at, at + headDim);
  if (numbers instanceof Uint16Array) return decode(new Uint8Array(numbers.buffer), "f16", headDim);
  return Float64Array.from(numbers, (v) => v / 127 * pages.scales[2 * at / headDim + which]!);
}

const contextLength = 256;
const nan = 0x7e00;

/** What a case's kernels see. */
function contents({ heads, kvDType, pageSize, positions }: Case) {
  const random = new Random(heads.headDim + positions.length);
  const { numHeads, numKvHeads, headDim } = heads;
  const pagesPerRow = contextLength / pageSize, numPages = positions.length * pagesPerRow;
  const rows = positions.map((_, row) => row);
  const pages = scatteredPages(rows, pagesPerRow, numPages);
  const table = new Uint32Array((positions.length + 1) * pagesPerRow);
  for (const [row, index, page] of pages) table[row * pagesPerRow + index] = page;
  /** First element of a key or value. */
  const slot = (row: number, position: number, kvHead: number) => {
    const page = table[row * pagesPerRow + Math.floor(position / pageSize)]!;
    return ((page * numKvHeads + kvHead) * pageSize + position % pageSize) * headDim;
  };
  const elements = (numPages + 1) * pageSize * numKvHeads * headDim;
  const int8 = kvDType === "int8";
  const scales = new Float32Array(int8 ? 2 * elements / headDim : 0).fill(NaN);
  const [keys, values] = [0, 1].map((which) => {
    const cache = int8 ? new Int8Array(elements) : new Uint16Array(elements).fill(nan);
    for (const row of rows) {
      for (let position = 0; position < positions[row]!; position++) {
        for (let h = 0; h < numKvHeads; h++) {
          const numbers = random.normals(headDim, 1.5), at = slot(row, position, h);
          if (int8) {
            const largest = scales[2 * at / headDim + which] = Math.max(...numbers.map(Math.abs));
            cache.set(numbers.map((v) => Math.round(v / largest * 127)), at);
          } else {
            const bytes = encode(numbers, "f16", headDim);
            cache.set(new Uint16Array(bytes.buffer, bytes.byteOffset, headDim), at);
          }
        }
      }
    }
    return cache;
  });
  const angles = Array.from(
    { length: contextLength * headDim / 2 },
    (_, i) => Math.floor(i / (headDim / 2)) / 30 ** (i % (headDim / 2) / (headDim / 2)),
  );
  return {
    numPages,
    table,
    slot,
    keys: keys!,
    values: values!,
    scales,
    qkv: random.normals(positions.length * (numHeads + 2 * numKvHeads) * headDim, 1.5),
    cosine: Float32Array.from(angles, Math.cos),
    sine: Float32Array.from(angles, Math.sin),
    qNorm: random.normals(headDim, 0.3).map((v) => v + 1),
    kNorm: random.normals(headDim, 0.3).map((v) => v + 1),
  };
}

/** A device, and what has been compiled on it. */
interface Bench {
  readonly gpu: GpuDevice;
  readonly readback: Readback;
  readonly allocator: BufferAllocator;
  readonly pipelines: PipelineCache;
}

/** The case through one kernel or through two. */
async function run(
  { gpu, readback, allocator, pipelines }: Bench,
  { heads, kvDType, pageSize, window, norms, positions, splitKeys, layout }: Case,
  content: ReturnType<typeof contents>,
  together: boolean,
): Promise<Outcome> {
  const queries = positions.length, { numHeads, headDim } = heads;
  const spec: StateSpec = {
    ...smallState,
    heads,
    kvDType,
    pageSize,
    numPages: content.numPages,
    contextLength,
    maxRows: queries,
    maxTokens: queries,
  };
  const state = new DeviceState(spec, allocator);
  const filled = (label: string, data: Float32Array) => {
    const buffer = allocator.create(label, data.byteLength);
    allocator.write(buffer, 0, data);
    return buffer;
  };
  allocator.write(state.pageTable, 0, content.table);
  allocator.write(state.keys[0]!, 0, new Uint8Array(content.keys.buffer));
  allocator.write(state.values[0]!, 0, new Uint8Array(content.values.buffer));
  const scales = state.scales[0] ?? null;
  if (scales !== null) allocator.write(scales, 0, content.scales);
  const splits = Math.ceil(
    Math.max(...positions.map((p) => Math.min(p + 1, window ?? Infinity))) / splitKeys,
  );
  const packed = packPlan(
    plan(1, positions.map((cached, row) => ({ row, cached, extend: 1, sample: false }))),
    {
      state: spec,
      alignWords: Math.max(64, gpu.offsetAlignment / 4),
      maxGroup: 1,
      tileTokens: 1,
      decodeTokens: 1,
      cut: () => ({ splitKeys, splits, ...layout }),
    },
  );
  const { offset, decodeOnly } = packed.forwards[0]!;
  assert.ok(decodeOnly);
  const planBuffer = allocator.create("plan", packed.words.byteLength + packed.regionBytes);
  allocator.write(planBuffer, 0, packed.words);
  const buffers = {
    qkv: filled("qkv", content.qkv),
    cosine: filled("cosine", content.cosine),
    sine: filled("sine", content.sine),
    qNorm: filled("qNorm", content.qNorm),
    kNorm: filled("kNorm", content.kNorm),
    pageTable: state.pageTable,
    keys: state.keys[0]!,
    values: state.values[0]!,
    scales,
    partials: filled(
      "partials",
      new Float32Array(queries * numHeads * splits * partialWords(headDim)).fill(NaN),
    ),
    output: filled("output", new Float32Array(queries * numHeads * headDim).fill(NaN)),
  };
  const { cache } = state;
  const shape = { heads, cache, scale: headDim ** -0.5, window, qkv: "f32", output: "f32" } as const;
  const dispatches: Prepared[] = [];
  if (!together) {
    const call = ropeStore(shape, norms, queries, gpu.caps);
    dispatches.push(prepare(pipelines, call, buffers));
  }
  const attention = decodeAttention(shape, together ? norms : null, queries, splits, layout, gpu.caps);
  dispatches.push(prepare(pipelines, attention, buffers));
  if (splits > 1) dispatches.push(prepare(pipelines, mergeSplits(shape, queries, gpu.caps), buffers));
  const recorder = new Recorder(gpu, readback, pipelines.planGroup(planBuffer.gpu, packed.regionBytes));
  recorder.region(offset);
  for (const dispatch of dispatches) recorder.dispatch(dispatch);
  const read = [buffers.output, buffers.keys, buffers.values, ...(scales === null ? [] : [scales])];
  const staging = readback.acquire(read.reduce((sum, { bytes }) => sum + bytes, 0));
  let at = 0;
  for (const { gpu, bytes } of read) {
    recorder.copy(gpu, 0, staging.buffer, at, bytes);
    at += bytes;
  }
  gpu.queue.submit(recorder.finish().map(({ commands }) => commands));
  const data = await readback.read(staging, at);
  gpu.check();
  const { output, keys, values } = buffers;
  const Numbers = scales === null ? Uint16Array : Int8Array;
  return {
    result: new Float32Array(data, 0, queries * numHeads * headDim),
    keys: new Numbers(data, output.bytes, content.keys.length),
    values: new Numbers(data, output.bytes + keys.bytes, content.values.length),
    scales: new Float32Array(data, output.bytes + keys.bytes + values.bytes, content.scales.length),
  };
}

/** Attention in float64 over pages that hold the own key and value; the query goes through `rotated`. */
function expected(one: Case, content: ReturnType<typeof contents>, pages: Outcome): Float64Array {
  const { heads: { numHeads, numKvHeads, headDim }, positions, window, norms } = one;
  const output = new Float64Array(positions.length * numHeads * headDim);
  const half = headDim / 2;
  positions.forEach((position, row) => {
    for (let h = 0; h < numHeads; h++) {
      const from = (row * (numHeads + 2 * numKvHeads) + h) * headDim;
      let q = Float64Array.from(content.qkv.subarray(from, from + headDim));
      if (norms.qNorm !== null) {
        const scale = 1 / Math.sqrt(q.reduce((sum, v) => sum + v * v, 0) / headDim + norms.qNorm);
        q = q.map((v, i) => v * scale * content.qNorm[i]!);
      }
      const rotated = q.map((v, i) => {
        const at = position * half + i % half;
        const partner = i < half ? -q[i + half]! : q[i - half]!;
        return v * content.cosine[at]! + partner * content.sine[at]!;
      });
      const vector = (which: 0 | 1) => (p: number) =>
        vectorAt(pages, which, content.slot(row, p, Math.floor(h / (numHeads / numKvHeads))), headDim);
      const first = window === null ? 0 : Math.max(0, position - window + 1);
      const scale = headDim ** -0.5;
      output.set(
        attend(rotated, vector(0), vector(1), first, position, scale),
        (row * numHeads + h) * headDim,
      );
    }
  });
  return output;
}

/** Equal but for float16's last bit, or an integer's: sums over a head may be taken in another order. */
function assertSamePages(actual: Pages, wanted: Pages, before: Pages, headDim: number, title: string): void {
  for (const which of [0, 1] as const) {
    const [bits, old] = [wanted, before].map((pages) => which === 0 ? pages.keys : pages.values);
    let written = 0;
    for (let at = 0; at < bits!.length; at += headDim) {
      const a = vectorAt(actual, which, at, headDim), b = vectorAt(wanted, which, at, headDim);
      const largest = Math.max(...b.map(Math.abs));
      b.forEach((wanted, i) => {
        if (bits![at + i] !== old![at + i]) written++;
        const step = bits instanceof Int8Array ? largest / 127 : 2 ** -10 * Math.abs(wanted);
        const near = Object.is(a[i], wanted) || Math.abs(a[i]! - wanted) <= step + 1e-6;
        assert.ok(
          near,
          `${title}: element ${at + i} of ${which ? "values" : "keys"} is ${a[i]}, not ${wanted}`,
        );
      });
    }
    assert.ok(written > 0, title);
  }
}

const some = { qNorm: 1e-6, kNorm: 1e-5 }, none = { qNorm: null, kNorm: null };
const positions = [0, 1, 5, 31, 32, 33, 63, 64, 191, 200];
/** As on this adapter, and with the kernels of a real GPU. */
const kinds: [DecodeLayout, Partial<DeviceCaps>, splitKeys: number[]][] = [
  [{ threads: 32, headBlock: 8, batch: 2 }, {}, [32, 256]],
  [{ threads: 512, headBlock: 8, batch: 4 }, { software: false }, [32]],
  [{ threads: 256, headBlock: 1, batch: 8 }, { software: false }, [256]],
  [{ threads: 1024, headBlock: 2, batch: 4 }, { software: false }, [256]],
];
const layouts: [HeadLayout, pageSize: number, window: number | null, HeadNorms][] = [
  [{ numHeads: 4, numKvHeads: 2, headDim: 128 }, 16, null, some],
  [{ numHeads: 14, numKvHeads: 2, headDim: 64 }, 1, 40, none],
  [{ numHeads: 6, numKvHeads: 2, headDim: 48 }, 32, null, { ...some, qNorm: null }],
  [{ numHeads: 9, numKvHeads: 1, headDim: 80 }, 4, 1, { ...some, kNorm: null }],
  [{ numHeads: 20, numKvHeads: 1, headDim: 16 }, 64, 33, some],
  [{ numHeads: 2, numKvHeads: 1, headDim: 256 }, 16, null, none],
  [{ numHeads: 3, numKvHeads: 3, headDim: 8 }, 2, null, some],
];
const cases = [
  ...layouts.map((layout) => [...layout, "auto"] as const),
  // Enough for a software driver: several chunks, lanes past a head's end, small pages, and each kind of norm.
  ...[1, 3, 4].map((i) => [...layouts[i]!, "int8"] as const),
];
for (const [heads, pageSize, window, norms, kvDType] of cases) {
  const { numHeads, numKvHeads, headDim } = heads;
  const title =
    `attention that stores its own token equals rope, store and attention: ${numHeads}/${numKvHeads} ` +
    `heads of ${headDim}, pages of ${pageSize}, window ${window}, norms ${norms.qNorm} ${norms.kNorm}` +
    (kvDType === "auto" ? "" : `, cache in ${kvDType}`);
  gpuTest(title, async () => {
    for (const [layout, caps, splits] of kinds) {
      using gpu = await GpuDevice.open(caps);
      using allocator = new BufferAllocator(gpu);
      const readback = await Readback.create(gpu, 4096);
      const bench = { gpu, readback, allocator, pipelines: new PipelineCache(gpu) };
      for (const splitKeys of splits) {
        const one = { heads, kvDType, pageSize, window, norms, positions, splitKeys, layout };
        const content = contents(one);
        const apart = await run(bench, one, content, false);
        const together = await run(bench, one, content, true);
        const name = `${Object.values(layout)}, splits of ${splitKeys}`;
        assertSamePages(together, apart, content, headDim, name);
        const difference = relativeError(together.result, apart.result);
        assert.ok(difference < 2e-4, `${name}: ${difference} from the kernels apart`);
        const error = relativeError(together.result, expected(one, content, together));
        assert.ok(error < 1e-5, `${name}: ${error} from the reference`);
      }
    }
  });
}
