// Compression for the wasm. The library is looked up when it is first needed: it takes some milliseconds to load.
const library = () => process.getBuiltinModule('node:zlib');

const encoder = new TextEncoder();

/** Brotli at its fastest, as base64; as bytes, for the wasm would read a string letter by letter. */
export function pack(bytes) {
  const { brotliCompressSync, constants } = library();
  const packed = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 0 } });
  return encoder.encode(packed.toString('base64'));
}

/** The bytes again; throws if there are more than `most`. */
export function unpack(text, most) {
  return library().brotliDecompressSync(Uint8Array.fromBase64(text), { maxOutputLength: most });
}
