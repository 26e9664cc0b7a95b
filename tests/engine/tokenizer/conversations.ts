// Twenty conversations that between them use what chat templates look at: system messages in different places,
// thinking, tools with all kinds of parameters, calls with and without content, Unicode and markup.

import type { ChatMessage } from "../../../engine/messages.ts";

/** A conversation and what comes along with it. */
export interface Conversation {
  /** For messages of failing tests. */
  readonly name: string;
  /** Oldest first. */
  readonly messages: readonly ChatMessage[];
  /** Functions that are offered. */
  readonly tools?: readonly unknown[];
  /** Extra variables. */
  readonly args?: Readonly<Record<string, unknown>>;
}

const weather = {
  "type": "function",
  "function": {
    "name": "get_weather",
    "description": 'Weather in a city, "now" or later.',
    "parameters": {
      "type": "object",
      "properties": {
        "city": { "type": "string", "description": "Name of the city" },
        "unit": { "type": "string", "enum": ["celsius", "fahrenheit"] },
      },
      "required": ["city"],
    },
  },
};
const calculator = {
  "type": "function",
  "function": {
    "name": "calc",
    "description": "Adds <numbers> & more",
    "parameters": {
      "type": "object",
      "properties": {
        "values": { "type": "array", "items": { "type": "number" }, "description": "é 数" },
        "deep": {
          "type": "object",
          "properties": {
            "flag": { "type": "boolean" },
            "mode": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
          },
          "required": ["flag"],
        },
      },
      "required": [],
    },
  },
};
const clock = {
  "type": "function",
  "function": { "name": "now", "description": "Time", "parameters": { "type": "object", "properties": {} } },
};

