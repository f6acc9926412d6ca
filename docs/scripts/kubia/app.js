// A server with one answer: which host it runs on.
const http = require("http");
const os = require("os");

const server = http.createServer((request, response) => {
  response.end(`You've hit ${os.hostname()}\n`);
});
server.listen(process.env.PORT || 8080, "127.0.0.1", () => {
  console.log("kubia listens on port", server.address().port);
});
