// Light, dark, or as the system says; remembered.

import { effect, signal } from "@preact/signals";

const themes = ["system", "light", "dark"] as const;
type Theme = typeof themes[number];

/** What the user has chosen. */
export const theme = signal<Theme>(themes.find((each) => each === recall()) ?? "system");

effect(() => {
  document.documentElement.dataset["theme"] = theme.value;
  try {
    localStorage.setItem("theme", theme.value);
  } catch {
    // Not remembered, where the browser forbids it.
  }
});

/** The next one. */
export function nextTheme(): void {
  theme.value = themes[(themes.indexOf(theme.value) + 1) % themes.length]!;
}

function recall(): string | null {
  try {
    return localStorage.getItem("theme");
  } catch {
    return null;
  }
}
