"use strict";
// Reads what packing.py has packed: {content, arrays by name}.

async function readData(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const content = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const types = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array };
  const arrays = {};
  for (const [name, of] of Object.entries(content.arrays)) {
    arrays[name] = new types[of.type](buffer, 4 + length + of.start, of.length);
  }
  return { content, arrays };
}

// The part of a stack of equally long arrays that belongs to one of them.
function rowOf(stack, row, n) {
  return stack.subarray(row * n, (row + 1) * n);
}

function countsOf(codes, n) {
  const counts = new Array(n).fill(0);
  for (const code of codes) counts[code] += 1;
  return counts;
}

// A table of comma-separated values; text is quoted, as in tables that bgformer writes.
function csvOf(columns, rows) {
  const cell = (value) =>
    typeof value === "number" ? String(value) : `"${String(value).replaceAll('"', '""')}"`;
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
