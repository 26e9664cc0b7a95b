// The list of conversations: search, rename, delete, export and import.

import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { Conversation } from "./conversation.ts";
import { saveFile } from "./clipboard.ts";
import { listOpen } from "./dialogs.ts";
import { changed, conversations, current, importFile, open, remove, startConversation } from "./state.ts";

/** The list. */
export function Sidebar() {
  const query = useSignal("");
  const words = query.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
  const found = conversations.value.filter((conversation) => matches(conversation, words));
  const picker = useRef<HTMLInputElement>(null);
  return (
    <div class="sidebar">
      <button
        type="button"
        class="main"
        onClick={() => {
          startConversation();
          listOpen.value = false;
        }}
      >
        New conversation
      </button>
      <input
        type="search"
        class="search"
        aria-label="Search conversations"
        placeholder="Search"
        value={query.value}
        onInput={({ currentTarget }) => query.value = currentTarget.value}
      />
      <ul class="list" aria-label="Conversations">
        {found.map((conversation) => (
          <Entry key={conversation.id} conversation={conversation} title={conversation.title || "untitled"} />
        ))}
        {found.length === 0 && (
          <li class="soft">{words.length > 0 ? "nothing found" : "no conversation yet"}</li>
        )}
      </ul>
      <div class="row">
        <button
          type="button"
          class="quiet"
          disabled={conversations.value.length === 0}
          onClick={() => saveFile("radish-conversations.json", exported(conversations.value))}
        >
          Export all
        </button>
        <button type="button" class="quiet" onClick={() => picker.current?.click()}>Import</button>
        <input
          ref={picker}
          type="file"
          class="unseen"
          tabIndex={-1}
          aria-label="File to import"
          accept="application/json"
          onChange={({ currentTarget }) => {
            const file = currentTarget.files?.[0];
            if (file) void importFile(file);
            currentTarget.value = "";
          }}
        />
      </div>
    </div>
  );
}

/** The title is a property of its own: the conversation is changed in place. */
function Entry({ conversation, title }: { readonly conversation: Conversation; readonly title: string }) {
  const renaming = useSignal<string | null>(null);
  const shown = current.value.id === conversation.id;
  const rename = () => {
    if (renaming.value?.trim()) {
      conversation.title = renaming.value.trim();
      void changed(conversation);
    }
    renaming.value = null;
  };
  if (renaming.value !== null) {
    return (
      <li>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            rename();
          }}
        >
          <input
            aria-label="New name"
            ref={(input) => input?.focus()}
            value={renaming.value}
            onInput={({ currentTarget }) => renaming.value = currentTarget.value}
            onBlur={rename}
            onKeyDown={({ key }) => {
              if (key === "Escape") renaming.value = null;
            }}
          />
        </form>
      </li>
    );
  }
  return (
    <li class={shown ? "shown" : undefined}>
      <button
        type="button"
        class="title"
        aria-current={shown ? "true" : undefined}
        onClick={() => {
          open(conversation);
          listOpen.value = false;
        }}
      >
        {title}
      </button>
      <span class="tools">
        <button
          type="button"
          class="quiet"
          aria-label={`Rename ${title}`}
          title="Rename"
          onClick={() => renaming.value = title}
        >
          ✎
        </button>
        <button
          type="button"
          class="quiet"
          aria-label={`Export ${title}`}
          title="Export"
          onClick={() => saveFile(`${title.replace(/[^\p{L}\p{N}]+/gu, "-")}.json`, exported([conversation]))}
        >
          ↓
        </button>
        <button
          type="button"
          class="quiet"
          aria-label={`Delete ${title}`}
          title="Delete"
          onClick={() => {
            if (confirm(`Delete “${title}”? This cannot be undone.`)) void remove(conversation);
          }}
        >
          ×
        </button>
      </span>
    </li>
  );
}

function exported(list: readonly Conversation[]): string {
  return JSON.stringify({ conversations: list }, null, 2) + "\n";
}

/** Whether every word stands in the title or a message. */
function matches({ title, messages }: Conversation, words: readonly string[]): boolean {
  const has = (text: string, word: string) => text.toLowerCase().includes(word);
  return words.every((word) => has(title, word) || messages.some(({ content }) => has(content, word)));
}
