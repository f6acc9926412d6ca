import asyncio

import containerkit as ck


async def main() -> None:
    fifty = (ck.arun(["sh", "-c", f"sleep 0.2; echo {number}"]) for number in range(50))
    results = await asyncio.gather(*fifty)
    print("the sum of their output:", sum(int(result.stdout) for result in results))

    chat = ck.plan(run=["sh", "-c", "echo ready; read name; echo hello $name; read more"])
    async with chat.aspawn(stdin=ck.PIPE, stdout=ck.PIPE) as process:
        async for line in process.lines():
            print("it says:", line.decode().strip())
            if line == b"ready\n":
                await process.write(b"you\n")
            else:
                break
    print("nothing is left, it ended with", process.returncode)


asyncio.run(main())
