// The detokenizer worker: joins the scheduler's port to the main process's through a `Detokenizer`.

import { guardPort, notePort } from "../workers/death.ts";
import { answerQuestions } from "../workers/answering.ts";
import { ModelError } from "../model/json.ts";
import type {
  DetokenizerAnswer,
  DetokenizerQuestion,
  FromDetokenizer,
  ToDetokenizer,
  ToScheduler,
} from "../messages.ts";
import { Vocabulary } from "../tokenizer/vocabulary.ts";
import { readTokenizerFiles } from "../weights/tokenizer_files.ts";
import { Detokenizer } from "./detokenizer.ts";

async function loadVocabulary(model: string): Promise<Vocabulary> {
  const { json, path } = await readTokenizerFiles(model);
  if (json === undefined) throw new ModelError(`${path}: no such file`);
  return new Vocabulary(json, path);
}

answerQuestions<DetokenizerQuestion, DetokenizerAnswer>({
  async init({ modelDir, ports: { main, scheduler } }) {
    const detokenizer = new Detokenizer(modelDir === null ? null : await loadVocabulary(modelDir));
    notePort(main);
    guardPort(scheduler).onmessage = ({ data }: MessageEvent<ToDetokenizer>) => {
      if (data.type === "probe") return main.postMessage(data satisfies FromDetokenizer);
      const { deltas, stopped } = detokenizer.receive(data);
      if (deltas.length > 0) main.postMessage({ type: "deltas", deltas } satisfies FromDetokenizer);
      for (const id of stopped) scheduler.postMessage({ type: "stopped", id } satisfies ToScheduler);
    };
    return { type: "ready" };
  },
});
