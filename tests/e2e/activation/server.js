require("node:http")
  .createServer((request, response) => {
    setTimeout(() => response.end("WORD\n"), request.url === "/slow" ? 1500 : 0);
  })
  .listen({ fd: 3 });
