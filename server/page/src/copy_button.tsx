// A button that copies a text, and says so until it is left.

import { useState } from "preact/hooks";
import { copy } from "./clipboard.ts";

/** `name` says what is copied. */
export function CopyButton({ name, text }: { readonly name: string; readonly text: string }) {
  const [copied, setCopied] = useState(false);
  return (
    <button
      type="button"
      class="quiet"
      aria-label={name}
      onClick={async () => setCopied(await copy(text))}
      onBlur={() => setCopied(false)}
    >
      {copied ? "Copied" : "Copy"}
    </button>
  );
}
