"""Go templates and conversations for the goldens: every feature that Ollama's templates use.

Written for these tests. make_go_goldens.py has Go itself render each template with each conversation.
"""
# ruff: noqa: E501 (templates)

USER = {"role": "user", "content": "Hello, how are you?"}
ANSWER = {"role": "assistant", "content": 'Fine <b>&amp;</b> "well".'}
SYSTEM = {"role": "system", "content": "Be kind.\n"}
AGAIN = {"role": "user", "content": "Größe? 漢字 {{ .System }} {% if x %}"}
CALLING = {
    "role": "assistant",
    "content": "",
    "thinking": "I need the weather.",
    "tool_calls": [
        {
            "id": "call_1",
            "type": "function",
            "function": {
                "name": "weather",
                "arguments": {
                    "place": "Köln <west>",
                    "days": 3,
                    "scale": 0.5,
                    "deep": {"b": [1, None], "a": True},
                },
            },
        },
        {"id": "call_2", "type": "function", "function": {"name": "clock", "arguments": {}}},
    ],
}
RESULT = {"role": "tool", "content": "rain", "name": "weather", "tool_call_id": "call_1"}
SECOND = {"role": "tool", "content": "noon", "name": "clock", "tool_call_id": "call_2"}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather at a place & time.",
            "parameters": {
                "type": "object",
                "required": ["place"],
                "properties": {
                    "place": {"type": "string", "description": "A town"},
                    "days": {"type": ["integer", "null"], "description": "How many", "enum": [1, 3]},
                    "area": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "number"}}]},
                },
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "clock",
            "description": "",
            "parameters": {"type": "object", "properties": {}},
        },
    },
]
CONVERSATIONS = {
    "user": [USER],
    "turns": [SYSTEM, USER, ANSWER, AGAIN],
    "twice": [USER, AGAIN, ANSWER, ANSWER, USER],
    "late system": [USER, ANSWER, SYSTEM, AGAIN],
    "answer": [USER, ANSWER],
    "tools": [SYSTEM, USER, CALLING, RESULT, SECOND, AGAIN],
}
TOOLS_FOR = {"tools": TOOLS}

