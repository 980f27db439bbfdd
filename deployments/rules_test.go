package deployments_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// object is a manifest, or a part of one.
type object = map[string]any

func decode(t *testing.T, text string) (objects []object) {
	t.Helper()
	for d := yaml.NewDecoder(bytes.NewReader([]byte(text))); ; {
		var o object
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
}

// at returns what is at a path of a manifest; nil if there is nothing.
func at(o any, path ...string) any {
	for _, p := range path {
		m, _ := o.(object)
		o = m[p]
	}
	return o
}

func list(o any, path ...string) (objects []object) {
	values, _ := at(o, path...).([]any)
	for _, v := range values {
		if m, ok := v.(object); ok {
			objects = append(objects, m)
		}
	}
	return objects
}

func name(o object) string { return fmt.Sprintf("%v %v", o["kind"], at(o, "metadata", "name")) }

// isEngine says whether a container is BuildKit's, the only one that is privileged.
func isEngine(o, container object) bool {
	return name(o) == "StatefulSet cairn-builder" && container["name"] == "engine"
}

// podFindings are what is wrong with pods by our own rules, which are those of the
// pod security standard "restricted", and more.
func podFindings(objects []object) (findings []string) {
	for _, o := range objects {
		template, _ := at(o, "spec", "template").(object)
		if template == nil {
			continue
		}
		pod, _ := template["spec"].(object)
		if pod["automountServiceAccountToken"] != false {
			findings = append(findings, name(o)+" is given a token of the API")
		}
		containers := append(list(pod, "initContainers"), list(pod, "containers")...)
		if len(containers) == 0 {
			findings = append(findings, name(o)+" has no containers")
		}
		for _, c := range containers {
			for _, f := range containerFindings(pod, c, isEngine(o, c)) {
				findings = append(findings, fmt.Sprintf("%s: %v %s", name(o), c["name"], f))
			}
		}
	}
	return findings
}

func containerFindings(pod, c object, engine bool) (findings []string) {
	security := func(key string) any {
		if v := at(c, "securityContext", key); v != nil {
			return v
		}
		return at(pod, "securityContext", key)
	}
	for _, rule := range []struct {
		broken bool
		what   string
	}{
		{!engine && (security("runAsNonRoot") != true || security("runAsUser") == nil || security("runAsUser") == 0), "may run as root"},
		{security("readOnlyRootFilesystem") != true, "can write its root file system"},
		{!engine && security("allowPrivilegeEscalation") != false, "may gain privileges"},
		{!engine && fmt.Sprint(security("capabilities")) != "map[drop:[ALL]]", "keeps capabilities"},
		{!engine && security("privileged") != nil, "is privileged"},
		{at(security("seccompProfile"), "type") != "RuntimeDefault", "has no seccomp profile"},
		{at(c, "resources", "limits", "memory") == nil, "has no limit of memory"},
		{at(c, "resources", "limits", "cpu") == nil, "has no limit of cpu"},
		{at(c, "resources", "requests", "memory") == nil, "requests no memory"},
		{!pinned(c["image"]), "has an image that is not pinned"},
	} {
		if rule.broken {
			findings = append(findings, rule.what)
		}
	}
	return findings
}

// pinned says whether an image is named by a digest, or by the tag of a version.
func pinned(image any) bool {
	ref, _ := image.(string)
	if strings.Contains(ref, "@sha256:") {
		return true
	}
	_, tag, ok := strings.Cut(ref[strings.LastIndexByte(ref, '/')+1:], ":")
	return ok && tag != "" && tag != "latest"
}
