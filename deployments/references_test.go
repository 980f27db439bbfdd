package deployments_test

import (
	"fmt"
	"maps"
	"slices"
)

// referenceFindings are the names in manifests that lead nowhere: selectors, ports,
// volumes and ConfigMaps. Secrets are made by hand, and so are the ConfigMap and the
// claim that builders share.
func referenceFindings(objects []object) (findings []string) {
	configMaps := map[any]bool{"cairn-policy": true}
	var pods []object // templates
	for _, o := range objects {
		if o["kind"] == "ConfigMap" {
			configMaps[at(o, "metadata", "name")] = true
		}
		if template, ok := at(o, "spec", "template").(object); ok {
			pods = append(pods, template)
			if o["kind"] != "Job" && !selects(at(o, "spec", "selector", "matchLabels"), template) {
				findings = append(findings, name(o)+" does not select its own pods")
			}
			for _, f := range volumeFindings(o, template, configMaps) {
				findings = append(findings, name(o)+": "+f)
			}
		}
	}
	for _, o := range objects {
		if o["kind"] == "Service" {
			findings = append(findings, serviceFindings(o, pods)...)
		}
	}
	return findings
}

// selects says whether labels, which are some, are labels of a pod.
func selects(labels any, template object) bool {
	want, _ := labels.(object)
	have, _ := at(template, "metadata", "labels").(object)
	for key, value := range want {
		if have[key] != value {
			return false
		}
	}
	return len(want) > 0
}

func volumeFindings(o, template object, configMaps map[any]bool) (findings []string) {
	volumes := make(map[any]bool)
	for _, v := range list(template, "spec", "volumes") {
		volumes[v["name"]] = true
		if m := at(v, "configMap", "name"); m != nil && !configMaps[m] {
			findings = append(findings, fmt.Sprintf("no ConfigMap %v", m))
		}
	}
	for _, v := range list(o, "spec", "volumeClaimTemplates") {
		volumes[at(v, "metadata", "name")] = true
	}
	used := make(map[any]bool)
	for _, c := range append(list(template, "spec", "initContainers"), list(template, "spec", "containers")...) {
		for _, m := range list(c, "volumeMounts") {
			used[m["name"]] = true
			if !volumes[m["name"]] {
				findings = append(findings, fmt.Sprintf("no volume %v", m["name"]))
			}
		}
	}
	for v := range volumes {
		if !used[v] {
			findings = append(findings, fmt.Sprintf("volume %v is mounted nowhere", v))
		}
	}
	return findings
}

func serviceFindings(service object, pods []object) (findings []string) {
	ports := make(map[any]bool)
	found := false
	for _, p := range pods {
		if !selects(at(service, "spec", "selector"), p) {
			continue
		}
		found = true
		for _, c := range list(p, "spec", "containers") {
			for _, port := range list(c, "ports") {
				ports[port["name"]], ports[port["containerPort"]] = true, true
			}
		}
	}
	if !found {
		return []string{name(service) + " selects no pods"}
	}
	for _, port := range list(service, "spec", "ports") {
		if !ports[port["targetPort"]] {
			findings = append(findings, fmt.Sprintf("%s: no pod has port %v, of %v", name(service), port["targetPort"], slices.Collect(maps.Keys(ports))))
		}
	}
	return findings
}
