// Top-k, top-p and min-p as one number per row: the smallest logit that passes. No sort.
//
// Grid: a workgroup per row. A histogram over the distance from the maximum finds a bin that the limit cannot lie
// below; the logits down to it, usually a few dozen, go into a list in workgroup memory. On that list (or, where it
// overflows, on all logits) the limit is found exactly by radix selection on the bits of the float, by count for
// top-k and by probability mass for top-p. Mass is summed in integers, so the result does not depend on the order.
// After "Qrita" (arXiv 2602.01518) and FlashInfer's sorting-free samplers, in that they search for a pivot.
// Bound by three or four passes of one workgroup over its row of logits.

import { Sample } from "../plan/words.ts";
import { type DeviceCaps, kernel, read, write } from "../shader/kernel.ts";
import { laneArguments, laneMain, workgroupReduction } from "../shader/reduce.ts";
import { divideUp, float, range, wgsl, xyzw } from "../shader/wgsl.ts";
import { type LogitsShape, lowest, type SampleCall, sampleRecord } from "./draw.ts";

const bins = 2048;
const listLength = 1536;
/** The coarse histogram covers this many units of logit / temperature below the maximum. */
const coarseRange = 24;
/** Mass of the whole distribution, in integer units. */
const wholeMass = 2 ** 30;
/** Units of the weights exp((x − max) / T) of the list, for their sum. */
const listUnit = 2 ** 20;

/** limits[row] for `rows` rows; the lowest float where a row keeps everything. */
export function sampleLimits({ vocabSize, stride }: LogitsShape, rows: number, caps: DeviceCaps): SampleCall {
  const threads = caps.software ? 64 : Math.min(1024, caps.maxWorkgroupThreads);
  return kernel({
    key: `sample-limits ${vocabSize}/${stride}`,
    buffers: { logits: read("vec4<f32>"), limits: write("f32") },
    workgroups: [rows, 1, 1],
    code: () => code(vocabSize, stride, threads, caps),
  });
}

/** Loads in flight per thread: with a single workgroup per row, latency is what a pass costs. */
const unroll = (caps: DeviceCaps) => caps.software ? 1 : 4;

/** A loop over all logits of the row, four at a time; `body` sees each as x. */
function eachLogit(vocabSize: number, threads: number, loads: number, body: string): string {
  const whole = Math.floor(vocabSize / 4);
  const rest = vocabSize % 4;
  const each = (name: string, count: number) =>
    xyzw.slice(0, count).map((e) => `{ let x = ${name}.${e}; ${body} }`);
  return wgsl`for (var i = thread; i < ${whole}u; i += ${loads * threads}u) {
      ${
    range(loads).map((n) =>
      `let four${n} = logits[base + min(i + ${n * threads}u, ${Math.max(0, whole - 1)}u)];`
    )
  }
      ${range(loads).map((n) => wgsl`if (i + ${n * threads}u < ${whole}u) { ${each(`four${n}`, 4)} }`)}
    }
    ${
    rest > 0 && wgsl`if (thread == 0u) {
      let four = logits[base + ${whole}u];
      ${each("four", rest)}
    }`
  }`;
}

