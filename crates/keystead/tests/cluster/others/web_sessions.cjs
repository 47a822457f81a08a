// A web shop as express-session and connect-redis are described: three instances of it, each with a node of its own,
// and browsers in front of them. Started by web_sessions.rs.
//
//   web_sessions.cjs visit BROWSERS VISITS PORT...   "going" once sessions stand, then what the browsers saw
//   web_sessions.cjs store PORT                      what the store offers beside the middleware
//
// A browser whose request fails goes to the next instance, as it would behind a load balancer. Every page counts the session's
// visits. The count a browser is shown was saved before: it may never be smaller than one that it was shown earlier.

const http = require("node:http");
const express = require("express");
const session = require("express-session");
const { createClient } = require("redis");
const { RedisStore } = require("connect-redis");

// Longer than a shard is without a leader, and than a node takes to answer UNCERTAIN.
const ANSWER_MS = 10_000;
const PREFIX = "shop:";
// Whatever happens, the program ends.
const LIFETIME_MS = 150_000;

// A client as the authors of node-redis advise: an error is heard, and what cannot be sent now fails now.
async function connect(port) {
  const client = createClient({
    socket: { host: "127.0.0.1", port: Number(port), reconnectStrategy: 100 },
    disableOfflineQueue: true,
  });
  client.on("error", () => {});
  await client.connect();
  return client;
}

async function startShop(port) {
  const client = await connect(port);
  const app = express();
  app.use(
    session({
      store: new RedisStore({ client, prefix: PREFIX, ttl: 3600 }),
      secret: "of the test",
      resave: false,
      saveUninitialized: false,
    }),
  );
  app.get("/visit", (request, response) => {
    request.session.visits = (request.session.visits || 0) + 1;
    request.session.basket = [...(request.session.basket || []), request.query.thing].slice(-20);
    // The reply waits for the store: what the browser is shown is kept.
    request.session.save((error) => {
      if (error) return response.status(503).json({ error: String(error) });
      response.json({ visits: request.session.visits, basket: request.session.basket });
    });
  });
  app.get("/leave", (request, response) => {
    request.session.destroy((error) => response.status(error ? 503 : 200).json({}));
  });
  // What the middleware itself could not do: the session could not be read. (Or not touched, behind the page.)
  app.use((error, request, response, next) => {
    if (!response.headersSent) response.status(503).json({ error: String(error) });
  });
  const server = http.createServer(app);
  await new Promise((started) => server.listen(0, "127.0.0.1", started));
  return { client, server, url: `http://127.0.0.1:${server.address().port}` };
}

class Browser {
  constructor(number, shops) {
    Object.assign(this, { number, shops, at: number, cookie: undefined });
    // Visits that were shown, and requests since then of which nobody knows.
    Object.assign(this, { shown: 0, unknown: 0, failures: 0, pages: 0 });
  }

  async get(path) {
    const headers = this.cookie ? { cookie: this.cookie } : {};
    const signal = AbortSignal.timeout(ANSWER_MS);
    const response = await fetch(this.shops[this.at % this.shops.length].url + path, { headers, signal });
    const body = await response.json();
    if (response.status !== 200) throw new Error(body.error);
    const given = response.headers.get("set-cookie");
    if (given) this.cookie = given.split(";")[0];
    return body;
  }

  async visit() {
    let page;
    try {
      page = await this.get(`/visit?thing=${this.pages}`);
    } catch (error) {
      this.failures += 1;
      // A first visit that failed left no cookie: the next one is a new session.
      this.unknown += this.cookie ? 1 : 0;
      this.at += 1;
      // At once it would find the same.
      await new Promise((later) => setTimeout(later, 50));
      return;
    }
    const [least, most] = [this.shown + 1, this.shown + this.unknown + 1];
    if (page.visits < least || page.visits > most) {
      throw new Error(`browser ${this.number} was shown ${page.visits} visits, not ${least} to ${most}`);
    }
    if (page.basket.at(-1) !== String(this.pages)) throw new Error("the basket lacks what was just put in");
    Object.assign(this, { shown: page.visits, unknown: 0, pages: this.pages + 1 });
  }
}

