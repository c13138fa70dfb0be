"""Ask a running Fairway server with the official OpenAI client.

    fairway up            # in one terminal
    python examples/openai_chat.py http://127.0.0.1:8000/v1

Needs `pip install openai`. Set FAIRWAY_API_KEY if the server asks for a key.
"""

from __future__ import annotations

import os
import sys

from openai import OpenAI

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
client = OpenAI(base_url=url, api_key=os.environ.get("FAIRWAY_API_KEY", "unused"))
model = client.models.list().data[0].id
question = [{"role": "user", "content": "Tell me a story about a dog."}]

print(f"{model} answers, word by word:")
stream = client.chat.completions.create(
    model=model, messages=question, max_tokens=60, seed=1, stream=True, stream_options={"include_usage": True}
)
for chunk in stream:
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
    if chunk.usage:
        print(f"\n({chunk.usage.prompt_tokens} tokens read, {chunk.usage.completion_tokens} written)")

print("\nHow sure it is of its first three tokens:")
answer = client.chat.completions.create(
    model=model, messages=question, max_tokens=3, temperature=0, logprobs=True, top_logprobs=2
)
for token in answer.choices[0].logprobs.content:
    rivals = ", ".join(f"{each.token!r} {each.logprob:.2f}" for each in token.top_logprobs)
    print(f"  {token.token!r} {token.logprob:.2f}   (most likely: {rivals})")
