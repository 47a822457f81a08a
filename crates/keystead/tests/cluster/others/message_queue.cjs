// A program that uses BullMQ as its authors describe it. Started by message_queue.rs.
//
//   message_queue.cjs offers PORT           everything BullMQ offers that needs no second program
//   message_queue.cjs work PORT             a worker, until it is told to end
//   message_queue.cjs produce COUNT PORT... hands jobs in, each again and again until it was taken; says so of each
//   message_queue.cjs waiting PORT          how many jobs are not through
//   message_queue.cjs audit COUNT PORT      what became of the jobs
//
// What ran is in the file named by JOBS_RUN, whatever BullMQ says of it.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { setTimeout: pause } = require("node:timers/promises");
const { FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker } = require("bullmq");

// The jobs of the run with a failover.
const ORDERS = "orders";
// Longer than a shard is without a leader, and than a node takes to answer UNCERTAIN.
const ANSWER_MS = 20_000;
// A worker that is heard no more loses its job after so long, and to whom it goes is seen as often: longer than an election.
const LOCK_MS = 6_000;
// An error that the server answers to the end of a job is a failure of the job to BullMQ, UNCERTAIN included: it tries again if it
// may.
const RETRIES = { attempts: 5, backoff: { type: "fixed", delay: 200 } };
// Whatever happens, the program ends.
const LIFETIME_MS = 150_000;

const { JOBS_RUN } = process.env;
const note = (what) => fs.appendFileSync(JOBS_RUN, `${what}\n`);

// As BullMQ advises: workers try for ever.
const connection = (port) => ({ host: "127.0.0.1", port: Number(port), maxRetriesPerRequest: null });

function worker(name, port, options, run) {
  const started = new Worker(name, run, { connection: connection(port), ...options });
  // What it says of nodes that are gone is no surprise here.
  started.on("error", () => {});
  return started;
}

const WORK = {
  square: async (job) => {
    await job.updateProgress(50);
    await job.log(`${job.data.n} squared`);
    return job.data.n * job.data.n;
  },
  once: async (job) => {
    if (job.attemptsMade === 0) throw new Error("not at once");
    return "at last";
  },
  never: async () => {
    throw new UnrecoverableError("not ever");
  },
  total: async (job) => Object.values(await job.getChildrenValues()).reduce((sum, n) => sum + n, 0),
};

// One job and what comes of it; each is waited for, so that the worker has nothing to do in between and waits.
async function jobsOfEveryKind(queue, events) {
  const result = (job) => job.waitUntilFinished(events, ANSWER_MS);
  const first = await queue.add("square", { n: 7 });
  assert.equal(await result(first), 49);
  assert.deepEqual((await queue.getJobLogs(first.id)).logs, ["7 squared"]);
  const again = await queue.getJob(first.id);
  assert.ok(again.progress === 50 && again.returnvalue === 49 && (await again.isCompleted()));

  const many = await queue.addBulk([1, 2, 3].map((n) => ({ name: "square", data: { n } })));
  assert.deepEqual(await Promise.all(many.map(result)), [1, 4, 9]);
  const named = { jobId: "named-once" };
  await queue.add("square", { n: 1 }, named);
  assert.equal(await result(await queue.add("square", { n: 2 }, named)), 1, "a job that is there is not added again");

  const later = await queue.add("square", { n: 9 }, { delay: 300 });
  assert.equal(await later.getState(), "delayed");
  assert.equal(await result(later), 81);
  const retried = await queue.add("once", {}, { attempts: 3, backoff: { type: "exponential", delay: 50 } });
  assert.equal(await result(retried), "at last");
  const failed = await queue.add("never", {}, { attempts: 5 });
  await assert.rejects(result(failed), /not ever/);
  assert.equal((await queue.getJob(failed.id)).attemptsMade, 1);
  assert.deepEqual((await queue.getFailed()).map((job) => job.id), [failed.id]);
}

async function pausedAndByRank(queue, events, order) {
  await queue.pause();
  const ranked = [];
  for (const priority of [3, 1, 2]) ranked.push(await queue.add("square", { n: priority }, { priority }));
  ranked.push(await queue.add("square", { n: 0 }));
  assert.ok((await queue.isPaused()) && (await queue.count()) === 4);
  order.length = 0;
  await queue.resume();
  await Promise.all(ranked.map((job) => job.waitUntilFinished(events, ANSWER_MS)));
  assert.deepEqual(order, [0, 1, 2, 3], "what has no rank comes first, then the lowest number");
  const gone = await queue.add("square", { n: 5 }, { delay: 60_000 });
  await gone.remove();
  assert.equal(await queue.getJob(gone.id), undefined);
}

