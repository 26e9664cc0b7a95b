// The messages of the shown path: questions as they were typed, answers as markdown, and what can be done with each.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type Conversation, type Message, path, siblings } from "./conversation.ts";
import { CopyButton } from "./copy_button.tsx";
import { MarkdownBlocks } from "./markdown.ts";
import { Blocks } from "./render.tsx";
import { useFollow } from "./follow.ts";
import { useReach } from "./slices.ts";
import { answerCalls, choose, current, edit, growth, regenerate, revision, running, send } from "./state.ts";

const examples = ["What is 23 plus 48?", "Tell me a story about a fox named Ida.", "What can you do?"];
/** The conversation. */
export function Messages() {
  revision.value;
  const conversation = current.value;
  const shown = path(conversation);
  const scroller = useFollow(conversation.id, running.value?.message.id);
  const reaches = useReach(conversation.id, shown);
  return (
    <div class="scroller" ref={scroller} tabIndex={0} role="log" aria-label="Conversation">
      <div class="column">
        {shown.length === 0 && (
          <div class="empty">
            <p>Ask something, or try one of these:</p>
            {examples.map((text) => (
              <button key={text} type="button" onClick={() => send(text)}>{text}</button>
            ))}
          </div>
        )}
        {shown.map((message, i) => (
          reaches[i]! > 0 && (
            <Turn key={message.id} message={message} conversation={conversation} reach={reaches[i]!} />
          )
        ))}
      </div>
    </div>
  );
}

// A message is changed in place: whoever shows one reads `revision`, and `growth` while it grows, or Preact sees the same
// properties and skips it.

function Turn(
  { message, conversation, reach }: {
    readonly message: Message;
    readonly conversation: Conversation;
    /** Characters of it to be shown already. */
    readonly reach: number;
  },
) {
  revision.value;
  const [editing, setEditing] = useState(false);
  const grows = running.value?.message === message;
  if (grows) growth.value;
  const who = message.role === "user" ? "You" : message.role === "tool" ? "Tool" : "Answer";
  return (
    <article class={`turn ${message.role}${message.error ? " failed" : ""}`} aria-busy={grows}>
      <h2 class="who">{who}</h2>
      {message.reasoning !== undefined && (
        <Reasoning message={message} grows={grows && message.content === ""} />
      )}
      {editing
        ? <Editor message={message} close={() => setEditing(false)} />
        : <Body message={message} grows={grows} reach={grows ? Infinity : reach} />}
      {message.toolCalls && (
        <ToolCalls message={message} grows={grows} last={path(conversation).at(-1) === message} />
      )}
      {message.error && <p class="error" role="alert">{message.error}</p>}
      {!editing && !grows && (
        <Actions
          message={message}
          conversation={conversation}
          edit={() => setEditing(true)}
        />
      )}
    </article>
  );
}

function Body(
  { message, grows, reach }: {
    readonly message: Message;
    readonly grows: boolean;
    readonly reach: number;
  },
) {
  if (message.role !== "assistant") {
    return (
      <div class="text" dir="auto">
        {message.attachments?.map(({ name, text }) => (
          <details class="attachment">
            <summary>{name}</summary>
            <pre tabIndex={0}>{text}</pre>
          </details>
        ))}
        <p class="plain">{message.content}</p>
      </div>
    );
  }
  if (message.content === "" && (message.error || message.toolCalls)) return null;
  return (
    <div class="text">
      {message.content === ""
        ? <p class="soft">{grows ? "…" : "(empty answer)"}</p>
        : <Answer text={message.content.slice(0, reach)} grows={grows || reach < message.content.length} />}
    </div>
  );
}

function Answer({ text, grows }: { readonly text: string; readonly grows: boolean }) {
  const [blocks] = useState(() => new MarkdownBlocks());
  return <Blocks blocks={useMemo(() => blocks.update(text, !grows), [text, grows])} />;
}

function Reasoning({ message, grows }: { readonly message: Message; readonly grows: boolean }) {
  const seconds = ((message.thoughtFor ?? 0) / 1000).toFixed(1);
  return (
    <details class="reasoning">
      <summary>{grows ? `Thinking, ${seconds} s …` : `Thought for ${seconds} s`}</summary>
      <div class="plain" dir="auto">{message.reasoning}</div>
    </details>
  );
}

