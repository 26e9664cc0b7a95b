// A modal dialog of the browser, opened and closed by a signal: focus stays in it, Escape closes it.

import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** `name` is its title. */
export function Dialog(
  { open, name, kind, children }: {
    readonly open: Signal<boolean>;
    readonly name: string;
    readonly kind: "sheet" | "box";
    readonly children: ComponentChildren;
  },
) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = element.current!;
    if (open.value && !dialog.open) dialog.showModal();
    if (!open.value && dialog.open) dialog.close();
  }, [open.value]);
  return (
    <dialog
      ref={element}
      class={kind}
      aria-label={name}
      onClose={() => open.value = false}
      onClick={(event) => {
        if (event.target === element.current) open.value = false;
      }}
    >
      <div class="inside">
        <header class="row">
          <h2>{name}</h2>
          <button
            type="button"
            class="quiet"
            aria-label={`Close ${name.toLowerCase()}`}
            onClick={() => open.value = false}
          >
            ×
          </button>
        </header>
        {open.value && children}
      </div>
    </dialog>
  );
}