async function familiesAndSchedules(queue, events, order, port) {
  const flow = new FlowProducer({ connection: connection(port) });
  const child = (n) => ({ name: "square", queueName: queue.name, data: { n } });
  const tree = await flow.add({ name: "total", queueName: queue.name, children: [child(1), child(2), child(3)] });
  assert.equal(await tree.job.waitUntilFinished(events, ANSWER_MS), 14);
  await flow.close();

  order.length = 0;
  await queue.upsertJobScheduler("often", { every: 100 }, { name: "square", data: { n: 6 } });
  for (const begun = Date.now(); order.length < 3; await pause(20)) {
    assert.ok(Date.now() - begun < ANSWER_MS, `a schedule that brought ${order.length} jobs`);
  }
  assert.ok(await queue.removeJobScheduler("often"));
  assert.equal(await queue.getJobSchedulersCount(), 0);
}

async function offers(port) {
  const name = `every-${port}`;
  const queue = new Queue(name, { connection: connection(port) });
  const events = new QueueEvents(name, { connection: connection(port) });
  const order = [];
  const one = worker(name, port, {}, async (job) => {
    order.push(job.data.n);
    return WORK[job.name](job);
  });
  await Promise.all([events.waitUntilReady(), one.waitUntilReady()]);
  await jobsOfEveryKind(queue, events);
  await pausedAndByRank(queue, events, order);
  await familiesAndSchedules(queue, events, order, port);
  assert.equal((await queue.getWorkers()).length, 1, "workers are known by the names of their connections");
  const limited = new Worker(`limited-${port}`, async () => Date.now(), { connection: connection(port), limiter: { max: 1, duration: 200 } });
  const limitedEvents = new QueueEvents(`limited-${port}`, { connection: connection(port) });
  await limitedEvents.waitUntilReady();
  const hurried = new Queue(`limited-${port}`, { connection: connection(port) });
  const jobs = await hurried.addBulk([1, 2, 3].map((n) => ({ name: "now", data: { n } })));
  const times = await Promise.all(jobs.map((job) => job.waitUntilFinished(limitedEvents, ANSWER_MS)));
  assert.ok(Math.max(...times) - Math.min(...times) >= 350, `three jobs at most one in 200 ms: ${times}`);
  await one.close();
  await limited.close();
  await queue.obliterate({ force: true });
  assert.equal((await queue.getJobCountByTypes("completed", "failed", "wait", "delayed")), 0);
  await Promise.all([queue, events, hurried, limitedEvents].map((it) => it.close()));
  console.log("done");
}

async function work(port) {
  const options = { lockDuration: LOCK_MS, stalledInterval: LOCK_MS / 2, maxStalledCount: 5, concurrency: 2 };
  const one = worker(ORDERS, port, options, async (job) => note(job.id));
  process.once("SIGTERM", () => one.close().then(() => process.exit(0)));
}

// Takes what was refused, or is in doubt, for not taken: a job that is there is not added again.
async function produce(count, ports) {
  const queues = ports.map((port) => {
    const own = { ...connection(port), maxRetriesPerRequest: 1, enableOfflineQueue: false, retryStrategy: () => 200 };
    const queue = new Queue(ORDERS, { connection: own });
    queue.on("error", () => {});
    return queue;
  });
  await Promise.all(queues.map((queue) => queue.waitUntilReady()));
  let at = 0;
  for (let number = 0; number < count; number += 1) {
    const jobId = `order-${number}`;
    for (;;) {
      try {
        await queues[at % queues.length].add("order", {}, { jobId, ...RETRIES });
        break;
      } catch {
        at += 1;
        await pause(50);
      }
    }
    console.log("taken", jobId);
  }
  process.exit(0);
}

async function waiting(port) {
  const queue = new Queue(ORDERS, { connection: connection(port) });
  console.log(await queue.getJobCountByTypes("wait", "active", "delayed", "prioritized", "paused"));
  await queue.close();
}

async function audit(count, port) {
  const queue = new Queue(ORDERS, { connection: connection(port) });
  const runs = new Map();
  for (const line of fs.readFileSync(JOBS_RUN, "utf8").trim().split("\n")) runs.set(line, (runs.get(line) || 0) + 1);
  let again = 0;
  for (let number = 0; number < count; number += 1) {
    const job = await queue.getJob(`order-${number}`);
    assert.ok(job, `order-${number} is lost`);
    assert.equal(await job.getState(), "completed", `${job.id}: ${job.failedReason}`);
    const times = runs.get(job.id) || 0;
    assert.ok(times >= 1, `${job.id} is completed and never ran`);
    // BullMQ runs a job again if it did not hear of its end.
    assert.ok(times <= job.attemptsStarted, `${job.id} ran ${times} times, begun ${job.attemptsStarted} times`);
    again += times - 1;
  }
  console.log(`completed=${count} run_again=${again}`);
  await queue.close();
}

const [verb, ...words] = process.argv.slice(2);
setTimeout(() => process.exit(3), LIFETIME_MS).unref();
const verbs = {
  offers: () => offers(words[0]),
  work: () => work(words[0]),
  produce: () => produce(Number(words[0]), words.slice(1)),
  waiting: () => waiting(words[0]),
  audit: () => audit(Number(words[0]), words[1]),
};
verbs[verb]().catch((error) => {
  console.error(error);
  process.exit(1);
});
