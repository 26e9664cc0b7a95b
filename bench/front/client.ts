// The benchmark's client: keeps connections busy with one request after another, and does as little as can be done
// for each, so that it is not what is measured. Answers are kept as they came and looked at afterwards.

/** Sends so many requests over so many connections; resolves with the answers' bytes, heads included. */
export async function sendAll(
  url: string,
  path: string,
  bodies: readonly string[],
  connections: number,
  onRead: (bytes: Uint8Array) => void = () => {},
): Promise<Uint8Array[]> {
  const { hostname, port } = new URL(url);
  const encoder = new TextEncoder();
  const raw = bodies.map((body) => {
    const bytes = encoder.encode(body);
    const head = `POST ${path} HTTP/1.1\r\nhost: ${hostname}:${port}\r\ncontent-type: application/json\r\n` +
      `content-length: ${bytes.length}\r\n\r\n`;
    return encoder.encode(head + body);
  });
  const answers = new Array<Uint8Array>(raw.length);
  let next = 0;
  await Promise.all(Array.from({ length: connections }, async () => {
    using connection = await Deno.connect({ hostname, port: Number(port) });
    const buffer = new Uint8Array(1 << 16);
    while (next < raw.length) {
      const i = next++, request = raw[i]!;
      for (let sent = 0; sent < request.length;) sent += await connection.write(request.subarray(sent));
      answers[i] = await readAnswer(connection, buffer, onRead);
    }
  }));
  return answers;
}

const lastChunk = [48, 13, 10, 13, 10]; // "0\r\n\r\n"

async function readAnswer(
  connection: Deno.TcpConn,
  buffer: Uint8Array,
  onRead: (bytes: Uint8Array) => void,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0, needed: number | null = null;
  while (true) {
    const count = await connection.read(buffer);
    if (count === null) throw new Error("the server closed the connection");
    onRead(buffer.subarray(0, count));
    parts.push(buffer.slice(0, count));
    length += count;
    needed ??= lengthOf(parts[0]!);
    if (needed !== null ? length >= needed : endsWith(buffer, count)) return join(parts, length);
  }
}

/** Bytes of an answer that says how long it is: head and body. */
function lengthOf(head: Uint8Array): number | null {
  const text = new TextDecoder("latin1").decode(head);
  const length = /^content-length: (\d+)\r$/im.exec(text.slice(0, text.indexOf("\r\n\r\n") + 2))?.[1];
  return length === undefined ? null : text.indexOf("\r\n\r\n") + 4 + Number(length);
}

function endsWith(buffer: Uint8Array, count: number): boolean {
  return count >= lastChunk.length &&
    lastChunk.every((byte, i) => buffer[count - lastChunk.length + i] === byte);
}

function join(parts: readonly Uint8Array[], length: number): Uint8Array {
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** An answer's body, chunks put together. */
export function bodyOf(answer: Uint8Array): string {
  const text = new TextDecoder().decode(answer), end = text.indexOf("\r\n\r\n");
  const head = text.slice(0, end);
  if (!head.startsWith("HTTP/1.1 200")) throw new Error(`not 200: ${text.slice(0, 300)}`);
  let rest = text.slice(end + 4);
  if (!/^transfer-encoding: chunked\r?$/im.test(head)) return rest;
  let body = "";
  while (true) { // everything is ASCII, so bytes are characters
    const line = rest.indexOf("\r\n"), size = parseInt(rest.slice(0, line), 16);
    if (!(size > 0)) return body;
    body += rest.slice(line + 2, line + 2 + size);
    rest = rest.slice(line + 4 + size);
  }
}
