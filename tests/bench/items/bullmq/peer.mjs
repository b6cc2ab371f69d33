// BullMQ as the bench drives it: `node peer.mjs <order> <arguments as JSON>`. It says what happens as JSON lines. A
// process that works says that it is ready and waits for a line, and waits again when it is done, so that the bench
// can read CPU and memory before and after.
import { Queue, Worker } from 'bullmq';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const [order, text] = process.argv.slice(2);
const told = JSON.parse(text);
const connection = { host: '127.0.0.1', port: told.port, maxRetriesPerRequest: null };
const NAME = 'bench';
const BULK = 1000; // jobs a call of addBulk: beyond it the rate no longer grows
const OPTIONS = { attempts: 3, backoff: { type: 'exponential', delay: 2000 }, removeOnComplete: true };
const input = createInterface({ input: process.stdin });

const say = (figures) => process.stdout.write(JSON.stringify(figures) + '\n');
const go = () => once(input, 'line');
const since = (began) => (performance.now() - began) / 1000;
const data = (n) => {
  const id = 'i' + String(n).padStart(8, '0');
  return { id, text: told.text };
};

function work(handler, concurrency, more) {
  const worker = new Worker(NAME, handler, { connection, concurrency, ...more });
  worker.on('error', () => {}); // of a server that is away: it goes on by itself
  return worker;
}

const orders = {
  async load({ items }) {
    const queue = new Queue(NAME, { connection });
    await queue.waitUntilReady();
    const began = performance.now();
    for (let first = 0; first < items; first += BULK) {
      const many = { length: Math.min(BULK, items - first) };
      await queue.addBulk(Array.from(many, (_, n) => ({ name: 'item', data: data(first + n), opts: OPTIONS })));
    }
    say({ seconds: since(began) });
  },

  async work({ items, concurrency }) {
    let finished = 0;
    const worker = work((job) => job.updateProgress(100), concurrency, { autorun: false });
    await worker.waitUntilReady();
    say({ ready: true });
    await go();
    const began = performance.now();
    await new Promise((resolve) => {
      worker.on('completed', () => ++finished === items && resolve());
      worker.run();
    });
    say({ seconds: since(began) });
    await go();
  },

  // Takes items and never finishes one.
  async hold({ concurrency }) {
    const worker = work(() => new Promise(() => say({ started: true })), concurrency);
    await worker.waitUntilReady();
    say({ ready: true });
    await go();
  },

  async latency({ samples, pause_ms }) {
    let resolve;
    const worker = work(async () => resolve(performance.now()), 1);
    const queue = new Queue(NAME, { connection });
    await Promise.all([worker.waitUntilReady(), queue.waitUntilReady()]);
    const waits_ms = [];
    for (let n = 0; n < samples; n++) {
      await new Promise((done) => setTimeout(done, pause_ms)); // until the worker waits again
      const started = new Promise((done) => (resolve = done));
      const began = performance.now();
      await queue.add('item', data(n), OPTIONS);
      waits_ms.push((await started) - began);
    }
    say({ waits_ms });
  },
};

await orders[order](told);
process.exit(0);
