// A server of Fluentd's Forward protocol that prints each record that it gets as a line of JSON.
//
//     NODE_PATH=…/node_modules node server.js '{"port": 0}'
//
// Settings: port; security {serverHostname, sharedKey, authorize, userDict}; tls {keyFile, certFile, caFile}, where caFile demands
// that clients show a certificate. The first line says on which port it listens.

"use strict";

const fs = require("node:fs");
const { FluentServer } = require("@fluent-org/logger");

const { port, security, tls } = JSON.parse(process.argv[2]);

const server = new FluentServer({
  listenOptions: { port, host: "127.0.0.1" },
  security,
  tlsOptions: tls && {
    key: fs.readFileSync(tls.keyFile),
    cert: fs.readFileSync(tls.certFile),
    ...(tls.caFile && { ca: fs.readFileSync(tls.caFile), requestCert: true, rejectUnauthorized: true }),
  },
});

function print(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

// A connection that breaks is the client's to repair.
process.on("uncaughtException", (error) => print({ error: error.message }));

server.on("entry", (tag, time, record) => {
  const [seconds, ns] = typeof time === "number" ? [time, 0] : [time.epoch, time.nano];
  print({ tag, seconds, ns, record });
});
server.listen().then(() => print({ port: server.port }));
