// Runs Chrome DevTools' own heap snapshot model and writes down what it computes.
//   node bundle.mjs nodes FILE DIR           columns per node, class rows, statistics
//   node bundle.mjs diff BEFORE AFTER DIR    rows of the Comparison view
import * as fs from 'node:fs';
import * as Model from 'devtools/HeapSnapshot.ts';
import {HeapSnapshotLoader} from 'devtools/HeapSnapshotLoader.ts';

console.warn = () => {};

async function load(path) {
  const loader = new HeapSnapshotLoader({sendEvent() {}});
  for await (const chunk of fs.createReadStream(path, {encoding: 'utf8', highWaterMark: 4 << 20})) {
    loader.write(chunk);
  }
  loader.close();
  const channel = new MessageChannel();
  new Model.SecondaryInitManager(channel.port2);
  const snapshot = await loader.buildSnapshot(channel.port1);
  channel.port1.close();
  return snapshot;
}

function writeNodes(snapshot, folder) {
  const count = snapshot.nodeCount;
  const columns = {
    id: new Float64Array(count), self: new Float64Array(count), retained: snapshot.retainedSizes,
    dominator: snapshot.dominatorsTree, distance: snapshot.nodeDistances,
    detached: new Uint8Array(count),
  };
  const classes = [];
  const node = snapshot.createNode(0);
  for (let i = 0; i < count; i++, node.nodeIndex += snapshot.nodeFieldCount) {
    columns.id[i] = node.id();
    columns.self[i] = node.selfSize();
    columns.detached[i] = node.detachedness() === 2 ? 1 : 0;
    classes.push(node.className());
  }
  for (const [name, column] of Object.entries(columns)) {
    fs.writeFileSync(`${folder}/${name}.bin`, Buffer.from(column.buffer, column.byteOffset, column.byteLength));
  }
  const rows = Object.entries(snapshot.aggregatesWithFilter({})).map(
      ([key, row]) => ({key, name: row.name, count: row.count, self: row.self, retained: row.maxRet, distance: row.distance}));
  fs.writeFileSync(`${folder}/classes.json`, JSON.stringify({
    rows, classes, total: snapshot.totalSize, statistics: snapshot.getStatistics(),
    definitions: JSON.parse(snapshot.interfaceDefinitions()),
  }));
}

function writeDiff(before, after, folder) {
  const rows = after.calculateSnapshotDiff(1, before.aggregatesForDiff(after.interfaceDefinitions()));
  fs.writeFileSync(`${folder}/diff.json`, JSON.stringify(Object.entries(rows).map(([key, row]) => ({
    key, name: row.name, added: row.addedCount, addedSize: row.addedSize, removed: row.removedCount,
    removedSize: row.removedSize, addedIds: row.addedIds, removedIds: row.deletedIds,
  }))));
}

const [mode, ...rest] = process.argv.slice(2);
const folder = rest.pop();
if (mode === 'nodes') {
  writeNodes(await load(rest[0]), folder);
} else {
  const after = await load(rest[1]);
  writeDiff(await load(rest[0]), after, folder);
}
process.exit(0);
