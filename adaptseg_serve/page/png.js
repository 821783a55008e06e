// The service's label map is an 8-bit palette PNG whose pixels are train ids. A canvas would hand back colours
// only, so the file is read here: exact ids, and the very bytes can be saved.

const MAGIC = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** ArrayBuffer of an 8-bit palette PNG -> {width, height, ids: Uint8Array of width x height}. */
export const decodePalettePng = (buffer) => decode(buffer, 3);

/** The same of an 8-bit grey PNG; `ids` are the grey values. */
export const decodeGreyPng = (buffer) => decode(buffer, 0);

async function decode(buffer, expected) {
  const { header, data } = readChunks(buffer);
  const [width, height] = [header.getUint32(0), header.getUint32(4)];
  const [depth, kind, interlace] = [header.getUint8(8), header.getUint8(9), header.getUint8(12)];
  if (depth !== 8 || kind !== expected || interlace !== 0) throw new Error("The PNG is not of the kind asked for.");
  const inflated = new Blob(data).stream().pipeThrough(new DecompressionStream("deflate"));
  const rows = new Uint8Array(await new Response(inflated).arrayBuffer());
  return { width, height, ids: unfilter(rows, width, height) };
}

function readChunks(buffer) {
  const bytes = new Uint8Array(buffer);
  if (!MAGIC.every((byte, i) => bytes[i] === byte)) throw new Error("The answer is not a PNG.");
  const view = new DataView(buffer);
  const data = [];
  let header = null;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (name === "IHDR") header = new DataView(buffer, at + 8, length);
    if (name === "IDAT") data.push(bytes.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  if (!header) throw new Error("The PNG has no header.");
  return { header, data };
}

/** PNG specification, section 9: each row begins with the number of its filter; one byte per pixel. */
function unfilter(rows, width, height) {
  if (rows.length < height * (width + 1)) throw new Error("The PNG is cut short.");
  const ids = new Uint8Array(width * height);
  let above = new Uint8Array(width);
  for (let y = 0; y < height; y++) {
    const from = y * (width + 1);
    const row = ids.subarray(y * width, (y + 1) * width);
    row.set(rows.subarray(from + 1, from + 1 + width));
    FILTERS[rows[from]](row, above);
    above = row;
  }
  return ids;
}

const FILTERS = [
  () => {},
  (row) => {
    for (let x = 1; x < row.length; x++) row[x] += row[x - 1];
  },
  (row, above) => {
    for (let x = 0; x < row.length; x++) row[x] += above[x];
  },
  (row, above) => {
    for (let x = 0; x < row.length; x++) row[x] += ((x ? row[x - 1] : 0) + above[x]) >> 1;
  },
  (row, above) => {
    for (let x = 0; x < row.length; x++) row[x] += x ? paeth(row[x - 1], above[x], above[x - 1]) : above[x];
  },
];

function paeth(left, up, corner) {
  const [toLeft, toUp] = [Math.abs(up - corner), Math.abs(left - corner)];
  const toCorner = Math.abs(left + up - 2 * corner);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}
