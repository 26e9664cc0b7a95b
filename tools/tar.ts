// Writes a tar archive: the "ustar" format of POSIX.1-1988, which every tar reads. The same files give the same
// bytes: no owners, no times.

/** A file of an archive. */
export interface TarFile {
  /** Relative, with forward slashes, at most 255 bytes. */
  readonly path: string;
  /** Its contents. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Mode 755 rather than 644. */
  readonly executable: boolean;
}

const blockSize = 512;
const encoder = new TextEncoder();

/** The archive's bytes, in the order of `files`. Folders come into being with the files in them. */
export function writeTar(files: readonly TarFile[]): Uint8Array<ArrayBuffer> {
  const padded = (length: number) => Math.ceil(length / blockSize) * blockSize;
  const total = files.reduce((sum, { bytes }) => sum + blockSize + padded(bytes.length), 2 * blockSize);
  const archive = new Uint8Array(total); // ends with two empty blocks
  let at = 0;
  for (const file of files) {
    archive.set(header(file), at);
    archive.set(file.bytes, at + blockSize);
    at += blockSize + padded(file.bytes.length);
  }
  return archive;
}

/** Fields by offset and width, as the standard's table has them; numbers are octal. */
function header({ path, bytes, executable }: TarFile): Uint8Array {
  const block = new Uint8Array(blockSize);
  const text = (value: string, offset: number) => block.set(encoder.encode(value), offset);
  const octal = (value: number, offset: number, width: number) =>
    text(value.toString(8).padStart(width - 1, "0"), offset);
  const { prefix, name } = splitPath(path);
  text(name, 0);
  octal(executable ? 0o755 : 0o644, 100, 8);
  octal(0, 108, 8); // owner
  octal(0, 116, 8); // group
  octal(bytes.length, 124, 12);
  octal(0, 136, 12); // time
  text(" ".repeat(8), 148); // the checksum counts itself as spaces
  text("0", 156); // a plain file
  text("ustar\x0000", 257);
  text(prefix, 345);
  octal(block.reduce((sum, byte) => sum + byte, 0), 148, 7);
  return block;
}

/** A path of more than 100 bytes is cut at a slash into a prefix of up to 155 bytes and a name. */
function splitPath(path: string): { prefix: string; name: string } {
  const size = (part: string) => encoder.encode(part).length;
  if (size(path) <= 100) return { prefix: "", name: path };
  for (let cut = path.indexOf("/"); cut > 0; cut = path.indexOf("/", cut + 1)) {
    const prefix = path.slice(0, cut), name = path.slice(cut + 1);
    if (size(prefix) <= 155 && size(name) <= 100) return { prefix, name };
  }
  throw new RangeError(`the path is too long for a tar archive: ${path}`);
}
