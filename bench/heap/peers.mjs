// Loads a snapshot and computes dominators and retained sizes with one of the peers:
//   node peers.mjs NODE_MODULES PEER FILE [AFTER]     prints what the root retains, as a check
import * as fs from 'node:fs';
import {createRequire} from 'node:module';
import * as path from 'node:path';
import {pathToFileURL} from 'node:url';

const [modules, peer, file, after] = process.argv.slice(2);
const require = createRequire(path.join(modules, 'x.js'));
const open = name => fs.createReadStream(name, 'utf8');

const peers = {
  async toolkit() {
    const toolkit = await import(pathToFileURL(path.join(modules, 'heap-snapshot-toolkit/index.js')));
    const snapshot = await toolkit.parse(open(file));
    if (after) return Object.keys(await toolkit.diff(snapshot, await toolkit.parse(open(after)))).length;
    return snapshot.totalSize;
  },
  async memlab() {
    const heap = await require('@memlab/heap-analysis').getFullHeapFromFile(file);
    return heap.nodes.get(0).retainedSize;
  },
  async parser() {
    const {decode_bytes} = require('@vscode/v8-heap-parser');
    const graph = decode_bytes(fs.readFileSync(file));
    return graph.get_class_groups(0, 1e9, false).length;
  },
};

console.log(await peers[peer]());
process.exit(0);
