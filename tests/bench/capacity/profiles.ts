// Profiles whose times can be reckoned by hand.

import { type Profile, stepParts } from "../../../bench/capacity/profile.ts";

/** Every part takes no time but those that are named, in milliseconds; nothing is left to chance. */
export function plainProfile(
  times: Partial<Record<typeof stepParts[number], number>>,
  { config = {}, front = {}, turn = 0 }: {
    config?: Partial<Profile["config"]>;
    front?: Partial<Profile["front"]>;
    turn?: number;
  } = {},
): Profile {
  return {
    kind: "capacity profile",
    model: "plain",
    device: "none",
    source: "made up",
    config: {
      pageSize: 16,
      numPages: 4096,
      contextLength: 4096,
      maxRunningRequests: 64,
      maxQueuedRequests: 10_000,
      maxPrefillTokens: 2048,
      maxStepTokens: 2113,
      maxStepSamples: 65,
      vocabSize: 50_000,
      cache: "radix",
      overlap: false,
      maxDecodeSteps: 1,
      targetStepMilliseconds: 0,
      prefillStepMilliseconds: 0,
      newTokenRatio: 0.3,
      ...config,
    },
    step: stepParts.map((part) => times[part] ?? 0),
    noise: [],
    noiseOf: {},
    turn,
    front: {
      latency: 0,
      promptToken: 0,
      firstDelivery: 0,
      delivery: 0,
      update: 0,
      idleArrivalNoise: {},
      busyArrivalNoise: {},
      firstDeliveryNoise: {},
      deliveryNoise: {},
      ...front,
    },
  };
}
