package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// command is what the command line asks for. With none of the fields but config
// set, it is to serve.
type command struct {
	config      *config
	checkConfig bool
	init        bool
	clear       string // an origin
}

// list is a flag that may be given more than once.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// flags are the flags as given.
type flags struct {
	dev, file, http, name, policy, debug string
	logs, peers                          list
}

func parseArgs(args []string, stderr io.Writer) (*command, error) {
	fs := flag.NewFlagSet("cairn-witness", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, "usage: cairn-witness -dev DIR [-http ADDR] [-name NAME] -log VKEY[,URL]... [-peer PEER]... [-policy FILE]\n"+
			"       cairn-witness -config FILE [-check-config|-init]\n"+
			"       cairn-witness (-dev DIR|-config FILE) -clear ORIGIN\n"+
			"       cairn-witness keygen -key FILE (-name NAME|-show)\n\n")
		fs.PrintDefaults()
		fmt.Fprint(stderr, "\nA witness to try things on:\n  cairn-witness -dev /tmp/witness -log \"$VKEY\"\n")
	}
	var f flags
	cmd := &command{}
	fs.StringVar(&f.dev, "dev", "", "serve on loopback, with key and state under `DIR`, made on the first start")
	fs.StringVar(&f.file, "config", "", "serve as the YAML `FILE` says")
	fs.BoolVar(&cmd.checkConfig, "check-config", false, "only check the configuration")
	fs.BoolVar(&cmd.init, "init", false, "only make the state, and the key file if it is missing: the first start of -config")
	fs.StringVar(&cmd.clear, "clear", "", "only let `ORIGIN` be cosigned again, after it was refused")
	fs.StringVar(&f.http, "http", "", "listen for HTTP on `ADDR`")
	fs.StringVar(&f.name, "name", "", "the `NAME` of a new key")
	fs.StringVar(&f.debug, "debug", "", "serve profiles on the loopback `ADDR`")
	fs.StringVar(&f.policy, "policy", "", "know the witnesses of the tlog-policy in `FILE`")
	fs.Var(&f.logs, "log", "cosign the log with this key: `VKEY[,URL]`, with the URL of its tiles (repeatable)")
	fs.Var(&f.peers, "peer", "gossip with this witness: `PEER` is URL, or VKEY,URL, or its name in -policy (repeatable)")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, usageError{err}
	}
	if fs.NArg() > 0 {
		return nil, usageError{fmt.Errorf("unexpected argument %q", fs.Arg(0))}
	}
	var err error
	if cmd.config, err = f.config(); err != nil {
		return nil, usageError{err}
	}
	if err := cmd.config.check(); err != nil {
		return nil, usageError{fmt.Errorf("checking configuration: %w", err)}
	}
	if cmd.init && cmd.config.dev {
		return nil, usageError{errors.New("-init goes with -config: -dev makes what is missing")}
	}
	return cmd, nil
}

func (f *flags) config() (c *config, err error) {
	switch {
	case (f.dev == "") == (f.file == ""):
		return nil, errors.New("give either -dev DIR or -config FILE")
	case f.dev != "":
		c = devConfig(f.dev)
	default:
		if f.name != "" || len(f.logs) > 0 || len(f.peers) > 0 {
			return nil, errors.New("-name, -log and -peer go with -dev: a configuration has them in its file")
		}
		if c, err = readConfig(f.file); err != nil {
			return nil, err
		}
	}
	c.Name = orElse(f.name, c.Name)
	c.HTTP = orElse(f.http, c.HTTP)
	c.Policy = orElse(f.policy, c.Policy)
	c.Debug = orElse(f.debug, c.Debug)
	for _, s := range f.logs {
		c.addLog(s)
	}
	for _, s := range f.peers {
		c.Peers = append(c.Peers, parsePeer(s))
	}
	return c, nil
}

// addLog adds VKEY[,URL]. A second key of one name is another key of that log.
func (c *config) addLog(s string) {
	vkey, url, _ := cutVKey(s)
	name, _, _ := strings.Cut(vkey, "+")
	for i, l := range c.Logs {
		if have, _, _ := strings.Cut(l.Keys[0], "+"); have == name {
			c.Logs[i].Keys = append(l.Keys, vkey)
			c.Logs[i].URL = orElse(l.URL, url)
			return
		}
	}
	c.Logs = append(c.Logs, logConfig{Keys: []string{vkey}, URL: url})
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// cutVKey cuts VKEY,URL. A vkey is <name>+<hash>+<base64>: a name may hold a
// comma, base64 may hold a plus sign, a URL both.
func cutVKey(s string) (vkey, url string, isVKey bool) {
	f := strings.SplitN(s, "+", 3)
	if len(f) != 3 {
		return s, "", false
	}
	key, url, _ := strings.Cut(f[2], ",")
	return f[0] + "+" + f[1] + "+" + key, url, true
}

func parsePeer(s string) peerConfig {
	if strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") {
		return peerConfig{URL: s}
	}
	if vkey, url, ok := cutVKey(s); ok {
		return peerConfig{VKey: vkey, URL: url}
	}
	return peerConfig{Name: s}
}
