// Renders the cases of make_go_goldens.py with Go's own text/template, over values of the types that
// Ollama's template package uses. Reads a JSON list of cases on stdin, writes a JSON list of results.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"
)

type names []string

func (n *names) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*n = names{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(n))
}

func (n names) MarshalJSON() ([]byte, error) {
	if len(n) == 1 {
		return json.Marshal(n[0])
	}
	return json.Marshal([]string(n))
}

func (n names) String() string {
	switch len(n) {
	case 0:
		return ""
	case 1:
		return n[0]
	}
	return fmt.Sprint([]string(n))
}

type arguments map[string]any

func (a arguments) String() string { return asJSON(a) }

type properties map[string]property

func (p properties) String() string { return asJSON(p) }

type property struct {
	AnyOf       []property `json:"anyOf,omitempty"`
	Type        names      `json:"type,omitempty"`
	Items       any        `json:"items,omitempty"`
	Description string     `json:"description,omitempty"`
	Enum        []any      `json:"enum,omitempty"`
	Properties  properties `json:"properties,omitempty"`
	Required    []string   `json:"required,omitempty"`
}

type tools []tool

func (t tools) String() string { return asJSON(t) }

type tool struct {
	Type     string   `json:"type"`
	Items    any      `json:"items,omitempty"`
	Function function `json:"function"`
}

func (t tool) String() string { return asJSON(t) }

type function struct {
	Name        string     `json:"name"`
	Description string     `json:"description"`
	Parameters  parameters `json:"parameters"`
}

func (f function) String() string { return asJSON(f) }

type parameters struct {
	Type       string     `json:"type"`
	Defs       any        `json:"$defs,omitempty"`
	Items      any        `json:"items,omitempty"`
	Required   []string   `json:"required,omitempty"`
	Properties properties `json:"properties"`
}

func (p parameters) String() string { return asJSON(p) }

type message struct {
	Role       string `json:"role"`
	Content    string `json:"content"`
	Thinking   string `json:"thinking"`
	Images     []any  `json:"images"`
	ToolCalls  []call `json:"tool_calls"`
	ToolName   string `json:"tool_name"`
	ToolCallID string `json:"tool_call_id"`
}

type call struct {
	ID       string `json:"id"`
	Function called `json:"function"`
}

type called struct {
	Index     int       `json:"index"`
	Name      string    `json:"name"`
	Arguments arguments `json:"arguments"`
}

func asJSON(value any) string {
	text, _ := json.Marshal(value)
	return string(text)
}

func render(source string, system string, messages []*message, offered tools) (text string, err error) {
	functions := template.FuncMap{
		"json":        asJSON,
		"currentDate": func(...string) string { return "2026-07-31" },
	}
	parsed, err := template.New("").Option("missingkey=zero").Funcs(functions).Parse(source)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = parsed.Execute(&out, map[string]any{
		"System": system, "Messages": messages, "Tools": offered,
		"Response": "", "Think": true, "ThinkLevel": "", "IsThinkSet": true,
	})
	return out.String(), err
}

func main() {
	var cases []struct {
		Source   string     `json:"source"`
		System   string     `json:"system"`
		Messages []*message `json:"messages"`
		Tools    tools      `json:"tools"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	results := make([]map[string]string, len(cases))
	for i, one := range cases {
		text, err := render(one.Source, one.System, one.Messages, one.Tools)
		if err != nil {
			results[i] = map[string]string{"error": strings.ToValidUTF8(err.Error(), "?")}
		} else {
			results[i] = map[string]string{"text": text}
		}
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(results); err != nil {
		panic(err)
	}
}
