// Bull Board over a queue: `node board.mjs <arguments as JSON>`. It adds jobs, then serves, and says where.
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { ExpressAdapter } from '@bull-board/express';
import { Queue } from 'bullmq';
import express from 'express';

const told = JSON.parse(process.argv[2]);
const PATH = '/admin/queues';
const BULK = 1000;

const queue = new Queue('bench', { connection: { host: '127.0.0.1', port: told.port, maxRetriesPerRequest: null } });
for (let first = 0; first < told.jobs; first += BULK) {
  const many = { length: Math.min(BULK, told.jobs - first) };
  await queue.addBulk(Array.from(many, (_, n) => ({ name: 'job', data: { id: first + n, text: told.text } })));
}
const adapter = new ExpressAdapter();
adapter.setBasePath(PATH);
createBullBoard({ queues: [new BullMQAdapter(queue)], serverAdapter: adapter });
const app = express();
app.use(PATH, adapter.getRouter());
const server = app.listen(0, '127.0.0.1', () => {
  process.stdout.write(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}${PATH}` }) + '\n');
});