async function visit(browsers, visits, ports) {
  const shops = await Promise.all(ports.map(startShop));
  const all = Array.from({ length: browsers }, (_, number) => new Browser(number, shops));
  const rounds = async (browser, until) => {
    while (browser.pages < until) await browser.visit();
  };
  // Every browser has a session before anything goes wrong.
  await Promise.all(all.map((browser) => rounds(browser, 3)));
  console.log("going");
  await Promise.all(all.map((browser) => rounds(browser, visits)));
  console.log("visited");
  // Once more, and from every instance, when the node that died is back: no session has gone.
  for await (const line of require("node:readline").createInterface({ input: process.stdin })) {
    if (line === "back") break;
  }
  process.stdin.destroy();
  for (const shop of shops) {
    for (const browser of all) {
      browser.at = shops.indexOf(shop);
      const failures = browser.failures;
      await rounds(browser, browser.pages + 1);
      if (browser.failures > failures) throw new Error("a page failed although every node is up");
    }
  }
  const half = all.slice(0, browsers / 2);
  for (const browser of half) await browser.get("/leave");
  const store = new RedisStore({ client: shops[0].client, prefix: PREFIX });
  const left = await called(store, "length");
  if (left !== browsers - half.length) throw new Error(`${left} sessions are left of ${browsers - half.length}`);
  const sum = (of) => all.reduce((total, browser) => total + of(browser), 0);
  console.log(`pages=${sum((b) => b.pages)} failures=${sum((b) => b.failures)} sessions=${browsers}`);
  for (const { client, server } of shops) {
    server.close();
    server.closeAllConnections();
    client.destroy();
  }
}

// A method of a store, as a promise.
function called(store, method, ...words) {
  return new Promise((done, failed) => {
    store[method](...words, (error, value) => (error ? failed(error) : done(value)));
  });
}

function expect(what, found, wanted) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what}: ${a}, not ${b}`);
}

async function store(port) {
  const client = await connect(port);
  const short = new RedisStore({ client, prefix: "other:", ttl: 1 });
  const long = new RedisStore({ client, prefix: "own:", ttl: 3600, scanCount: 10 });
  const cookie = { originalMaxAge: null };
  for (let n = 0; n < 50; n += 1) await called(long, "set", `s${n}`, { cookie, n });
  await called(short, "set", "brief", { cookie, n: 1 });
  expect("a session", await called(long, "get", "s7"), { cookie, n: 7 });
  expect("none", (await called(long, "get", "missing")) ?? null, null);
  expect("their number", await called(long, "length"), 50);
  expect("their names", (await called(long, "ids")).sort().slice(0, 3), ["s0", "s1", "s10"]);
  const all = await called(long, "all");
  expect("all of them", all.map((one) => one.n).sort((a, b) => a - b), [...Array(50).keys()]);
  await called(long, "touch", "s1", { cookie: { expires: new Date(Date.now() + 60_000) } });
  const ttl = await client.ttl("own:s1");
  if (ttl < 1 || ttl > 60) throw new Error(`a touched session lives for ${ttl} s`);
  await called(long, "destroy", "s1");
  expect("one less", await called(long, "length"), 49);
  const deadline = Date.now() + ANSWER_MS;
  while (await called(short, "get", "brief")) {
    if (Date.now() > deadline) throw new Error("a session outlives its time");
  }
  await called(long, "clear");
  expect("none is left", await called(long, "length"), 0);
  client.destroy();
  console.log("done");
}

const tooLong = () => {
  console.error("it takes too long");
  process.exit(1);
};
setTimeout(tooLong, LIFETIME_MS).unref();
const [verb, ...words] = process.argv.slice(2);
const verbs = {
  visit: () => visit(Number(words[0]), Number(words[1]), words.slice(2)),
  store: () => store(words[0]),
};
verbs[verb]().catch((error) => {
  console.error(error);
  process.exit(1);
});
