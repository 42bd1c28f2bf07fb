// Renders a Helm chart without Helm, which Debian does not have: for tests.
//
//	render [-release NAME] [-namespace NAME] [-values FILE] CHART     prints {"objects": [...], "notes": "..."}
//
// It covers what `helm template` does with one chart: values.yaml with another file's values over it (null deletes),
// .Values, .Chart, .Release, .Files, .Template and .Capabilities; text/template with Sprig, without env and expandenv; and
// Helm's own functions include, tpl, required, fail, lookup (finds nothing), toYaml, fromYaml, fromYamlArray, toJson,
// fromJson and fromJsonArray. Files are those that Helm would pack: links are followed, .helmignore (names and *.suffix
// only) leaves out. It does not know subcharts, library charts, crds, hooks, toToml, or values.schema.json, and says so
// where a chart has the first three. Objects come out in the order of their files, as the API server would get them.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"sigs.k8s.io/yaml"
)

type object = map[string]interface{}

// The chart's files by their path in it.
type files map[string][]byte

func (f files) Get(name string) string      { return string(f[name]) }
func (f files) GetBytes(name string) []byte { return f[name] }
func (f files) Glob(pattern string) files {
	found := files{}
	for name, data := range f {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			found[name] = data
		}
	}
	return found
}
func (f files) Lines(name string) []string {
	return strings.Split(strings.TrimSuffix(f.Get(name), "\n"), "\n")
}

type apiVersions []string

func (a apiVersions) Has(version string) bool {
	for _, each := range a {
		if each == version {
			return true
		}
	}
	return false
}

// Those that match a line of .helmignore.
func ignored(name string, patterns []string) bool {
	for _, pattern := range patterns {
		if ok, err := path.Match(pattern, path.Base(name)); err == nil && ok {
			return true
		}
	}
	return false
}

func readPatterns(chart string) ([]string, error) {
	file, err := os.Open(filepath.Join(chart, ".helmignore"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var patterns []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if strings.ContainsAny(line, "/!") && !strings.HasPrefix(line, "#") {
			return nil, fmt.Errorf(".helmignore: %q: only names and *.suffix are known here", line)
		}
		if line != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, line)
		}
	}
	return patterns, nil
}

// Puts what lies below `directory` into `all`; links are followed, as Helm does.
func readFiles(directory, prefix string, patterns []string, all files) error {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := path.Join(prefix, entry.Name())
		full := filepath.Join(directory, entry.Name())
		info, err := os.Stat(full)
		if err != nil {
			return err
		}
		switch {
		case ignored(name, patterns):
		case info.IsDir():
			if name == "charts" || name == "crds" {
				return fmt.Errorf("%s: not known here", name)
			}
			if err := readFiles(full, name, patterns, all); err != nil {
				return err
			}
		default:
			if all[name], err = os.ReadFile(full); err != nil {
				return err
			}
		}
	}
	return nil
}

// `over` over `base`: objects become one, null deletes, anything else replaces.
func merge(base, over object) object {
	merged := object{}
	for key, value := range base {
		merged[key] = value
	}
	for key, value := range over {
		inner, isObject := value.(object)
		below, wasObject := merged[key].(object)
		switch {
		case value == nil:
			delete(merged, key)
		case isObject && wasObject:
			merged[key] = merge(below, inner)
		default:
			merged[key] = value
		}
	}
	return merged
}

func toYaml(value interface{}) string {
	data, err := yaml.Marshal(value)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(data), "\n")
}

// As Helm: an error is told under the key "Error".
func fromYaml(text string) object {
	value := object{}
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		value["Error"] = err.Error()
	}
	return value
}

func fromYamlArray(text string) []interface{} {
	value := []interface{}{}
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		value = []interface{}{err.Error()}
	}
	return value
}

func toJson(value interface{}) string {
	data, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(data)
}

func functions(templates *template.Template) template.FuncMap {
	known := sprig.TxtFuncMap()
	delete(known, "env")
	delete(known, "expandenv")
	include := func(name string, data interface{}) (string, error) {
		var text strings.Builder
		err := templates.ExecuteTemplate(&text, name, data)
		return text.String(), err
	}
	helm := template.FuncMap{
		"include":       include,
		"toYaml":        toYaml,
		"fromYaml":      fromYaml,
		"fromYamlArray": fromYamlArray,
		"toJson":        toJson,
		"fromJson":      fromYaml,
		"fromJsonArray": fromYamlArray,
		"fail":          func(text string) (string, error) { return "", errors.New(text) },
		"lookup":        func(string, string, string, string) object { return object{} },
		"required": func(warning string, value interface{}) (interface{}, error) {
			if text, isText := value.(string); value == nil || (isText && text == "") {
				return nil, errors.New(warning)
			}
			return value, nil
		},
		"tpl": func(text string, data interface{}) (string, error) {
			copied, err := templates.Clone()
			if err != nil {
				return "", err
			}
			if copied, err = copied.New("tpl").Parse(text); err != nil {
				return "", err
			}
			var out strings.Builder
			err = copied.Execute(&out, data)
			return out.String(), err
		},
	}
	for name, function := range helm {
		known[name] = function
	}
	return known
}

