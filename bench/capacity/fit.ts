// Fits a profile to what a recorded server and its clients wrote down.

import { median } from "../common/statistics.ts";
import type { Measurements, StepSample } from "./calibrate.ts";
import { fitNonNegative, type Observation } from "./least_squares.ts";
import {
  activityLevel,
  idleMilliseconds,
  noiseClasses,
  type Profile,
  sample,
  stepFeatures,
} from "./profile.ts";

/** Steps of a class below which its noise is that of all. */
const fewest = 12;

/** Fits everything of a profile that is measured. */
export function fitProfile(
  { steps, turns, arrivals, deliveries }: Measurements,
): Pick<Profile, "step" | "noise" | "noiseOf" | "turn" | "front"> {
  if (steps.length === 0) throw new Error("no steps were recorded");
  const step = fitSteps(steps);
  const ratio = (each: StepSample) => each.milliseconds / inner(featuresOf(each), step);
  const classes = Map.groupBy(
    steps.flatMap((each) => noiseClasses(each.shape, each.activity).map((name) => ({ name, each }))),
    ({ name }) => name,
  );
  const noiseOf = [...classes].filter(([, some]) => some.length >= fewest)
    .map(([name, some]) => [name, sample(some.map(({ each }) => ratio(each)))] as const);
  return {
    step,
    noise: sample(steps.map(ratio)),
    noiseOf: Object.fromEntries(noiseOf),
    turn: turns.length > 0 ? median(turns) : 0,
    front: fitFront(arrivals, deliveries),
  };
}

function fitFront(
  arrivals: Measurements["arrivals"],
  deliveries: Measurements["deliveries"],
): Profile["front"] {
  const idle = arrivals.filter(({ busy }) => !busy);
  const features = ({ prompt }: { prompt: number }) => [1, prompt];
  const arriving = fitNonNegative(
    (idle.length > 0 ? idle : arrivals).map((each) => ({
      features: features(each),
      value: each.milliseconds,
      weight: 1,
    })),
  );
  const parts = (
    { first, place }: { first: boolean; place: number },
  ) => [first ? 1 : 0, first ? 0 : 1, place];
  const delivering = fitNonNegative(
    deliveries.map((each) => ({ features: parts(each), value: each.milliseconds, weight: 1 / each.place })),
  );
  const [latency = 0, promptToken = 0] = arriving;
  const [firstDelivery = 0, delivery = 0, update = 0] = delivering;
  const late = (some: Measurements["arrivals"]) =>
    sample(some.map((each) => each.milliseconds - inner(features(each), arriving)));
  /** By a key that is a number, where there are enough. */
  const lateBy = (some: Measurements["arrivals"], key: (each: typeof some[number]) => number) =>
    Object.fromEntries(
      [...Map.groupBy(some, key)].filter(([, of]) => of.length >= fewest).map(([key, of]) =>
        [`${key}`, late(of)] as const
      ),
    );
  const deliveryNoise = (first: boolean) => {
    const some = deliveries.filter((each) => each.first === first);
    const classes = Map.groupBy(some, ({ size }) => 2 ** Math.floor(Math.log2(size)));
    const noise = (of: Measurements["deliveries"]) =>
      sample(of.map((each) => each.milliseconds - inner(parts(each), delivering)));
    return Object.fromEntries(
      [...classes].filter(([, of]) => of.length >= fewest).map(([size, of]) => [`${size}`, noise(of)]),
    );
  };
  return {
    latency,
    promptToken,
    firstDelivery,
    delivery,
    update,
    idleArrivalNoise: lateBy(idle, ({ activity }) => activityLevel(activity)),
    busyArrivalNoise: lateBy(
      arrivals.filter(({ busy }) => busy),
      ({ company }) => 2 ** Math.floor(Math.log2(company)),
    ),
    firstDeliveryNoise: deliveryNoise(true),
    deliveryNoise: deliveryNoise(false),
  };
}

function featuresOf({ shape, idle, after, arrivals }: StepSample): number[] {
  return stepFeatures(shape, { woken: idle > idleMilliseconds, after, arrivals });
}

function inner(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, each, i) => sum + each * b[i]!, 0);
}

/** Fits of {@link fitSteps}, one after the other. */
const fits = 5;

/**
 * Errors count as shares of what the fit before predicted, not of what was measured: as shares of that, a step that
 * seems short, because the result before it was seen late, counts many times as much as one that seems long, and all
 * predictions come out too short. Outliers are left out of all but the first fit and stay in the noise.
 */
function fitSteps(steps: readonly StepSample[]): number[] {
  const features = steps.map(featuresOf);
  let expected = steps.map(({ milliseconds }) => milliseconds),
    kept = steps.map(() => true),
    step: number[] = [];
  for (let fit = 0; fit < fits; fit++) {
    const observations = steps.map(({ milliseconds }, i): Observation => ({
      features: features[i]!,
      value: milliseconds,
      weight: 1 / Math.max(expected[i]!, 1e-3) ** 2,
    }));
    step = fitNonNegative(observations.filter((_, i) => kept[i]));
    expected = features.map((each) => inner(each, step));
    const ratios = steps.map(({ milliseconds }, i) => milliseconds / expected[i]!), middle = median(ratios);
    const spread = median(ratios.map((each) => Math.abs(each - middle)));
    kept = ratios.map((each) => Math.abs(each - middle) <= 6 * spread + 1e-9);
  }
  return step;
}
