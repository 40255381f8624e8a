// TypeScript through a loader.
import http from 'node:http';
import { up, work } from './common.cjs';

enum Colour { Red, Green }

interface Answer { n: number; sum: number; colour: string }

function answer(): Answer {
  const { n, sum } = work();
  return { n, sum, colour: Colour[n % 2 ? Colour.Red : Colour.Green] };
}

const server = http.createServer((request, response) => { response.end(JSON.stringify(answer())); });
server.listen(0, '127.0.0.1', () => up((server.address() as { port: number }).port));
