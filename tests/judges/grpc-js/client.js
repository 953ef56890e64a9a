// gRPC for Node as a proxyless client of the mesh: the same as ../grpc/client.py, with another library.
//
//     GRPC_XDS_BOOTSTRAP=bootstrap.json NODE_PATH=…/node_modules node client.js xds:///quotes 25

"use strict";

const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");
require("@grpc/grpc-js-xds").register();

const PROTOS = path.join(__dirname, "../../../samples/proto");
const DEADLINE_MS = 15_000;
const LINES_A_SECOND = 5;

const [target, rate] = [process.argv[2], Number(process.argv[3])];
const definition = protoLoader.loadSync("quotes/v1/quotes.proto", { includeDirs: [PROTOS] });
const quotes = grpc.loadPackageDefinition(definition).quotes.v1;
const client = new quotes.Quotes(target, grpc.credentials.createInsecure());
const sums = { sent: 0, ok: 0, failed: {}, by_instance: {} };

function count(counts, key) {
  counts[key] = (counts[key] ?? 0) + 1;
}

function print() {
  console.log(JSON.stringify(sums));
}

const began = process.hrtime.bigint();
let open = 0;
let isStopped = false;

function endWhenAnswered() {
  if (isStopped && open === 0) {
    client.close();
    print();
    process.exit(0);
  }
}

function call() {
  sums.sent += 1;
  open += 1;
  client.getQuote({ symbol: "ACME" }, { deadline: Date.now() + DEADLINE_MS }, (error, quote) => {
    if (error) {
      count(sums.failed, `${grpc.status[error.code]}: ${error.details}`);
    } else {
      sums.ok += 1;
      count(sums.by_instance, quote.instance);
    }
    open -= 1;
    endWhenAnswered();
  });
}

const timer = setInterval(() => {
  const due = (Number(process.hrtime.bigint() - began) / 1e9) * rate;
  while (sums.sent < due) {
    call();
  }
}, 1000 / rate);
const printer = setInterval(print, 1000 / LINES_A_SECOND);

process.on("SIGTERM", () => {
  isStopped = true;
  clearInterval(timer);
  clearInterval(printer);
  endWhenAnswered();
});