/** All of them. */
export const conversations: readonly Conversation[] = [
  { name: "hello", messages: [{ "role": "user", "content": "Hello" }] },
  {
    name: "system",
    messages: [{ "role": "system", "content": "You are kind." }, { "role": "user", "content": "Hello" }],
  },
  {
    name: "turns",
    messages: [{ "role": "user", "content": "Hi" }, {
      "role": "assistant",
      "content": "Hello! How can I help?",
    }, { "role": "user", "content": "Tell me a joke." }],
  },
  {
    name: "system turns",
    messages: [
      { "role": "system", "content": "Be brief.\nVery." },
      { "role": "user", "content": "Hi" },
      { "role": "assistant", "content": "Yes?" },
      { "role": "user", "content": "One" },
      { "role": "assistant", "content": "Two" },
      { "role": "user", "content": "Three" },
    ],
  },
  {
    name: "no generation prompt",
    messages: [{ "role": "user", "content": "Hi" }, { "role": "assistant", "content": "Hello." }],
    args: { "add_generation_prompt": false },
  },
  {
    name: "spaces",
    messages: [{ "role": "system", "content": "  padded \n" }, { "role": "user", "content": "\n  Hi \n\n" }, {
      "role": "assistant",
      "content": "  ok  ",
    }, { "role": "user", "content": " more " }],
  },
  {
    name: "unicode",
    messages: [{
      "role": "user",
      "content": "Grüße, 世界 🌍 <b>&amp;</b> \"quoted\" 'single' \\n {{ x }} {% y %}",
    }],
  },
  {
    name: "empty content",
    messages: [{ "role": "user", "content": "" }, { "role": "assistant", "content": "" }, {
      "role": "user",
      "content": "again",
    }],
  },
  {
    name: "thinking",
    messages: [{ "role": "user", "content": "2+2?" }, {
      "role": "assistant",
      "content": "<think>\nadd\n</think>\n\n4",
    }, { "role": "user", "content": "and 3+3?" }],
  },
  {
    name: "reasoning field",
    messages: [{ "role": "user", "content": "2+2?" }, {
      "role": "assistant",
      "content": "4",
      "reasoning_content": "I add.",
    }, { "role": "user", "content": "3+3?" }],
  },
  { name: "tools offered", messages: [{ "role": "user", "content": "Weather in Paris?" }], tools: [weather] },
  {
    name: "tools system",
    messages: [{ "role": "system", "content": "Use tools." }, {
      "role": "user",
      "content": "Weather in Paris?",
    }],
    tools: [weather, calculator],
  },
  {
    name: "tool call and answer",
    messages: [{ "role": "user", "content": "Weather in Paris?" }, {
      "role": "assistant",
      "content": "",
      "tool_calls": [{
        "id": "abcdefghi",
        "type": "function",
        "function": { "name": "get_weather", "arguments": { "city": "Paris", "unit": "celsius" } },
      }],
    }, { "role": "tool", "content": '{"temp": 21}', "tool_call_id": "abcdefghi", "name": "get_weather" }],
    tools: [weather],
  },
  {
    name: "tool call null content",
    messages: [
      { "role": "user", "content": "Weather?" },
      {
        "role": "assistant",
        "content": null,
        "tool_calls": [{
          "id": "abcdefghi",
          "type": "function",
          "function": { "name": "get_weather", "arguments": { "city": "Paris" } },
        }],
      },
      { "role": "tool", "content": "sunny", "tool_call_id": "abcdefghi", "name": "get_weather" },
      { "role": "assistant", "content": "Sunny." },
      { "role": "user", "content": "Thanks" },
    ],
    tools: [weather],
  },
  {
    name: "two calls",
    messages: [
      { "role": "system", "content": "sys" },
      { "role": "user", "content": "Both" },
      {
        "role": "assistant",
        "content": "Calling.",
        "tool_calls": [{
          "id": "abcdefghi",
          "type": "function",
          "function": { "name": "get_weather", "arguments": { "city": 'São "Paulo"' } },
        }, {
          "id": "jklmnopqr",
          "type": "function",
          "function": {
            "name": "calc",
            "arguments": { "values": [1, 2.5, -3], "deep": { "flag": true, "mode": null } },
          },
        }],
      },
      { "role": "tool", "content": "rain", "tool_call_id": "abcdefghi", "name": "get_weather" },
      { "role": "tool", "content": "0.5", "tool_call_id": "jklmnopqr", "name": "calc" },
      { "role": "assistant", "content": "Done." },
      { "role": "user", "content": "ok" },
    ],
    tools: [weather, calculator],
  },
  {
    name: "arguments as text",
    messages: [{ "role": "user", "content": "Weather?" }, {
      "role": "assistant",
      "content": "",
      "tool_calls": [{
        "id": "abcdefghi",
        "type": "function",
        "function": { "name": "get_weather", "arguments": '{"city": "Paris"}' },
      }],
    }, { "role": "tool", "content": "sunny", "tool_call_id": "abcdefghi", "name": "get_weather" }],
    tools: [weather],
  },
  {
    name: "enable thinking off",
    messages: [{ "role": "system", "content": "s" }, { "role": "user", "content": "Hi" }],
    args: { "enable_thinking": false, "thinking": false },
  },
  {
    name: "enable thinking on",
    messages: [{ "role": "user", "content": "Hi" }, {
      "role": "assistant",
      "content": "x",
      "reasoning_content": "y",
    }, { "role": "user", "content": "z" }],
    args: { "enable_thinking": true, "thinking": true },
  },
  {
    name: "no parameters",
    messages: [
      { "role": "user", "content": "time?" },
      {
        "role": "assistant",
        "content": "",
        "tool_calls": [{
          "id": "abcdefghi",
          "type": "function",
          "function": { "name": "now", "arguments": {} },
        }],
      },
      { "role": "tool", "content": "12", "tool_call_id": "abcdefghi", "name": "now" },
      { "role": "user", "content": "and?" },
    ],
    tools: [clock],
  },
  {
    name: "system later",
    messages: [
      { "role": "user", "content": "Hi" },
      { "role": "system", "content": "Now be rude." },
      { "role": "user", "content": "Hi again" },
      { "role": "assistant", "content": "No." },
      { "role": "user", "content": "?" },
    ],
  },
];