function ToolCalls(
  { message, grows, last }: { readonly message: Message; readonly grows: boolean; readonly last: boolean },
) {
  const [results, setResults] = useState<readonly string[]>([]);
  const calls = message.toolCalls ?? [];
  return (
    <form
      class="calls"
      onSubmit={(event) => {
        event.preventDefault();
        void answerCalls(message, results);
      }}
    >
      {calls.map((call, i) => (
        <div class="call">
          <p>
            <strong>{call.name}</strong> <code dir="ltr">{call.arguments}</code>
          </p>
          {last && !grows && (
            <label>
              Result of {call.name}
              <textarea
                rows={2}
                value={results[i] ?? ""}
                onInput={({ currentTarget: { value } }) =>
                  setResults(calls.map((_, j) => i === j ? value : results[j] ?? ""))}
              />
            </label>
          )}
        </div>
      ))}
      {last && !grows && <button type="submit">Send results</button>}
    </form>
  );
}

function Editor({ message, close }: { readonly message: Message; readonly close: () => void }) {
  const [text, setText] = useState(message.content);
  const box = useRef<HTMLTextAreaElement>(null);
  useEffect(() => box.current?.focus(), []);
  const submit = () => {
    close();
    void edit(message, text);
  };
  return (
    <form
      class="editor"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <textarea
        ref={box}
        aria-label="Edited message"
        rows={Math.min(12, text.split("\n").length + 1)}
        value={text}
        onInput={({ currentTarget }) => setText(currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") close();
          if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          submit();
        }}
      />
      <div class="row">
        <button type="submit" class="main" disabled={running.value !== null}>Send as a new branch</button>
        <button type="button" onClick={close}>Cancel</button>
      </div>
    </form>
  );
}

function Actions(
  { message, conversation, edit }: {
    readonly message: Message;
    readonly conversation: Conversation;
    readonly edit: () => void;
  },
) {
  revision.value;
  const branches = siblings(conversation, message.parent);
  const at = branches.indexOf(message);
  const busy = running.value !== null;
  return (
    <div class="actions">
      {branches.length > 1 && (
        <span class="branches">
          <button
            type="button"
            class="quiet"
            aria-label="Previous version"
            disabled={at === 0}
            onClick={() => choose(branches[at - 1]!)}
          >
            ‹
          </button>
          <span aria-label={`Version ${at + 1} of ${branches.length}`} role="img">
            {at + 1} / {branches.length}
          </span>
          <button
            type="button"
            class="quiet"
            aria-label="Next version"
            disabled={at === branches.length - 1}
            onClick={() => choose(branches[at + 1]!)}
          >
            ›
          </button>
        </span>
      )}
      <CopyButton name="Copy message" text={message.content} />
      {message.role === "user" && (
        <button type="button" class="quiet edit" onClick={edit} disabled={busy}>Edit</button>
      )}
      {message.role === "assistant" && (
        <button
          type="button"
          class="quiet"
          onClick={() => regenerate(message)}
          disabled={busy}
        >
          Again
        </button>
      )}
      <Numbers message={message} />
    </div>
  );
}

/** How fast, and how much came from the cache. */
function Numbers({ message: { stats, finish } }: { readonly message: Message }) {
  const ended = finish === undefined ? null : <span class="ended">ended by {finish}</span>;
  if (!stats) return ended;
  const rate = stats.tokensPerSecond === null ? null : `${stats.tokensPerSecond.toFixed(1)} tokens/s`;
  const tokens = (n: number) => `${n.toLocaleString("en")} tokens`;
  return (
    <>
      {ended}
      <details class="stats">
        <summary>{rate ?? `${stats.tokens} tokens`}</summary>
        <dl>
          {Object.entries({
            "first token": `${Math.round(stats.firstMilliseconds)} ms`,
            "answer": tokens(stats.tokens),
            "prompt": tokens(stats.promptTokens),
            "from the cache": tokens(stats.cachedTokens),
          }).map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      </details>
    </>
  );
}
