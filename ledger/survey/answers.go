package survey

import (
	"encoding/json"
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

// Word is what one rebuilder says of an artifact, in one word. Of several statements
// the greatest is the rebuilder's word: who ever got something else is not outvoted
// by itself. Its zero value is that it says nothing.
type Word int

// The words, from the one that says least.
const (
	Silent       Word = iota
	Signed            // vouched for it, or fetched it, without building it
	Inconclusive      // could not tell
	Failed            // could not build it
	Obtained          // it, by building
	Different         // built, and got something else
)

var words = [...]string{
	Silent: "silent", Signed: "signed", Inconclusive: "inconclusive", Failed: "failed", Obtained: "obtained", Different: "different",
}

// String returns the word that JSON has.
func (w Word) String() string { return words[w] }

// MarshalText implements encoding.TextMarshaler.
func (w Word) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// Rebuilder is who has a column of the matrix, or a page: one key.
type Rebuilder struct {
	Key      leaf.Fingerprint `json:"key"`
	Name     string           `json:"name,omitempty"` // in the policy; empty if it does not hear this key
	Operator string           `json:"operator"`       // by the policy, or else by its own word
	Heard    bool             `json:"heard"`
}

// Statement is what one logged claim says of one artifact.
type Statement struct {
	Entry       uint64            `json:"entry"`
	At          time.Time         `json:"at,omitzero"` // of the first checkpoint known to cover it
	Rebuilder   Rebuilder         `json:"rebuilder"`
	Artifact    leaf.Digest       `json:"artifact"`
	Word        Word              `json:"word"`
	Claim       leaf.Claim        `json:"claim"`
	Result      leaf.Result       `json:"result"`
	Output      leaf.Digest       `json:"output,omitempty"`      // what it obtained; empty for nothing
	Environment map[string]string `json:"environment,omitempty"` // in the signer's words
}

// Cell is one rebuilder's word about a package, in the matrix.
type Cell struct {
	Key   leaf.Fingerprint `json:"key"`
	Word  Word             `json:"word"`
	Entry uint64           `json:"entry"` // that says so
}

// Row is a package in the matrix.
type Row struct {
	// Package is the look-up name, or the digest of an artifact that nobody names.
	Package string `json:"package"`
	// Artifact is what goes by the name now: the one that was named last by somebody
	// who is heard, or else by anybody.
	Artifact leaf.Digest `json:"artifact"`
	// Verdict is that of Artifact. Of a name with a version, of which all artifacts
	// are current, it is the worst. Nothing is reproduced by a name that nobody who is
	// heard gives it.
	Verdict   verify.Verdict `json:"verdict"`
	Heard     bool           `json:"heard"`     // somebody who is heard names it
	Artifacts int            `json:"artifacts"` // that ever went by the name
	Last      uint64         `json:"last"`      // the latest entry about it
	// Stage0 is set if its ancestry is stated without a gap, and ends in sources and
	// seeds of the policy alone.
	Stage0 bool `json:"stage0"`
	// Cells are those of who said something, by the order of Page.Rebuilders.
	Cells []Cell `json:"cells"`
	// Others is how many more keys said something, that have no column; one that did
	// so of several current artifacts is counted for each.
	Others int `json:"others,omitempty"`
}

// Filter says which packages are asked for, and in which order.
type Filter struct {
	Verdict      *verify.Verdict // nil for any
	Distribution string          // as of Distribution.Name; empty for any
	Arch         string          // the purl's qualifier; empty for any
	Text         string          // that the name contains; empty for any
	// Everyone also lists what nobody who is heard names. A survey without
	// rebuilders lists everybody's anyway.
	Everyone bool
	// ByName orders by name alone; otherwise what differs comes first, then what
	// failed, is unproven, untried, reproduced, each by name.
	ByName bool
	From   string // a Page.Next, empty for the first page
	Limit  int    // 0 for DefaultRows
}

// DefaultRows is how many rows a page has, and MaxRows the most.
const (
	DefaultRows = 500
	MaxRows     = 1000
)

// Page is a page of the matrix.
type Page struct {
	// Rebuilders are the columns: those of the policy in its order or, without any,
	// the keys that said most. At most MaxColumns.
	Rebuilders []Rebuilder `json:"rebuilders"`
	Rows       []Row       `json:"rows"`
	Next       string      `json:"next,omitempty"`
	// Total is how many rows the filter has on all pages, and Counts those of each
	// verdict for the filter without its verdict.
	Total  int    `json:"total"`
	Counts Counts `json:"counts"`
	// Columns are the words of each of Rebuilders about the packages of the filter, its
	// verdict left out.
	Columns []WordCounts `json:"columns"`
	// Distributions and Archs are what a filter can name.
	Distributions []string `json:"distributions"`
	Archs         []string `json:"archs"`
}

// MaxColumns is how many rebuilders the matrix shows.
const MaxColumns = 24

// Counts says how many packages have a verdict.
type Counts [verify.VerdictUntried + 1]int

// MarshalJSON returns an object by the verdicts' words.
func (c Counts) MarshalJSON() ([]byte, error) {
	byWord := make(map[string]int, len(c))
	for v, n := range c {
		byWord[verify.Verdict(v).String()] = n
	}
	return json.Marshal(byWord)
}

// WordCounts says how often a word was said.
type WordCounts [Different + 1]int

// MarshalJSON returns an object by the words, but for Silent.
func (c WordCounts) MarshalJSON() ([]byte, error) {
	byWord := make(map[string]int, len(c))
	for w := Signed; w <= Different; w++ {
		byWord[w.String()] = c[w]
	}
	return json.Marshal(byWord)
}

// Summary is the ledger at a glance.
type Summary struct {
	Packages   int    `json:"packages"` // that are listed by default
	Unheard    int    `json:"unheard"`  // that are listed beside, for everyone
	Counts     Counts `json:"counts"`
	Rebuilders int    `json:"rebuilders"` // who said something about an artifact
	Operators  int    `json:"operators"`
}

// State is how far the table follows the log.
type State struct {
	Scanned uint64    `json:"scanned"` // entries that were looked at
	Due     int       `json:"due"`     // artifacts that are to be judged again
	Current time.Time `json:"current"` // when it was last up to the log's end; zero for never
	// Problem is why verdicts cannot be relied on now, or nil. While it is set, none
	// is told but unproven.
	Problem error `json:"-"`
	// Policy is the text of the policy that it judges by; empty if nobody is heard.
	Policy string `json:"-"`
}

// Package is all about one name, or one artifact.
type Package struct {
	Package string         `json:"package"` // look-up name, or digest
	Verdict verify.Verdict `json:"verdict"` // as of Row
	Heard   bool           `json:"heard"`
	// Artifacts went by the name, the current first, then the latest; at most
	// MaxArtifacts.
	Artifacts []Artifact `json:"artifacts"`
	More      bool       `json:"more"` // there are more artifacts
}

// MaxArtifacts is how many artifacts a Package has, and MaxStatements and MaxMaterials
// how many statements and materials the first of them; the others have a tenth.
const (
	MaxArtifacts  = 50
	MaxStatements = 500
	MaxMaterials  = 1000
)

// Artifact is one artifact and what is said about it.
type Artifact struct {
	Digest  leaf.Digest    `json:"digest"`
	Names   []string       `json:"names"` // look-up names that it goes by
	Current bool           `json:"current"`
	Verdict verify.Verdict `json:"verdict"`
	// Report is that of the judgement, without ancestry and list of attestations; nil
	// if it was not judged.
	Report *verify.Report `json:"report,omitempty"`
	// Statements are those of who is heard, then the others', each in log order.
	Statements []Statement `json:"statements"`
	More       bool        `json:"more"` // there are more statements
	// Materials are what it was built from, by claims that are heard, or
	// by all if none is.
	Materials []Material `json:"materials"`
	// MoreMaterials is set if there are more than MaxMaterials.
	MoreMaterials bool `json:"moreMaterials"`
}

// Material is what claims say that an artifact was made from.
type Material struct {
	Digest leaf.Digest `json:"digest"`
	Name   string      `json:"name"` // URI or name, in the signer's words
	Role   string      `json:"role"` // source, toolchain, library, seed or nothing
	// Built is set if somebody claims to have built it; then Verdict is its.
	Built   bool           `json:"built"`
	Verdict verify.Verdict `json:"verdict"`
}

// Graph is what an artifact is made from, down to sources and seeds.
type Graph struct {
	Target leaf.Digest `json:"target"`
	Nodes  []Node      `json:"nodes"` // the target first
	Edges  []Edge      `json:"edges"`
	// Rebuilders is how many could have obtained each node: the denominators are the
	// policy's, or else who ever built anything here.
	Rebuilders int  `json:"rebuilders"`
	Truncated  bool `json:"truncated"` // there are more nodes or edges
}

// MaxNodes is how many nodes a Graph has, and MaxEdges how many edges.
const (
	MaxNodes = 2000
	MaxEdges = 20_000
)

// Node is an artifact, a source or a seed of a Graph.
type Node struct {
	Digest  leaf.Digest    `json:"digest"`
	Package string         `json:"package,omitempty"` // by which /p/ finds it
	Name    string         `json:"name"`              // for people, in the signer's words
	Role    string         `json:"role,omitempty"`    // of a material
	Built   bool           `json:"built"`             // somebody claims to have built it
	Pinned  bool           `json:"pinned"`            // a source, or a seed of the policy
	Verdict verify.Verdict `json:"verdict"`           // of what is built
	// Obtained is how many of Graph.Rebuilders obtained it.
	Obtained int `json:"obtained"`
}

// Edge says that Nodes[To] was made from Nodes[From].
type Edge struct {
	From int    `json:"from"`
	To   int    `json:"to"`
	Role string `json:"role,omitempty"`
}

// Profile is all about one rebuilder.
type Profile struct {
	Rebuilder
	URL      string           `json:"url,omitempty"`
	Enrolled uint64           `json:"enrolled"`
	Revoked  *uint64          `json:"revoked,omitempty"`
	Endorser leaf.Fingerprint `json:"endorser,omitempty"`
	Words    WordCounts       `json:"words"` // its words about artifacts
	// Agrees and Disagrees count the artifacts that have a verdict, reproduced or
	// differs, and of which it says the same or the opposite; 0 for who is not heard.
	Agrees    int `json:"agrees"`
	Disagrees int `json:"disagrees"`
	// Days are those on which it logged something, at most a year back, in order.
	Days []Day `json:"days"`
	// Environments are those in its statements, the most frequent first.
	Environments []Environment `json:"environments"`
	Latest       []Statement   `json:"latest"` // first
}

// Day is how many statements were logged on a day (UTC).
type Day struct {
	Date  string     `json:"date"` // 2006-01-02
	Words WordCounts `json:"words"`
}

// Environment is a set of machines, in the signers' words.
type Environment struct {
	Values     map[string]string `json:"values"`
	Statements int               `json:"statements"`
}

// Disagreement is a statement of somebody who is heard or, without rebuilders, of
// anybody, that an artifact is not what building it gives.
type Disagreement struct {
	Package   string         `json:"package"`
	Verdict   verify.Verdict `json:"verdict"`
	Statement Statement      `json:"statement"`
}

// Distribution compares the artifacts of one distribution: of one type and namespace
// of package URLs, such as deb/debian. All are counted that somebody who is heard
// names, or, without rebuilders, anybody.
type Distribution struct {
	Name     string `json:"name"`
	Packages int    `json:"packages"`
	Counts   Counts `json:"counts"`
	// Single and Multi are the packages whose artifact exactly one, or more operators
	// signed for, in whatever way.
	Single int `json:"single"`
	Multi  int `json:"multi"`
	// Operators, Engines, CPUVendors and Countries are those who obtained an artifact
	// by building it.
	Operators  int `json:"operators"`
	Engines    int `json:"engines"`
	CPUVendors int `json:"cpuVendors"`
	Countries  int `json:"countries"`
	// Stage0 are the packages whose ancestry is stated without a gap, and ends in
	// sources and seeds of the policy alone.
	Stage0 int `json:"stage0"`
}

// Point is the size of the log at a time.
type Point struct {
	At   time.Time `json:"at"`
	Size uint64    `json:"size"`
}

// Cosigned is a published checkpoint and who cosigned it.
type Cosigned struct {
	Size uint64    `json:"size"`
	At   time.Time `json:"at"` // of the latest cosignature, or when it was first seen
	// Times are those of the cosignatures, by the name of the witness's key.
	Times map[string]time.Time `json:"times"`
}
