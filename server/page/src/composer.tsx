// Where a message is written: Enter sends, Shift+Enter breaks the line, dropped or chosen text files come along.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Attachment } from "./conversation.ts";
import { current, notice, running, send, stop } from "./state.ts";
import { settingsOpen } from "./dialogs.ts";

/** Bytes of a file that is worth trying; whether it fits the context the server says. */
const largestFile = 2 ** 20;

/** The form below the conversation. */
export function Composer() {
  const text = useSignal("");
  const files = useSignal<readonly Attachment[]>([]);
  const box = useRef<HTMLTextAreaElement>(null);
  const busy = running.value !== null;

  const add = async (dropped: Iterable<File>) => {
    for (const file of dropped) {
      const read = file.size > largestFile ? null : await textOf(file);
      if (read === null) notice.value = `${file.name} is not a text file of at most 1 MiB`;
      else files.value = [...files.value, { name: file.name, text: read }];
    }
  };
  useEffect(() => {
    const over = (event: DragEvent) => event.preventDefault();
    const drop = (event: DragEvent) => {
      event.preventDefault();
      void add(event.dataTransfer?.files ?? []);
    };
    document.addEventListener("dragover", over);
    document.addEventListener("drop", drop);
    return () => {
      document.removeEventListener("dragover", over);
      document.removeEventListener("drop", drop);
    };
  }, []);
  useEffect(() => box.current?.focus(), [current.value.id]);

  const submit = () => {
    const content = text.value.trim();
    if (busy || (content === "" && files.value.length === 0)) return;
    void send(content, files.value);
    text.value = "";
    files.value = [];
    box.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    }
    if (event.key === "ArrowUp" && text.value === "" && !busy) {
      const last = [...document.querySelectorAll(".turn.user")].at(-1)?.querySelector<HTMLElement>(".edit");
      if (!last) return;
      event.preventDefault();
      last.click();
    }
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <div class="column">
        {files.value.length > 0 && (
          <ul class="files">
            {files.value.map((file) => (
              <li>
                {file.name}
                <button
                  type="button"
                  class="quiet"
                  aria-label={`Leave ${file.name} out`}
                  onClick={() => files.value = files.value.filter((each) => each !== file)}
                >
                  ×
                </button>
              </li>
            ))}
          </ul>
        )}
        <textarea
          ref={box}
          rows={Math.min(10, Math.max(1, text.value.split("\n").length))}
          aria-label="Message"
          placeholder="Message"
          value={text.value}
          onInput={({ currentTarget }) => text.value = currentTarget.value}
          onKeyDown={onKeyDown}
        />
        <div class="row">
          <label class="button quiet">
            <input
              type="file"
              multiple
              class="unseen"
              onChange={({ currentTarget }) => {
                void add([...currentTarget.files ?? []]);
                currentTarget.value = "";
              }}
            />
            <span class="icon" aria-hidden="true">+</span>
            <span class="word">Add file</span>
          </label>
          <button type="button" class="quiet" onClick={() => settingsOpen.value = true}>
            <span class="icon" aria-hidden="true">⚙</span>
            <span class="word">Settings</span>
          </button>
          {busy ? <button type="button" class="main" onClick={stop}>Stop</button> : (
            <button
              type="submit"
              class="main"
              disabled={text.value.trim() === "" && files.value.length === 0}
            >
              Send
            </button>
          )}
        </div>
      </div>
    </form>
  );
}

/** A file's text; null if it is not text. */
async function textOf(file: File): Promise<string | null> {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    return text.includes("\0") ? null : text;
  } catch {
    return null;
  }
}
