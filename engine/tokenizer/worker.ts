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

class TokenizerWorker {
  readonly #setup: Setup;
  readonly #tokenizer: Tokenizer | null;
  readonly #checks: ReturnType<typeof lengthChecks>;

  constructor(setup: Setup, tokenizer: Tokenizer | null) {
    this.#setup = setup;
    this.#tokenizer = tokenizer;
    this.#checks = lengthChecks(tokenizer, setup.contextLength);
    notePort(setup.ports.scheduler);
    guardPort(setup.ports.main).onmessage = ({ data }: MessageEvent<ToTokenizer>) => this.#receive(data);
  }

  #receive(message: ToTokenizer): void {
    switch (message.type) {
      case "generate":
        return this.#generate(message);
      case "abort":
      case "probe":
        return this.#toScheduler(message);
      case "encode":
        try {
          const { ids, rendered } = this.#encode(message.input, this.#checks.counted);
          return this.#toMain({ type: "encoded", call: message.call, ids, rendered });
        } catch (error) {
          return this.#toMain({ type: "failed", call: message.call, ...problemOf(error) });
        }
      case "decode": {
        const { call, ids, skipSpecialTokens } = message;
        if (!this.#tokenizer) {
          return this.#toMain({ type: "failed", call, code: "invalid", message: noTokenizer });
        }
        return this.#toMain({ type: "decoded", call, text: this.#tokenizer.decode(ids, skipSpecialTokens) });
      }
      default:
        return message satisfies never;
    }
  }

  #generate({ input, salt, client, requests }: ToTokenizer & { type: "generate" }): void {
    let ids: Uint32Array;
    try {
      ({ ids } = this.#encode(input, this.#checks.prompt));
    } catch (error) {
      const finish = { type: "error", ...problemOf(error) } as const;
      for (const { id } of requests) this.#toMain({ type: "rejected", id, finish });
      return;
    }
    for (const { id, params } of requests) {
      const problem = promptProblem(ids, params.maxTokens, this.#setup);
      if (problem) {
        this.#toMain({ type: "rejected", id, finish: problem });
      } else {
        this.#toMain({ type: "accepted", id, promptIds: ids });
        this.#toScheduler({ type: "request", id, ids, params, salt, client });
      }
    }
  }

  #encode(input: PromptInput, check: (text: string) => void): EncodedPrompt {
    const { allowSpecialTokens } = this.#setup;
    if (this.#tokenizer) return this.#tokenizer.encodePrompt(input, allowSpecialTokens, check);
    if (input.type === "ids") return { ids: input.ids, rendered: null };
    throw new TemplateError(noTokenizer);
  }

  #toMain(message: FromTokenizer): void {
    this.#setup.ports.main.postMessage(message);
  }

  #toScheduler(message: ToScheduler): void {
    this.#setup.ports.scheduler.postMessage(message);
  }
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
    new TokenizerWorker(setup, tokenizer);
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