type rendered struct {
	Objects []object `json:"objects"`
	Notes   string   `json:"notes"`
}

// As Helm: lines of three dashes part the documents; those without content count for nothing.
func documents(text string) []string {
	var all []string
	current := ""
	for _, line := range strings.SplitAfter(text, "\n") {
		if strings.HasPrefix(line, "---") {
			all, current = append(all, current), ""
			continue
		}
		current += line
	}
	return append(all, current)
}

func render(chart, release, namespace string, over object) (rendered, error) {
	out := rendered{Objects: []object{}}
	patterns, err := readPatterns(chart)
	if err != nil {
		return out, err
	}
	all := files{}
	if err := readFiles(chart, "", patterns, all); err != nil {
		return out, err
	}
	values, about := object{}, object{}
	if err := yaml.UnmarshalStrict(all["values.yaml"], &values); err != nil {
		return out, fmt.Errorf("values.yaml: %w", err)
	}
	if err := yaml.UnmarshalStrict(all["Chart.yaml"], &about); err != nil {
		return out, fmt.Errorf("Chart.yaml: %w", err)
	}
	if about["dependencies"] != nil || about["type"] == "library" {
		return out, errors.New("Chart.yaml: dependencies and library charts are not known here")
	}
	chartFields := object{"IsRoot": true}
	for key, value := range about {
		chartFields[strings.ToUpper(key[:1])+key[1:]] = value
	}
	loose := files{}
	var names []string
	for name, data := range all {
		if strings.HasPrefix(name, "templates/") {
			names = append(names, name)
		} else if name != "values.yaml" && name != "Chart.yaml" && name != "values.schema.json" {
			loose[name] = data
		}
	}
	sort.Strings(names)

	root := fmt.Sprint(about["name"])
	templates := template.New(root).Option("missingkey=zero")
	templates.Funcs(functions(templates))
	for _, name := range names {
		if _, err := templates.New(path.Join(root, name)).Parse(string(all[name])); err != nil {
			return out, err
		}
	}
	for _, name := range names {
		if strings.HasPrefix(path.Base(name), "_") {
			continue
		}
		full := path.Join(root, name)
		var text strings.Builder
		err := templates.ExecuteTemplate(&text, full, object{
			"Values":   merge(values, over),
			"Chart":    chartFields,
			"Files":    loose,
			"Template": object{"Name": full, "BasePath": path.Join(root, "templates")},
			"Release": object{"Name": release, "Namespace": namespace, "Service": "Helm", "Revision": 1,
				"IsInstall": true, "IsUpgrade": false},
			"Capabilities": object{
				"KubeVersion": object{"Version": "v1.26.0", "Major": "1", "Minor": "26"},
				"APIVersions": apiVersions{"v1", "apps/v1", "policy/v1", "networking.k8s.io/v1", "scheduling.k8s.io/v1"},
			},
		})
		if err != nil {
			return out, err
		}
		// What text/template says of a missing value; Helm leaves it out.
		result := strings.ReplaceAll(text.String(), "<no value>", "")
		if path.Base(name) == "NOTES.txt" {
			out.Notes = result
			continue
		}
		for _, document := range documents(result) {
			value := object{}
			if err := yaml.UnmarshalStrict([]byte(document), &value); err != nil {
				return out, fmt.Errorf("%s: %w\n%s", full, err, document)
			}
			if len(value) > 0 {
				out.Objects = append(out.Objects, value)
			}
		}
	}
	return out, nil
}

func main() {
	release := flag.String("release", "cowherd", "name of the release")
	namespace := flag.String("namespace", "cowherd", "namespace of the release")
	over := flag.String("values", "", "file with values that go before the chart's own")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	err := func() error {
		given := object{}
		if *over != "" {
			text, err := os.ReadFile(*over)
			if err != nil {
				return err
			}
			if err := yaml.UnmarshalStrict(text, &given); err != nil {
				return fmt.Errorf("%s: %w", *over, err)
			}
		}
		out, err := render(flag.Arg(0), *release, *namespace, given)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(out)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}
