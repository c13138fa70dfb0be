"""A server that only pretends: as many words as asked for, at once. Its argument is the port.

The model "busy" is refused, "lazy" says that it wrote one token.
"""

import asyncio
import json
import sys


async def answer(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"GET"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    else:
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        writer.write(completion(json.loads(await reader.readexactly(length))))
    await writer.drain()
    writer.close()


def completion(body):
    if body["model"] == "busy":
        return b"HTTP/1.1 503 Service Unavailable\r\n\r\n"
    written = 1 if body["model"] == "lazy" else body["max_tokens"]
    events = [{"choices": [{"text": " a"}]}] * body["max_tokens"]
    events.append({"choices": [], "usage": {"completion_tokens": written}})
    lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events] + [b"data: [DONE]\n\n"]
    chunks = [f"{len(line):x}\r\n".encode() + line + b"\r\n" for line in lines]
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]))
    async with server:
        await server.serve_forever()


asyncio.run(main())