TEMPLATES = {
    "plain": "{{ range .Messages }}<{{ .Role }}>{{ .Content }}</{{ .Role }}>\n{{ end }}<assistant>",
    "trims": "a \n {{- range .Messages -}} \n {{ .Content }} \t{{- end }} b {{- /* note */ -}} c {{/* x */}} d\n",
    "system": "{{ if .System }}[{{ .System }}]{{ else }}none{{ end }}{{ with .System }}<{{ . }}>{{ else }}-{{ end }}",
    "chain": '{{ range .Messages }}{{ if eq .Role `user` }}U{{ else if eq .Role "assistant" }}A'
    '{{ else if or (eq .Role "system") false }}S{{ else }}?{{ end }}{{ .Content }}|{{ end }}',
    "variables": '{{ $first := true }}{{ $s := "" }}{{ range $i, $m := .Messages }}{{ if $first }}{{ $s = $m.Role }}'
    "{{ $first = false }}{{ end }}{{ $i }}:{{ $s }}:{{ $m.Role }} {{ end }}{{ $s }}{{ $first }}",
    "shadow": "{{ $x := 1 }}{{ range .Messages }}{{ $x := 2 }}{{ $x = 3 }}{{ $x }}{{ end }}{{ $x }}",
    "last": "{{ range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}{{ .Content }}"
    "{{ if $last }}!{{ else }},{{ end }}{{ end }}",
    "numbers": "{{ len .Messages }} {{ len .System }} {{ len `Größe` }} {{ gt (len .Messages) 2 }} {{ le 2 2 }} {{ ge 1 2 }}"
    " {{ lt 1 2 }} {{ ne `a` `b` }} {{ 0x1F }} {{ 'a' }} {{ -3 }} {{ 1.50 }} {{ 1e6 }} {{ 1e21 }} {{ 0.00001 }} {{ 100000.0 }} {{ 123456.0 }} {{ 1234567.25 }} {{ 0.0001 }} {{ 12.5 }}",
    "logic": '{{ and 1 0 }} {{ or 0 "x" }} {{ not .System }} {{ and .System .Messages true }} {{ or "" 0 false }}'
    " {{ eq 1 2 3 1 }} {{ if and .Tools (not .System) }}t{{ end }}",
    "printing": '{{ printf "%s-%v %d%% %q %5d|%-4s|%t" .System true 7 "a\\"b\\n" 42 `ab` false }} {{ print 1 2 `a` `b` 3 }}'
    ' {{ println `x` 1 }}{{ .System | printf "%s!" | len }} {{ html "<a & \'b\'>" }}',
    "raw": '{{ "tab\\tnew\\nline \\u00e9 \\x41 \\101 \\"q\\"" }} {{ `raw \\n {{ }}` }} {{ "{% x %} {# y #} }}" }}',
    "range": "{{ range .Tools }}T{{ else }}no tools{{ end }} {{ range $i, $t := .Tools }}{{ $i }}{{ $t.Function.Name }}{{ end }}"
    " {{ range 3 }}{{ . }}{{ end }}",
    "range else": "{{ range $i, $t := .Tools }}{{ $i }}{{ else }}none{{ len $i }}{{ if $t }}x{{ end }}{{ end }}",
    "leave": '{{ range .Messages }}{{ if eq .Role "assistant" }}{{ continue }}{{ end }}{{ .Role }}{{ if .ToolCalls }}{{ break }}'
    "{{ end }}{{ range $.Messages }}{{ break }}{{ end }};{{ end }}",
    "index": "{{ (index .Messages 0).Role }} {{ with index .Messages 0 }}{{ .Content }}{{ end }} {{ $m := index .Messages 0 }}{{ $m.Content }}",
    "named": '{{ define "turn" }}[{{ .Role }}:{{ .Content }}{{ $.Role }}]{{ end }}{{ range .Messages }}{{ template "turn" . }}'
    '{{ end }}{{ block "end" .System }}({{ . }}){{ end }}{{ define "none" }}{{ end }}{{ template "none" }}',
    "tools json": "{{ if .Tools }}{{ .Tools }}\n{{ json .Tools }}\n{{ range .Tools }}{{ . }}\n{{ json .Function }}\n"
    "{{ .Function }}\n{{ .Function.Parameters }}\n{{ .Function.Parameters.Properties }}\n{{ end }}{{ end }}",
    "tools text": "{{ range .Tools }}def {{ .Function.Name }}({{ range $n, $p := .Function.Parameters.Properties }}{{ $n }}: {{ $p.Type }}"
    "{{ with $p.Description }} ({{ . }}){{ end }}, {{ end }}) {{ .Function.Parameters.Required }} {{ len .Function.Parameters.Required }}"
    "{{ if .Function.Parameters.Properties }}P{{ else }}-{{ end }}\n{{ end }}",
    "calls": '{{ range .Messages }}{{ .Thinking }}{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": '
    "{{ .Function.Arguments }}} {{ json .Function.Arguments }} {{ .ID }}{{ range $k, $v := .Function.Arguments }} {{ $k }}={{ $v }}"
    '{{ end }}\n{{ end }}{{ if eq .Role "tool" }}{{ .ToolName }}:{{ .ToolCallID }}:{{ .Content }}\n{{ end }}{{ end }}',
    "last user": '{{ $lastUserIdx := -1 }}{{ range $idx, $msg := .Messages }}{{ if eq $msg.Role "user" }}{{ $lastUserIdx = $idx }}'
    "{{ end }}{{ end }}{{ range $i, $m := .Messages }}{{ if eq $i $lastUserIdx }}*{{ end }}{{ if and $.IsThinkSet (and $m.Thinking "
    "(gt $i $lastUserIdx)) }}<think>{{ $m.Thinking }}</think>{{ end }}{{ $m.Role }}{{ end }}{{ if and $.IsThinkSet (not $.Think) }}no{{ end }}",
    "type lists": "{{ range .Tools }}{{ range $n, $p := .Function.Parameters.Properties }}{{ $n }}: {{ if gt (len $p.Type) 1 }}"
    "{{ range $i, $t := $p.Type }}{{ if $i }} | {{ end }}{{ $t }}{{ end }}{{ else if $p.Type }}{{ index $p.Type 0 }}"
    "{{ else }}{{ len $p.Type }}{{ len $p.AnyOf }}{{ (index $p.AnyOf 0).Type }}{{ end }}; {{ end }}{{ end }}",
    "prefill": "{{- $found := false -}}\n{{- range $i, $m := .Messages }}\n  {{- $last := eq (len (slice $.Messages $i)) 1 -}}\n"
    '  {{- if and $last (eq $m.Role "assistant") (gt (len $m.Content) 0) }}\n    {{- $found = true }}\n  {{- end }}\n{{- end -}}\n'
    "{{- range $i, $_ := .Messages }}{{ if (and $.IsThinkSet (or .Thinking (gt $i 2))) -}}\n<think>{{ .Thinking }}</think>\n{{ end -}}\n"
    '{{ .Content }}{{- " "}}/{{- .Role }}\n{{ end }}{{ if not $found }}<answer>{{ end }}{{/* end */}}',
    "missing": "{{ .Nothing }}|{{ if .Nothing }}y{{ else }}n{{ end }}|{{ range .Nothing }}x{{ else }}e{{ end }}|{{ eq .Nothing `a` }}",
    "json texts": "{{ json .System }} {{ range .Messages }}{{ .Content | json }} {{ end }}{{ json true }} {{ json 3 }}",
    "date": '{{ currentDate }} {{ $d := currentDate "x" }}{{ $d }}',
    "else with": "{{ with .Tools }}{{ len . }}{{ else with .System }}{{ . }}{{ else }}none{{ end }}",
    "pipes": '{{ .System | len | eq 9 }} {{ (len .System) | ne 9 }} {{ true | and false }} {{ .Messages | len | printf "%d|%d" 5 }}',
}

BROKEN = {
    "unknown function": '{{ exec "ls" }}',
    "unknown variable": "{{ $x }}",
    "no end": "{{ if .System }}a",
    "no close": "{{ .System",
    "stray end": "a{{ end }}",
    "stray else": "{{ else }}",
    "empty": "{{ }}",
    "break outside": "{{ break }}",
    "field of text": "{{ .System.Name }}",
    "unknown field": "{{ range .Messages }}{{ .Nope }}{{ end }}",
    "kinds": '{{ eq 1 "a" }}',
    "out of range": "{{ index .Messages 99 }}",
    "bad slice": "{{ slice .Messages 99 }}",
    "no template": '{{ template "x" }}',
    "two many": "{{ not 1 2 }}",
    "range text": "{{ range .System }}{{ end }}x{{ range 1.5 }}{{ end }}",
    "literal pipe": "{{ 1 | 2 }}",
    "literal called": "{{ 1 2 }}",
    "unterminated": '{{ "abc }}',
    "comment": "{{/* a }}",
    "else if range": "{{ range .Messages }}{{ else if true }}{{ end }}",
    "joined": '{{ eq 1"a" }}',
}
