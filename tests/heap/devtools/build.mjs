// Bundles DevTools' heap snapshot model from its npm package: node build.mjs NODE_MODULES OUT
// Its table of locales is made by Chromium's own build, so a stub stands in for it.
import {createRequire} from 'node:module';
import * as path from 'node:path';

const [modules, out] = process.argv.slice(2);
const esbuild = createRequire(path.join(modules, 'x.js'))('esbuild');
const model = path.join(modules, 'chrome-devtools-frontend/front_end/entrypoints/heap_snapshot_worker');
const stub = ['LOCALES', 'BUNDLED_LOCALES'].map(name => `export const ${name} = [];`).join('') +
    ['DEFAULT_LOCALE', 'REMOTE_FETCH_PATTERN', 'LOCAL_FETCH_PATTERN'].map(name => `export const ${name} = '';`).join('');

await esbuild.build({
  entryPoints: [path.join(import.meta.dirname, 'oracle.mjs')],
  outfile: out,
  bundle: true,
  format: 'esm',
  platform: 'node',
  logLevel: 'error',
  plugins: [{
    name: 'devtools',
    setup(build) {
      build.onResolve({filter: /^devtools\//}, ({path: name}) => ({path: path.join(model, name.slice(9))}));
      build.onResolve({filter: /\/locales\.js$/}, () => ({path: 'locales', namespace: 'stub'}));
      build.onLoad({filter: /./, namespace: 'stub'}, () => ({contents: stub}));
    },
  }],
});
