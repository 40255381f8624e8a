// Opens a .heapsnapshot in memlab and in DevTools' engine, and prints what each finds of one class.
// usage: node open_snapshot.cjs NODE_MODULES FILE CLASS [ORDINALS]
// With a file of ordinals as JSON also the retained size of each of these nodes.
const { createReadStream, readFileSync } = require('node:fs');
const { join } = require('node:path');

async function memlab(modules, file, name, wanted) {
  console.log = () => {};  // it reports its progress
  const { getFullHeapFromFile } = require(join(modules, '@memlab/heap-analysis'));
  const heap = await getFullHeapFromFile(file);
  let nodes = 0, count = 0, example = null;
  const places = new Map(wanted.map((ordinal, place) => [ordinal, place]));
  const retained = [];
  heap.nodes.forEach((node) => {
    if (places.has(nodes)) retained[places.get(nodes)] = node.retainedSize;
    nodes += 1;
    if (node.name === name) { count += 1; example = example || node; }
  });
  const path = [];
  for (let node = example; node && node.pathEdge; node = node.pathEdge.fromNode) {
    path.unshift(String(node.pathEdge.name_or_index));
  }
  return { nodes, count, path, retained };
}

async function devtools(modules, file, name, wanted) {
  const { parse } = await import(join(modules, 'heap-snapshot-toolkit', 'index.js'));
  const snapshot = await parse(createReadStream(file, 'utf-8'));
  const rows = snapshot.aggregatesWithFilter(new (class {})());
  // A class of JavaScript has its place in its key, one of Python has none.
  const row = rows[`,${name}`] || Object.values(rows).find((one) => one.name === name);
  const retained = wanted.map((ordinal) => snapshot.retainedSizes[ordinal]);
  return { nodes: snapshot.nodeCount, count: row.count, self: row.self, distance: row.distance, retained };
}

(async () => {
  const [modules, file, name, ordinals] = process.argv.slice(2);
  const wanted = ordinals ? JSON.parse(readFileSync(ordinals, 'utf-8')) : [];
  const found = {
    memlab: await memlab(modules, file, name, wanted), devtools: await devtools(modules, file, name, wanted),
  };
  process.stdout.write(`\n${JSON.stringify(found)}\n`);
})();
