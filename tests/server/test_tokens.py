"""/tokenize and /detokenize, in vLLM's shapes."""


def test_a_text_becomes_ids_and_back(http):
    answer = http.post(
        "/tokenize", json={"model": "letters", "prompt": "hé", "return_token_strs": True}
    ).json()
    assert answer["tokens"] == [256, *"hé".encode()]
    assert answer["count"] == 4
    assert answer["max_model_len"] == 2048
    assert answer["token_strs"][:2] == ["<s>", "h"]
    back = http.post("/detokenize", json={"model": "letters", "tokens": answer["tokens"]}).json()
    assert back == {"prompt": "<s>hé"}


def test_special_tokens_can_be_left_out(http):
    body = {"model": "letters", "prompt": "h", "add_special_tokens": False}
    assert http.post("/tokenize", json=body).json()["tokens"] == [104]


def test_a_conversation_is_tokenized_as_chat_does(http, client):
    messages = [{"role": "user", "content": "hello"}]
    count = http.post("/tokenize", json={"model": "letters", "messages": messages}).json()["count"]
    answer = client.chat.completions.create(model="letters", messages=messages, max_tokens=1)
    assert answer.usage.prompt_tokens == count


def test_what_cannot_be_tokenized_is_refused(http):
    for path, body, param in (
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "x", "messages": [{"role": "user", "content": "x"}]}, "prompt"),
        ("/detokenize", {"tokens": [1, 258]}, "tokens"),
        ("/detokenize", {"tokens": [-1]}, "tokens[0]"),
        ("/detokenize", {"tokens": "abc"}, "tokens"),
    ):
        answer = http.post(path, json={"model": "letters"} | body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
