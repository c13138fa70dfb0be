"""Send many requests at once and see continuous batching at work: total time grows far slower.

python examples/many_requests.py http://127.0.0.1:8000/v1
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from openai import AsyncOpenAI

NAMES = ["a dog", "a cat", "a bird", "a boat", "the moon", "a tree", "a king", "a fish"]


async def ask(client: AsyncOpenAI, model: str, topic: str) -> int:
    """Tokens written for one story."""
    answer = await client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": f"Tell me a story about {topic}."}],
        max_tokens=48,
        extra_body={"ignore_eos": True},
    )
    return answer.usage.completion_tokens if answer.usage else 0


async def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
    client = AsyncOpenAI(base_url=url, api_key=os.environ.get("FAIRWAY_API_KEY", "unused"))
    model = (await client.models.list()).data[0].id
    for count in (1, 4, 16):
        start = time.perf_counter()
        topics = [NAMES[index % len(NAMES)] for index in range(count)]
        tokens = sum(await asyncio.gather(*(ask(client, model, topic) for topic in topics)))
        seconds = time.perf_counter() - start
        print(f"{count:3d} at once: {tokens} tokens in {seconds:.2f} s, {tokens / seconds:.0f} tokens/s")
    await client.close()


asyncio.run(main())
