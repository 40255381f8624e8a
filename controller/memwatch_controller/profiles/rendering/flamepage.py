"""A flame graph as one page that needs nothing else: no network, no library. Pure."""

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>%(title)s</title>
<style>
body { font: 14px system-ui, sans-serif; margin: 1rem; color: #222; background: #fff; }
#graph { position: relative; overflow: hidden; }
#graph button { position: absolute; height: 18px; padding: 0 3px; border: 1px solid #fff;
  border-radius: 2px; font: 12px/16px monospace; text-align: left; overflow: hidden;
  white-space: nowrap; color: #222; cursor: pointer; }
#graph button.found { background: #7b5cff !important; color: #fff; }
#told { min-height: 1.5em; font-family: monospace; }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818; } }
</style></head><body>
<h1>%(title)s</h1>%(notes)s
<p><label>Find <input id="find" type="search"></label> <button id="whole">whole graph</button></p>
<p id="told" aria-live="polite"></p><div id="graph"></div>
<script id="data" type="application/json">%(data)s</script>
<script>
'use strict';
const root = JSON.parse(document.getElementById('data').textContent);
const graph = document.getElementById('graph'), told = document.getElementById('told');
const find = document.getElementById('find');
const ROW = 19, LEAST = 0.05;
let top_ = root;
const size = (bytes) => bytes < 1024 ? bytes + ' B' : bytes < 1048576
  ? (bytes / 1024).toFixed(1) + ' KiB' : (bytes / 1048576).toFixed(1) + ' MiB';
const about = (node) => node.name + ': ' + size(node.size_bytes) + ' ('
  + (100 * node.size_bytes / (root.size_bytes || 1)).toFixed(1) + ' %%)';
function hue(name) {
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) %% 360;
  return 10 + sum %% 50;
}
function draw() {
  graph.textContent = '';
  const word = find.value.toLowerCase(), waiting = [[top_, 0, 0]];
  let depth = 0;
  while (waiting.length) {
    const [node, left, level] = waiting.pop();
    const width = 100 * node.size_bytes / (top_.size_bytes || 1);
    if (width < LEAST) continue;
    depth = Math.max(depth, level);
    const box = document.createElement('button');
    box.textContent = node.name;
    box.title = about(node);
    box.style.cssText = 'left:' + left + '%%;width:' + width + '%%;top:' + level * ROW
      + 'px;background:hsl(' + hue(node.name) + ',80%%,70%%)';
    if (word && node.name.toLowerCase().includes(word)) box.className = 'found';
    box.onclick = () => { top_ = node; draw(); };
    box.onmouseenter = box.onfocus = () => { told.textContent = about(node); };
    graph.append(box);
    let at = left;
    for (const child of node.children) {
      waiting.push([child, at, level + 1]);
      at += 100 * child.size_bytes / (top_.size_bytes || 1);
    }
  }
  graph.style.height = (depth + 1) * ROW + 'px';
}
find.oninput = draw;
document.getElementById('whole').onclick = () => { top_ = root; draw(); };
draw();
</script></body></html>
"""


def page(title: str, root: Mapping[str, Any], notes: Sequence[str]) -> str:
    """The page of a flame graph's tree; names in it are data, whatever they hold."""
    data = json.dumps(root, separators=(",", ":"), ensure_ascii=True)
    safe = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return _PAGE % {
        "title": html.escape(title),
        "notes": "".join(f"<p>{html.escape(note)}</p>" for note in notes),
        "data": safe,
    }
