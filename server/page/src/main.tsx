// The page at `/`: a chat, and the engine at work. Conversations stay in the browser; the page speaks only to the
// server that it came from.

import { options, render } from "preact";
import { Composer } from "./composer.tsx";
import { Dialog } from "./dialog.tsx";
import { keysOpen, listOpen, settingsOpen } from "./dialogs.ts";
import { Engine } from "./engine.tsx";
import { Keys, listenForKeys } from "./keys.tsx";
import { Messages } from "./messages.tsx";
import { Settings } from "./settings.tsx";
import { Sidebar } from "./sidebar.tsx";
import { begin, notice, server, show, view } from "./state.ts";
import { nextTheme, theme } from "./theme.ts";

function Page() {
  const facts = server.value;
  return (
    <>
      <header class="top">
        <button
          type="button"
          class="quiet menu"
          aria-label="Conversations"
          onClick={() => listOpen.value = true}
        >
          ☰
        </button>
        <h1>radish</h1>
        <nav aria-label="Views">
          {(["chat", "engine"] as const).map((each) => (
            <button
              key={each}
              type="button"
              class="tab"
              aria-pressed={view.value === each}
              onClick={() => show(each)}
            >
              {each === "chat" ? "Chat" : "Engine"}
            </button>
          ))}
        </nav>
        <p class="soft about" role="status">
          {facts === null
            ? "connecting …"
            : typeof facts === "string"
            ? facts
            : `${facts.name} · ${facts.device} · context ${facts.contextLength.toLocaleString("en")} tokens`}
        </p>
        <button
          type="button"
          class="quiet"
          onClick={nextTheme}
          aria-label={`Theme: ${theme.value}`}
          title={`Theme: ${theme.value}`}
        >
          {theme.value === "system" ? "◐" : theme.value === "light" ? "☀" : "☾"}
        </button>
        <button
          type="button"
          class="quiet"
          aria-label="Keyboard shortcuts"
          onClick={() => keysOpen.value = true}
        >
          ?
        </button>
      </header>
      {notice.value !== "" && (
        <p class="notice" role="alert">
          {notice.value}
          <button type="button" class="quiet" aria-label="Dismiss" onClick={() => notice.value = ""}>
            ×
          </button>
        </p>
      )}
      {view.value === "engine"
        ? (
          <main class="engine">
            <Engine />
          </main>
        )
        : (
          <div class="chat">
            <aside aria-label="Conversations">
              <Sidebar />
            </aside>
            <main>
              <Messages />
              <Composer />
            </main>
          </div>
        )}
      <Dialog open={settingsOpen} name="Settings" kind="sheet">
        <Settings />
      </Dialog>
      <Dialog open={listOpen} name="Conversations" kind="sheet">
        <Sidebar />
      </Dialog>
      <Dialog open={keysOpen} name="Keyboard shortcuts" kind="box">
        <Keys />
      </Dialog>
    </>
  );
}

// A frame is drawn once, however many tokens have come since the last.
options.debounceRendering = requestAnimationFrame;
listenForKeys();
void begin();
const root = document.getElementById("app")!;
root.replaceChildren();
render(<Page />, root);
