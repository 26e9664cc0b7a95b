// Whether a chat template works at all, found out when the model is loaded and not by its first conversation.

/** What is asked of a template. */
interface Template {
  render(messages: readonly { readonly role: string; readonly content: string }[]): unknown;
}

/** Why not even the shortest conversation can be rendered; null if it can, or if there is no template. */
export function templateProblem(template: Template | null): string | null {
  try {
    template?.render([{ role: "user", content: "Hello" }]);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
