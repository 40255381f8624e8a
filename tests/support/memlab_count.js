'use strict';
// node memlab_count.js FILE CLASS…: opens a heap snapshot with memlab and prints how many objects of each
// class it holds, as JSON. NODE_PATH names the folder that memlab was installed in.
const { getFullHeapFromFile } = require('@memlab/heap-analysis');

(async () => {
  const [file, ...classes] = process.argv.slice(2);
  const heap = await getFullHeapFromFile(file);
  const counts = Object.fromEntries(classes.map((name) => [name, 0]));
  heap.nodes.forEach((node) => {
    if (node.type === 'object' && node.name in counts) counts[node.name] += 1;
  });
  console.log(JSON.stringify(counts));
})();
