/** Searches written bytes for secrets, in every usual encoding. */

/** A text that must be nowhere. Of a token it is only the secret part, not the claims. */
export interface Secret {
  readonly what: string;
  readonly bytes: Buffer;
}

/** Where a secret was found. */
export interface Finding {
  readonly what: string;
  readonly form: string;
  readonly sink: string;
}

/** This many bytes of a secret, from either end, are as bad as all of it. Shorter pieces would occur by chance. */
const PIECE_BYTES = 12;

export function secretOf(what: string, text: string): Secret {
  return { what, bytes: Buffer.from(text) };
}

/** @param sinks the content of each place, by its name */
export function findSecrets(secrets: readonly Secret[], sinks: Readonly<Record<string, Buffer>>): readonly Finding[] {
  const needles = secrets.flatMap(({ what, bytes }) => formsOf(bytes).map(([form, text]) => ({ what, form, text })));
  return Object.entries(sinks).flatMap(([sink, written]) => {
    // PostgreSQL's COPY writes a stored byte string in hex, so the decoded bytes are searched as well.
    const haystack = Buffer.concat([written, Buffer.from("\n"), ...bytesInHex(written)]);
    return needles.filter(({ text }) => haystack.includes(text)).map(({ what, form }) => ({ what, form, sink }));
  });
}

function formsOf(secret: Buffer): readonly (readonly [form: string, text: Buffer])[] {
  const pieces = [secret.subarray(0, PIECE_BYTES), secret.subarray(-PIECE_BYTES)];
  const url = encodeURIComponent(secret.toString("latin1"));
  return [
    ...pieces.map((piece) => ["plain", piece] as const),
    ...pieces.map((piece) => ["hex", Buffer.from(piece.toString("hex"))] as const),
    ...pieces.map((piece) => ["HEX", Buffer.from(piece.toString("hex").toUpperCase())] as const),
    ...pieces.flatMap((piece) => base64FormsOf(piece)),
    ["url", Buffer.from(url.slice(0, 2 * PIECE_BYTES))],
    [
      "json",
      Buffer.from(
        JSON.stringify(secret.toString())
          .slice(1, -1)
          .slice(0, 2 * PIECE_BYTES),
      ),
    ],
    ["in lower case", Buffer.from(secret.toString().toLowerCase())],
    ["reversed", Buffer.from(secret).reverse()],
  ];
}

/** The three forms of bytes in base64, which depend on their offset, without the characters at both ends. */
function base64FormsOf(piece: Buffer): readonly (readonly [form: string, text: Buffer])[] {
  return [0, 1, 2].flatMap((offset) => {
    const shifted = Buffer.concat([Buffer.alloc(offset), piece]);
    const [from, to] = [Math.ceil((offset * 4) / 3), Math.floor((shifted.length * 4) / 3)];
    const inside = (text: string) => Buffer.from(text.slice(from, to));
    return [
      ["base64", inside(shifted.toString("base64"))] as const,
      ["base64url", inside(shifted.toString("base64url"))] as const,
    ];
  });
}

function bytesInHex(written: Buffer): Buffer[] {
  return [...written.toString("latin1").matchAll(/\\x((?:[0-9a-f]{2}){8,})/g)].map(([, hex]) =>
    Buffer.from(hex!, "hex"),
  );
}
