package deployments_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// signerFindings are what is wrong with how Trillian is run, by docs/trillian.md.
// Trillians are the arguments of its log servers and signers, by the names of their
// services. Two signers at once corrupt the tree unless the transactions of each are
// isolated; a log server relies on PostgreSQL's default.
func signerFindings(trillians map[string][]string) (findings []string) {
	const isolation = "default_transaction_isolation"
	intervals := make(map[string]bool)
	signers := 0
	for name, args := range trillians {
		flags := make(map[string]string)
		for _, a := range args {
			key, value, _ := strings.Cut(strings.TrimPrefix(a, "--"), "=")
			flags[key] = value
		}
		uri, err := url.Parse(flags["postgresql_uri"])
		if err != nil || uri.Host == "" {
			findings = append(findings, fmt.Sprintf("%s has no database: %v", name, err))
			continue
		}
		isolated := uri.Query().Get(isolation)
		if !strings.Contains(name, "signer") {
			if isolated != "" {
				findings = append(findings, name+" has another isolation than PostgreSQL's default")
			}
			continue
		}
		signers++
		intervals[flags["sequencer_interval"]] = true
		_, master := flags["force_master"]
		_, elected := flags["election_system"]
		for _, rule := range []struct {
			broken bool
			what   string
		}{
			{isolated != "repeatable read", "lacks the isolation without which two signers corrupt the tree"},
			{!master || elected, "is not a master by itself: an election is neither needed nor enough"},
			{flags["sequencer_interval"] == "" || flags["batch_size"] == "", "does not say how often it integrates, and how much"},
		} {
			if rule.broken {
				findings = append(findings, name+" "+rule.what)
			}
		}
	}
	if signers < 2 || len(intervals) != signers {
		findings = append(findings, fmt.Sprintf("%d signers have %d intervals: want two, one of which takes over", signers, len(intervals)))
	}
	return findings
}

// composeTrillians and manifestTrillians return what signerFindings takes.
func composeTrillians(p *project) map[string][]string {
	trillians := make(map[string][]string)
	for name, s := range p.Services {
		if strings.Contains(s.Image, "trillian-log-") {
			trillians[name] = s.Command
		}
	}
	return trillians
}

func manifestTrillians(objects []object) map[string][]string {
	trillians := make(map[string][]string)
	for _, o := range objects {
		for _, c := range list(o, "spec", "template", "spec", "containers") {
			if !strings.Contains(fmt.Sprint(c["image"]), "trillian-log-") {
				continue
			}
			args, _ := c["args"].([]any)
			for _, a := range args {
				trillians[name(o)] = append(trillians[name(o)], fmt.Sprint(a))
			}
		}
	}
	return trillians
}

func TestSigners(t *testing.T) {
	p, report := compose(t, "compose/compose.yaml")
	if p == nil {
		t.Fatal(report)
	}
	all := map[string]map[string][]string{"compose": composeTrillians(p)}
	for _, o := range []string{"overlays/distributed", "overlays/sample"} {
		all[o] = manifestTrillians(decode(t, kustomize(t, o)))
	}
	for where, trillians := range all {
		if len(trillians) != 3 {
			t.Errorf("%s: found %d log servers and signers, want 3", where, len(trillians))
		}
		for _, f := range signerFindings(trillians) {
			t.Errorf("%s: %s", where, f)
		}
	}
}

func TestBrokenSigners(t *testing.T) {
	const isolated = "?default_transaction_isolation=repeatable%20read"
	signer := func(uri, interval string, more ...string) []string {
		return append([]string{"--postgresql_uri=postgres://trillian@postgres/trillian" + uri, "--sequencer_interval=" + interval, "--batch_size=1000"}, more...)
	}
	good, master := signer(isolated, "50ms", "--force_master"), "--force_master"
	for _, tt := range []struct {
		name   string
		server string // options of its URI
		second []string
		want   string
	}{
		{name: "good", second: signer(isolated, "1s", master)},
		{name: "default isolation", second: signer("", "1s", master), want: "signer-2 lacks the isolation"},
		{name: "read committed", second: signer("?default_transaction_isolation=read%20committed", "1s", master), want: "signer-2 lacks the isolation"},
		{name: "elected", second: signer(isolated, "1s", master, "--election_system=k8s"), want: "signer-2 is not a master"},
		{name: "no master", second: signer(isolated, "1s"), want: "signer-2 is not a master"},
		{name: "both as often", second: signer(isolated, "50ms", master), want: "2 signers have 1 intervals"},
		{name: "no database", second: []string{master}, want: "signer-2 has no database"},
		{name: "an isolated log server", server: isolated, second: signer(isolated, "1s", master), want: "log-server has another isolation"},
	} {
		var want []string
		found := signerFindings(map[string][]string{"log-server": signer(tt.server, ""), "signer-1": good, "signer-2": tt.second})
		if tt.want == "" {
			if diff := cmp.Diff(want, found); diff != "" {
				t.Errorf("%s: findings (-want +got):\n%s", tt.name, diff)
			}
		} else if !strings.Contains(strings.Join(found, "\n"), tt.want) {
			t.Errorf("%s: findings %q, want %q", tt.name, found, tt.want)
		}
	}
}
