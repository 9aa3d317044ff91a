// Controls PM2 through its programmatic API, with one connection for all calls. usage: node pm2_client.js NODE_MODULES
"use strict";
const path = require("path");
const readline = require("readline");
const { promisify } = require("util");

const STATUS_SECONDS = 10;

// Standard output is for the answers alone; PM2 prints to the console.
console.log = console.error;
const pm2 = require(path.join(process.argv[2], "pm2"));
const api = {};
for (const name of ["connect", "start", "stop", "restart", "list"]) api[name] = promisify(pm2[name].bind(pm2));

const commands = {
  connect: async () => { await api.connect(); return {}; },
  start: async ({ apps }) => { await api.start(apps); return {}; },
  stop: async () => { await api.stop("all"); return {}; },
  restart: async () => { await api.restart("all"); return {}; },
  list: async ({ times }) => {
    const programs = (await api.list()).length;
    const milliseconds = [];
    const deadline = Date.now() + STATUS_SECONDS * 1000;
    while (milliseconds.length < times && Date.now() < deadline) {
      const began = process.hrtime.bigint();
      await api.list();
      milliseconds.push(Number(process.hrtime.bigint() - began) / 1e6);
    }
    return { milliseconds, programs };
  },
};

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    let answer;
    try { answer = await commands[request.do](request); }
    catch (error) { answer = { error: String((error && error.message) || error) }; }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
  process.exit(0);
})();
