// Conversations in the browser's own database: they survive a reload and a restart of the server, and never leave the
// machine.

import { type IDBPDatabase, openDB } from "idb";
import type { Conversation } from "./conversation.ts";

/** Where conversations are kept. */
export interface Store {
  /** The newest first. */
  all(): Promise<Conversation[]>;
  save(conversation: Conversation): Promise<void>;
  remove(id: string): Promise<void>;
}

/** Opens the database; where the browser forbids it (private windows), conversations last as long as the page. */
export async function openStore(): Promise<Store> {
  let database: IDBPDatabase;
  try {
    database = await openDB("radish", 1, {
      upgrade(fresh) {
        fresh.createObjectStore("conversations", { keyPath: "id" });
      },
    });
  } catch {
    return { all: () => Promise.resolve([]), save: () => Promise.resolve(), remove: () => Promise.resolve() };
  }
  return {
    async all() {
      const all: Conversation[] = await database.getAll("conversations");
      return all.sort((a, b) => b.updated - a.updated);
    },
    async save(conversation) {
      await database.put("conversations", conversation);
    },
    remove: (id) => database.delete("conversations", id),
  };
}
