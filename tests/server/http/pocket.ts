// The real engine with the embedded model, behind the HTTP application.

import { Engine } from "../../../engine/engine.ts";
import { defaultEngineOptions, type EngineOptions } from "../../../engine/options.ts";
import { type App, createApp } from "../../../server/http/app.ts";
import type { ServerOptions } from "../../../server/http/options.ts";

export const pocketDir = decodeURIComponent(new URL("../../../models/pocket", import.meta.url).pathname);

export interface Pocket extends AsyncDisposable {
  readonly engine: Engine;
  readonly app: App;
}

export async function startPocket(
  engineOptions: Partial<EngineOptions> = {},
  serverOptions: Partial<ServerOptions> = {},
): Promise<Pocket> {
  const engine = await Engine.start({ ...defaultEngineOptions, modelDir: pocketDir, ...engineOptions }, {
    modelId: "pocket",
  });
  const app = createApp(engine, { logFormat: "none", ...serverOptions });
  return { engine, app, [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose]() };
}