function code(vocabSize: number, stride: number, threads: number, caps: DeviceCaps): string {
  const each = (body: string) => eachLogit(vocabSize, threads, unroll(caps), body);
  const perThread = divideUp(bins, threads);
  // Counts a logit (or its mass) in the histogram of the bits of its key that `selectKey` looks at.
  const count = `let key = keyOf(x);
        if (x >= limit && (level == 0u || (key >> (shift + width)) == prefix)) {
          atomicAdd(&histogram[(key >> shift) & mask], select(1u, massOf(x, maximum, rate, scale), byMass));
        }`;
  return `${workgroupReduction("largest", "max", threads, caps)}
${workgroupReduction("sumFloat", "add", threads, caps)}
${workgroupReduction("sumInteger", "addU32", threads, caps)}
${sampleRecord}
var<workgroup> histogram: array<atomic<u32>, ${bins}>;
var<workgroup> list: array<f32, ${listLength}>;
var<workgroup> listed: atomic<u32>;
var<workgroup> subgroupTotals: array<u32, ${divideUp(threads, caps.minSubgroup)}>;
var<workgroup> foundBin: u32;
var<workgroup> foundAbove: u32;

// Larger floats have larger keys.
fn keyOf(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn valueOf(key: u32) -> f32 { return bitcast<f32>(select(~key, key & 0x7fffffffu, (key >> 31u) == 1u)); }

fn clearHistogram(thread: u32) {
  workgroupBarrier();
  for (var i = thread; i < ${bins}u; i += ${threads}u) { atomicStore(&histogram[i], 0u); }
  if (thread == 0u) { foundBin = ${bins}u; }
  workgroupBarrier();
}

// Going through the bins from 0 upwards (descending: from the last one downwards), the first at which the sum
// reaches the goal: foundBin (the number of bins if there is none), and the sum before it, foundAbove.
fn findBin(goal: u32, descending: bool, thread: u32, lane: u32, subgroup: u32) {
  workgroupBarrier();
  var own = 0u;
  for (var i = 0u; i < ${perThread}u; i++) {
    let at = thread * ${perThread}u + i;
    if (at < ${bins}u) { own += atomicLoad(&histogram[select(at, ${bins - 1}u - at, descending)]); }
  }
  var before = subgroupExclusiveAdd(own);
  let total = subgroupAdd(own);
  if (lane == 0u) { subgroupTotals[subgroup] = total; }
  workgroupBarrier();
  for (var i = 0u; i < subgroup; i++) { before += subgroupTotals[i]; }
  if (before < goal && before + own >= goal) {
    for (var i = 0u; i < ${perThread}u; i++) {
      let at = thread * ${perThread}u + i;
      let bin = select(at, ${bins - 1}u - at, descending);
      let count = atomicLoad(&histogram[bin]);
      if (before + count >= goal) { foundBin = bin; foundAbove = before; break; }
      before += count;
    }
  }
  workgroupBarrier();
}

// Mass of a logit, in units of 1 / ${wholeMass} of the whole: rate is log2(e) / T, scale the units over the sum.
fn massOf(x: f32, maximum: f32, rate: f32, scale: f32) -> u32 {
  return u32(exp2((x - maximum) * rate) * scale + 0.5);
}

${laneMain(threads)} {
  let row = group.x;
  let base = row * ${stride / 4}u;
  let temperature = fieldFloat(row, ${Sample.temperature}u);
  let topK = field(row, ${Sample.topK}u);
  let topP = fieldFloat(row, ${Sample.topP}u);
  let minP = fieldFloat(row, ${Sample.minP}u);
  let byCount = topK > 0u && topK < ${vocabSize}u;
  let byMass = topP < 1.0;
  if (temperature == 0.0 || !(byCount || byMass || minP > 0.0)) {
    if (thread == 0u) { limits[row] = ${lowest}; }
    return;
  }
  var greatest = ${lowest};
  ${each("greatest = max(greatest, x);")}
  let maximum = largest(greatest, ${laneArguments});
  let rate = 1.4426950408889634 / temperature;
  var limit = ${lowest};
  var scale = 0.0;
  if (byMass && !byCount) {
    var part = 0.0;
    ${each("part += exp2((x - maximum) * rate);")}
    scale = ${float(wholeMass)} / sumFloat(part, ${laneArguments});
  }
  let goalMass = max(1u, u32(topP * ${float(wholeMass)}));

  // The coarse histogram, and the list of what lies above its pivot.
  var inList = false;
  if (byCount || byMass) {
    let spread = ${float(bins / coarseRange)} / temperature;
    clearHistogram(thread);
    ${
    each(`let distance = (maximum - x) * spread;
      if (distance < ${float(bins)}) {
        atomicAdd(&histogram[u32(distance)], select(massOf(x, maximum, rate, scale), 1u, byCount));
      }`)
  }
    if (thread == 0u) { atomicStore(&listed, 0u); }
    findBin(select(goalMass, topK, byCount), false, thread, lane, subgroup);
    let pivot = foundBin;
    if (pivot < ${bins}u) {
      ${
    each(`if ((maximum - x) * spread < f32(pivot + 1u)) {
        let at = atomicAdd(&listed, 1u);
        if (at < ${listLength}u) { list[at] = x; }
      }`)
  }
      workgroupBarrier();
      inList = atomicLoad(&listed) <= ${listLength}u;
    }
  }
  let listEnd = select(0u, atomicLoad(&listed), inList);

  if (byCount) {
    let key = selectKey(false, topK, limit, inList, listEnd, maximum, rate, scale, base, thread, lane, subgroup);
    // Zero: fewer tokens are allowed at all.
    if (key != 0u) { limit = valueOf(key); }
    if (byMass) {
      // The sum over what top-k keeps.
      if (inList) {
        var units = 0u;
        for (var i = thread; i < listEnd; i += ${threads}u) {
          let x = list[i];
          if (x >= limit) { units += massOf(x, maximum, rate, ${float(listUnit)}); }
        }
        scale = ${float(wholeMass)} / (f32(sumInteger(units, ${laneArguments})) / ${float(listUnit)});
      } else {
        var part = 0.0;
        ${each("if (x >= limit) { part += exp2((x - maximum) * rate); }")}
        scale = ${float(wholeMass)} / sumFloat(part, ${laneArguments});
      }
    }
  }
  if (byMass) {
    let key = selectKey(true, goalMass, limit, inList, listEnd, maximum, rate, scale, base, thread, lane,
      subgroup);
    // Zero: rounding kept the sum below the goal, so everything passes.
    if (key != 0u) { limit = max(limit, valueOf(key)); }
  }
  if (minP > 0.0) { limit = max(limit, maximum + temperature * log(minP)); }
  if (thread == 0u) { limits[row] = limit; }
}

// The key of the value at which, going down from the largest, count or mass reaches the goal; 0 if it never does.
fn selectKey(byMass: bool, goal: u32, limit: f32, inList: bool, listEnd: u32, maximum: f32, rate: f32,
  scale: f32, base: u32, thread: u32, lane: u32, subgroup: u32) -> u32 {
  var prefix = 0u;
  var remaining = goal;
  // Eleven, eleven and ten bits of the key.
  for (var level = 0u; level < 3u; level++) {
    let shift = select(select(0u, 10u, level == 1u), 21u, level == 0u);
    let width = select(11u, 10u, level == 2u);
    let mask = (1u << width) - 1u;
    clearHistogram(thread);
    if (inList) {
      for (var i = thread; i < listEnd; i += ${threads}u) {
        let x = list[i];
        ${count}
      }
    } else {
      ${each(count)}
    }
    findBin(remaining, true, thread, lane, subgroup);
    if (foundBin == ${bins}u) { return 0u; }
    prefix = (prefix << width) | foundBin;
    remaining -= foundAbove;
  }
  return prefix;
}`;
}
