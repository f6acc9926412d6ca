require("http").createServer((_, answer) => answer.end("hello\n")).listen(8080);
