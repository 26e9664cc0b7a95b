// The tokenizer worker: renders chat templates, encodes prompts, refuses what does not fit, and passes requests on
// to the scheduler. Requests and aborts go out in the order in which they came in.
//
// Without a model directory it has no tokenizer and takes token ids only.

import { guardPort, notePort } from "../workers/death.ts";
import { answerQuestions, messageOf } from "../workers/answering.ts";
import { ModelError } from "../model/json.ts";
import type {
  FromTokenizer,
  PromptInput,
  TokenizerAnswer,
  TokenizerQuestion,
  ToScheduler,
  ToTokenizer,
} from "../messages.ts";
import type { ErrorCode } from "../params.ts";
import { TemplateError } from "./chat_template.ts";
import { lengthChecks, PromptTooLong } from "../workers/length_limit.ts";
import { templateProblem } from "../workers/template_check.ts";
import { promptProblem } from "./prompt_check.ts";
import { type EncodedPrompt, Tokenizer } from "./tokenizer.ts";

type Setup = TokenizerQuestion & { type: "init" };

/** Takes in what the main process sends, from now on. */
function serve(setup: Setup, tokenizer: Tokenizer | null): void {
  const { allowSpecialTokens, contextLength, ports: { main, scheduler } } = setup;
  const checks = lengthChecks(tokenizer, contextLength);
  const toMain = (message: FromTokenizer) => main.postMessage(message);
  const toScheduler = (message: ToScheduler) => scheduler.postMessage(message);
  notePort(scheduler);

  const encode = (input: PromptInput, check: (text: string) => void): EncodedPrompt => {
    if (tokenizer) return tokenizer.encodePrompt(input, allowSpecialTokens, check);
    if (input.type === "ids") return { ids: input.ids, rendered: null };
    throw new TemplateError(noTokenizer);
  };

  const generate = ({ input, salt, client, requests }: ToTokenizer & { type: "generate" }): void => {
    let ids: Uint32Array;
    try {
      ({ ids } = encode(input, checks.prompt));
    } catch (error) {
      const finish = { type: "error", ...problemOf(error) } as const;
      for (const { id } of requests) toMain({ type: "rejected", id, finish });
      return;
    }
    for (const { id, params } of requests) {
      const problem = promptProblem(ids, params.maxTokens, setup);
      toMain(problem ? { type: "rejected", id, finish: problem } : { type: "accepted", id, promptIds: ids });
      if (problem === null) toScheduler({ type: "request", id, ids, params, salt, client });
    }
  };

  guardPort(main).onmessage = ({ data: message }: MessageEvent<ToTokenizer>) => {
    switch (message.type) {
      case "generate":
        return generate(message);
      case "abort":
      case "probe":
        return toScheduler(message);
      case "encode":
        try {
          const { ids, rendered } = encode(message.input, checks.counted);
          return toMain({ type: "encoded", call: message.call, ids, rendered });
        } catch (error) {
          return toMain({ type: "failed", call: message.call, ...problemOf(error) });
        }
      case "decode": {
        const { call, ids, skipSpecialTokens } = message;
        const text = tokenizer?.decode(ids, skipSpecialTokens);
        return toMain(
          text === undefined
            ? { type: "failed", call, code: "invalid", message: noTokenizer }
            : { type: "decoded", call, text },
        );
      }
      default:
        return message satisfies never;
    }
  };
}

function problemOf(error: unknown): { code: ErrorCode; message: string } {
  const message = messageOf(error);
  if (error instanceof PromptTooLong) return { code: "too_long", message };
  return { code: error instanceof TemplateError ? "invalid" : "internal", message };
}

const noTokenizer = "there is no tokenizer: only token ids are taken";

answerQuestions<TokenizerQuestion, TokenizerAnswer>({
  async init(setup) {
    const tokenizer = setup.modelDir === null ? null : await Tokenizer.load(setup.modelDir).catch(explain);
    serve(setup, tokenizer);
    const { vocabulary, bosId = null, chatTemplate = null } = tokenizer ?? {};
    return {
      type: "ready",
      ready: {
        hasTokenizer: tokenizer !== null,
        vocabSize: vocabulary?.size ?? 0,
        bosId,
        chatTemplate: chatTemplate?.source ?? null,
        templateProblem: templateProblem(chatTemplate),
        longestToken: vocabulary?.longestToken ?? 0,
      },
    };
  },
});

/** What is no fault of the model's files needs to be told whose it is. */
function explain(error: unknown): never {
  throw error instanceof ModelError ? error : new Error(`tokenizer: ${messageOf(error)}`, { cause: error });
}
