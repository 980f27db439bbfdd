package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// options is what the command line says.
type options struct {
	ledger      string // binary; built if empty
	dir         string // below which temporary state is kept
	url         string // of a running ledger, instead of one that is started
	grpcAddr    string
	vkey        string
	pid         int
	concurrency []int
	transports  []string
	duration    time.Duration
	warmup      time.Duration
	count       int // entries of a run; 0 if the duration bounds it
	perSecond   int // attestations prepared for each second of a run
	keys        int
	padding     int
	proofs      bool
	proofConc   int
	ceilings    bool
	overload    bool
	ceilingTime time.Duration
	state       string // directory in which the started ledger's state is kept
	json        string
	checkpoints string
	maxKept     int
	witness     string // binary; built if empty
	witnesses   int    // of the ledger that is compared with one without
	quorum      int
}

const (
	transportGRPC = "grpc"
	transportREST = "rest"
)

const maxDuration = 10 * time.Minute

// errUsage is wrapped by errors in the command line.
var errUsage = errors.New("usage")

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("loadgen", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.ledger, "ledger", "", "start the cairn-ledger `FILE`; built from source if empty")
	fs.StringVar(&o.dir, "dir", os.TempDir(), "keep temporary state below `DIR`")
	fs.StringVar(&o.state, "state", "", "keep the started ledger's state in `DIR`, and leave it there")
	fs.StringVar(&o.url, "url", "", "load the running ledger at `URL`, with -grpc-addr, instead of starting one")
	fs.StringVar(&o.grpcAddr, "grpc-addr", "", "gRPC `ADDR` of the running ledger")
	fs.StringVar(&o.vkey, "vkey", "", "check the running ledger's checkpoints with `KEY`; the one it shows if empty")
	fs.IntVar(&o.pid, "pid", 0, "process `ID` of the running ledger, to measure its CPU and memory")
	concurrency := fs.String("concurrency", "16,256,1024,4096", "numbers of submitters, one run each")
	transport := fs.String("transport", "grpc,rest", "how to submit")
	fs.DurationVar(&o.duration, "duration", 10*time.Second, "length of each run")
	fs.DurationVar(&o.warmup, "warmup", time.Second, "load before the clock of each run starts")
	fs.IntVar(&o.count, "count", 0, "submit `N` attestations in each run, however long that takes")
	fs.IntVar(&o.perSecond, "prepare", 8000, "attestations to sign beforehand for each second of a run; a run that has sent all of them ends early")
	fs.IntVar(&o.keys, "keys", 64, "keys to enrol and sign with")
	fs.IntVar(&o.padding, "size", 0, "further bytes in each attestation's payload")
	fs.BoolVar(&o.proofs, "proofs", true, "measure inclusion proofs over REST")
	fs.IntVar(&o.proofConc, "proof-concurrency", 64, "requesters of proofs")
	fs.BoolVar(&o.overload, "overload", true, "offer ten times what a ledger takes on at once, and read from it meanwhile")
	fs.BoolVar(&o.ceilings, "ceilings", true, "measure what bounds the ledger")
	fs.DurationVar(&o.ceilingTime, "ceiling-duration", 3*time.Second, "length of each measurement of a ceiling")
	fs.StringVar(&o.json, "json", "", "also write the results to `FILE`")
	fs.StringVar(&o.checkpoints, "save-checkpoints", "", "only make one run of -count entries, over the first -transport at the first -concurrency (256 if not given), "+
		"and save the checkpoints of its answers to `FILE`")
	fs.IntVar(&o.maxKept, "max-checkpoints", 200, "save at most `N` checkpoints, evenly spread")
	o.witnessFlags(fs)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("%w: unexpected argument %q", errUsage, fs.Arg(0))
	}
	var err error
	if o.concurrency, err = parseCounts(*concurrency); err != nil {
		return nil, fmt.Errorf("%w: -concurrency: %w", errUsage, err)
	}
	if o.checkpoints != "" && !isSet(fs, "concurrency") {
		o.concurrency = []int{256}
	}
	if *transport != "" {
		o.transports = strings.Split(*transport, ",")
	}
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return o, nil
}

func (o *options) witnessFlags(fs *flag.FlagSet) {
	fs.IntVar(&o.witnesses, "witnesses", 3, "compare, over grpc at 1024, a ledger that `N` witnesses cosign with one without; 0 is not to")
	fs.IntVar(&o.quorum, "quorum", 2, "publish once `K` of the witnesses have cosigned")
	fs.StringVar(&o.witness, "witness", "", "start the cairn-witness `FILE`; built from source if empty")
}

// compares reports whether a ledger with witnesses is to be measured too. It
// cannot be where a ledger that others started is.
func (o *options) compares() bool { return o.witnesses > 0 && o.url == "" && o.checkpoints == "" }

func isSet(fs *flag.FlagSet, name string) bool {
	set := false
	fs.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

func parseCounts(s string) ([]int, error) {
	var counts []int
	for word := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > 8192 {
			return nil, fmt.Errorf("%q is not a number from 1 to 8192", word)
		}
		counts = append(counts, n)
	}
	return counts, nil
}

func (o *options) check() error {
	for _, t := range o.transports {
		if t != transportGRPC && t != transportREST {
			return fmt.Errorf("-transport %q is neither grpc nor rest", t)
		}
	}
	switch {
	case o.duration <= 0 || o.duration > maxDuration || o.warmup < 0 || o.warmup > maxDuration:
		return fmt.Errorf("-duration and -warmup must be at most %v, and -duration positive", maxDuration)
	case o.ceilingTime <= 0 || o.ceilingTime > maxDuration:
		return fmt.Errorf("-ceiling-duration must be positive and at most %v", maxDuration)
	case o.count < 0 || o.perSecond < 1 || o.keys < 1 || o.padding < 0 || o.padding > 512<<10 || o.proofConc < 1 || o.maxKept < 2:
		return errors.New("a number is out of range")
	case o.witnesses < 0 || o.witnesses > 64:
		return errors.New("-witnesses must be from 0 to 64")
	case o.witnesses > 0 && (o.quorum < 1 || o.quorum > o.witnesses):
		return fmt.Errorf("-quorum must be from 1 to the %d -witnesses", o.witnesses)
	case o.checkpoints != "" && (o.count == 0 || len(o.transports) == 0):
		return errors.New("-save-checkpoints needs -count and a -transport")
	case (o.url == "") != (o.grpcAddr == ""):
		return errors.New("-url and -grpc-addr go together")
	case o.url != "" && (o.ledger != "" || o.state != ""):
		return errors.New("-ledger and -state are for a ledger that is started, -url is for one that runs")
	case o.url != "":
		return checkLoopbackURL(o.url, o.grpcAddr)
	}
	return nil
}

// checkLoopbackURL refuses to load anything that is not on this machine.
func checkLoopbackURL(rawURL, grpcAddr string) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return fmt.Errorf("-url: %w", err)
	}
	if u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return fmt.Errorf("-url %q is not of the form http://127.0.0.1:8080", rawURL)
	}
	for _, addr := range []string{u.Host, grpcAddr} {
		if err := checkLoopback(addr); err != nil {
			return err
		}
	}
	return nil
}

func checkLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %q: %w", addr, err)
	}
	// A name is not resolved: it could mean another machine tomorrow.
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.IsLoopback() {
		return fmt.Errorf("address %q is not on loopback: only this machine may be loaded", addr)
	}
	return nil
}
