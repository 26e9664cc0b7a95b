// Which dialog is open.

import { signal } from "@preact/signals";

/** Settings of the conversation. */
export const settingsOpen = signal(false);
/** The list of keys. */
export const keysOpen = signal(false);
/** The list of conversations, where the window is too narrow to show it always. */
export const listOpen = signal(false);
