// Keyboard shortcuts and their list.

import { keysOpen, listOpen, settingsOpen } from "./dialogs.ts";
import { running, show, startConversation, stop, view } from "./state.ts";

/** Keys as they are shown; `Mod` is Ctrl, or ⌘ on a Mac. */
const shortcuts: readonly (readonly [string, string])[] = [
  ["Enter", "send the message"],
  ["Shift+Enter", "break the line"],
  ["↑", "edit the last message (in an empty line)"],
  ["Escape", "stop the answer"],
  ["Mod+Shift+O", "new conversation"],
  ["Mod+K", "search conversations"],
  ["Mod+,", "settings"],
  ["Mod+Shift+E", "chat or engine"],
  ["?", "this list (outside of a text field)"],
];

const mac = /Mac|iP(?:hone|ad)/.test(navigator.userAgent);

/** The list. */
export function Keys() {
  return (
    <dl class="keys">
      {shortcuts.map(([keys, what]) => (
        <div>
          <dt>
            <kbd>{keys.replace("Mod", mac ? "⌘" : "Ctrl")}</kbd>
          </dt>
          <dd>{what}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Listens for the keys. */
export function listenForKeys(): void {
  document.addEventListener("keydown", (event) => {
    const mod = mac ? event.metaKey : event.ctrlKey;
    const key = event.key.toLowerCase();
    if (key === "escape" && running.value && document.querySelector("dialog[open]") === null) stop();
    else if (mod && event.shiftKey && key === "o") startConversation();
    else if (mod && event.shiftKey && key === "e") show(view.value === "chat" ? "engine" : "chat");
    else if (mod && key === "k") search();
    else if (mod && key === ",") settingsOpen.value = true;
    else if (key === "?" && !mod && !isField(event.target)) keysOpen.value = true;
    else return;
    event.preventDefault();
  });
}

function search(): void {
  show("chat");
  const fields = () =>
    [...document.querySelectorAll<HTMLInputElement>(".search")].find((field) => field.checkVisibility());
  if (!fields()) listOpen.value = true;
  requestAnimationFrame(() => requestAnimationFrame(() => fields()?.focus()));
}

function isField(target: EventTarget | null): boolean {
  return target instanceof HTMLTextAreaElement || target instanceof HTMLInputElement;
}
