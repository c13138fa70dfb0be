#!/bin/sh
# The HTTP API without any library. Usage: sh examples/curl.sh http://127.0.0.1:8000
set -eu
url=${1:-http://127.0.0.1:8000}

echo "What is served:"
curl -sSf "$url/v1/models"

printf '\n\nA streamed answer, event by event:\n'
curl -sSfN "$url/v1/chat/completions" \
    -H 'Content-Type: application/json' \
    -d '{"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 8, "stream": true}'

printf '\nHow a text becomes tokens:\n'
curl -sSf "$url/tokenize" -H 'Content-Type: application/json' -d '{"prompt": "Once upon a time"}'
echo
