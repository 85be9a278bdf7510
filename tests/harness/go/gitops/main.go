// What GitOps tools conclude from Kubernetes objects, by the libraries that they use themselves: kstatus, the
// Lua of Argo CD's health checks, and Flux' evaluator of health check expressions.
//
// It reads one JSON question from stdin and writes one JSON answer for each of its objects to stdout.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// A question is about objects as the API server shows them. Scripts are by kind, expressions as a Kustomization
// has them; a kind that has none gets no answer of that tool.
type question struct {
	Objects     []json.RawMessage             `json:"objects"`
	Scripts     map[string]string             `json:"scripts"`
	Expressions []kustomize.CustomHealthCheck `json:"expressions"`
}

type conclusion struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type answer struct {
	Kstatus conclusion  `json:"kstatus"`
	Argo    *conclusion `json:"argo,omitempty"`
	Flux    *conclusion `json:"flux,omitempty"`
}

func main() {
	answers, err := answerAll()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(answers)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answerAll() ([]answer, error) {
	var asked question
	input := json.NewDecoder(os.Stdin)
	input.DisallowUnknownFields()
	if err := input.Decode(&asked); err != nil {
		return nil, err
	}
	answers := []answer{}
	for _, body := range asked.Objects {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(body); err != nil {
			return nil, err
		}
		found, err := answerOne(object, asked)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		answers = append(answers, found)
	}
	return answers, nil
}

func answerOne(object *unstructured.Unstructured, asked question) (answer, error) {
	computed, err := status.Compute(object)
	if err != nil {
		return answer{}, err
	}
	found := answer{Kstatus: conclusion{Status: computed.Status.String(), Message: computed.Message}}
	if script, ok := asked.Scripts[object.GetKind()]; ok {
		if found.Argo, err = health(object, script); err != nil {
			return answer{}, err
		}
	}
	for _, check := range asked.Expressions {
		if check.APIVersion != object.GetAPIVersion() || check.Kind != object.GetKind() {
			continue
		}
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			return answer{}, err
		}
		evaluated, err := evaluator.Evaluate(context.Background(), object)
		if err != nil {
			return answer{}, err
		}
		found.Flux = &conclusion{Status: evaluated.Status.String()}
	}
	return found, nil
}

// health runs a script with the libraries that Argo CD gives to one that asks for no others.
func health(object *unstructured.Unstructured, script string) (*conclusion, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	} {
		call := lua.P{Fn: state.NewFunction(open), Protect: true}
		if err := state.CallByParam(call, lua.LString(name)); err != nil {
			return nil, err
		}
	}
	limit, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	state.SetContext(limit)
	state.SetGlobal("obj", luaValue(state, object.Object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return nil, fmt.Errorf("the script returned %s; expected a table", state.Get(-1).Type())
	}
	return &conclusion{
		Status:  lua.LVAsString(table.RawGetString("status")),
		Message: lua.LVAsString(table.RawGetString("message")),
	}, nil
}

func luaValue(state *lua.LState, value any) lua.LValue {
	switch given := value.(type) {
	case bool:
		return lua.LBool(given)
	case string:
		return lua.LString(given)
	case int64:
		return lua.LNumber(given)
	case float64:
		return lua.LNumber(given)
	case []any:
		table := state.CreateTable(len(given), 0)
		for _, item := range given {
			table.Append(luaValue(state, item))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(given))
		for name, item := range given {
			table.RawSetString(name, luaValue(state, item))
		}
		return table
	}
	return lua.LNil
}
