// Responds to /slow?ms=N after N ms. It does not handle signals, so Node exits at once on TERM.
const { createServer } = require('node:http');

createServer((req, res) => {
  const ms = req.url.startsWith('/slow?ms=') ? req.url.slice('/slow?ms='.length) : undefined;
  if (ms === undefined) return res.end('Hello\n');
  setTimeout(() => res.end(`${ms} ms later: Hello\n`), Number(ms));
}).listen(3000);
