// Opens a .heapsnapshot in memlab and in DevTools' engine, and prints what each finds of one class.
// usage: node open_snapshot.cjs NODE_MODULES FILE CLASS
const { createReadStream } = require('node:fs');
const { join } = require('node:path');

async function memlab(modules, file, name) {
  console.log = () => {};  // it reports its progress
  const { getFullHeapFromFile } = require(join(modules, '@memlab/heap-analysis'));
  const heap = await getFullHeapFromFile(file);
  let nodes = 0, count = 0, example = null;
  heap.nodes.forEach((node) => {
    nodes += 1;
    if (node.name === name) { count += 1; example = example || node; }
  });
  const path = [];
  for (let node = example; node && node.pathEdge; node = node.pathEdge.fromNode) {
    path.unshift(String(node.pathEdge.name_or_index));
  }
  return { nodes, count, path };
}

async function devtools(modules, file, name) {
  const { parse } = await import(join(modules, 'heap-snapshot-toolkit', 'index.js'));
  const snapshot = await parse(createReadStream(file, 'utf-8'));
  const rows = snapshot.aggregatesWithFilter(new (class {})());
  // A class of JavaScript has its place in its key, one of Python has none.
  const row = rows[`,${name}`] || Object.values(rows).find((one) => one.name === name);
  return { nodes: snapshot.nodeCount, count: row.count, self: row.self, distance: row.distance };
}

(async () => {
  const [modules, file, name] = process.argv.slice(2);
  const found = { memlab: await memlab(modules, file, name), devtools: await devtools(modules, file, name) };
  process.stdout.write(`\n${JSON.stringify(found)}\n`);
})();
