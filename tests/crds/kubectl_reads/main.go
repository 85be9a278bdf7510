// What kubectl makes of a text: its decoder, then the way of the value to the API server and back as JSON.
// A float is written {"$float": "1.5"}, since 1.0 and 1 look alike in JSON.
package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strconv"

	"k8s.io/apimachinery/pkg/runtime"
	jsonutil "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func tag(v any) any {
	switch x := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, e := range x {
			m[k] = tag(e)
		}
		return m
	case []any:
		l := make([]any, len(x))
		for i, e := range x {
			l[i] = tag(e)
		}
		return l
	case float64:
		return map[string]any{"$float": strconv.FormatFloat(x, 'g', -1, 64)}
	}
	return v
}

func read(text string) (docs []any, err error) {
	docs = []any{}
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(text)), 4096)
	for {
		ext := runtime.RawExtension{}
		if err = d.Decode(&ext); err != nil {
			if err == io.EOF {
				return docs, nil
			}
			return nil, err
		}
		raw := bytes.TrimSpace(ext.Raw)
		if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
			continue
		}
		var v any
		for i := 0; i < 2; i++ {
			v = nil
			if err = jsonutil.Unmarshal(raw, &v); err != nil {
				return nil, err
			}
			if raw, err = json.Marshal(v); err != nil {
				return nil, err
			}
		}
		docs = append(docs, tag(v))
	}
}

// Renews the table: go mod tidy && go run . < table.jsonl > new && mv new table.jsonl
func main() {
	in := json.NewDecoder(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for {
		var line struct {
			Text string `json:"text"`
		}
		if err := in.Decode(&line); err == io.EOF {
			return
		} else if err != nil {
			panic(err)
		}
		answer := map[string]any{"text": line.Text}
		if docs, err := read(line.Text); err != nil {
			answer["error"] = err.Error()
		} else {
			answer["documents"] = docs
		}
		if err := out.Encode(answer); err != nil {
			panic(err)
		}
	}
}
