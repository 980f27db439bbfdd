package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/trillian"
	"github.com/google/trillian/client"
	"github.com/google/trillian/types"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cairnlog/cairn/ledger/reason"
)

// Bounds of one call. A log server takes 4 MiB in a message unless it is told
// otherwise, and gives whatever it is asked for.
const (
	feedLeaves  = 1000
	feedBytes   = 3 << 20
	readLeaves  = 1024
	readFirst   = 256     // leaves that are asked for while their size is not known
	readBytes   = 4 << 20 // that leaves may have which are asked for at once, by those before
	maxMessage  = readLeaves*(maxLeaf+256) + 1<<20
	readTimeout = 5 * time.Second
	feedTimeout = 20 * time.Second // MariaDB takes two statements a leaf
)

// retryAfter is when a storage that was unavailable is worth a retry.
const retryAfter = time.Second

// Every call may be repeated, so one that a log server did not answer goes to
// another.
const serviceConfig = `{
	"loadBalancingConfig": [{"round_robin": {}}],
	"methodConfig": [{
		"name": [{"service": "trillian.TrillianLog"}],
		"retryPolicy": {
			"maxAttempts": 3,
			"initialBackoff": "0.02s",
			"maxBackoff": "0.2s",
			"backoffMultiplier": 2,
			"retryableStatusCodes": ["UNAVAILABLE"]
		}
	}]
}`

// DialTrillian returns a connection to Trillian's log servers. The target is a name
// in DNS, which has the addresses of all of them, dns:///trillian-log-server:8090,
// or a list, one:8090,two:8090. Calls go to each in turn that answers. Without
// credentials it is not encrypted. One that answers nothing is asked, too, but not
// waited for. It connects when it is used first.
func DialTrillian(target string, creds credentials.TransportCredentials, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	if strings.Contains(target, ",") {
		servers := manual.NewBuilderWithScheme("servers")
		var state resolver.State
		for addr := range strings.SplitSeq(target, ",") {
			state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}})
		}
		servers.InitialState(state)
		opts = append(opts, grpc.WithResolvers(servers))
		target = servers.Scheme() + ":///" + target
	}
	// Pings more often than every five minutes make a server hang up. What finds a
	// dead peer while calls are under way is the timeout, which is TCP's, too.
	alive := keepalive.ClientParameters{Time: 5 * time.Minute, Timeout: readTimeout}
	conn, err := grpc.NewClient(target, append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithKeepaliveParams(alive),
		grpc.WithChainUnaryInterceptor(new(again).call),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
	}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("connecting to Trillian's log servers at %s: %w", target, err)
	}
	return conn, nil
}

// CreateTree makes a tree for a log in Trillian, and returns its id. Each call makes
// another one: the caller records the id.
func CreateTree(ctx context.Context, conn grpc.ClientConnInterface, description string) (int64, error) {
	tree, err := client.CreateAndInitTree(ctx, &trillian.CreateTreeRequest{Tree: &trillian.Tree{
		TreeState:       trillian.TreeState_ACTIVE,
		TreeType:        trillian.TreeType_PREORDERED_LOG,
		DisplayName:     "cairn",
		Description:     description[:min(len(description), 200)],
		MaxRootDuration: durationpb.New(0), // no root without new leaves
	}}, trillian.NewTrillianAdminClient(conn), trillian.NewTrillianLogClient(conn))
	if err != nil {
		return 0, explain("creating a tree in Trillian", err)
	}
	return tree.TreeId, nil
}

// logClient calls Trillian's log servers about one tree.
type logClient struct {
	rpc  trillian.TrillianLogClient
	tree int64
}

func newLogClient(conn grpc.ClientConnInterface, tree int64) logClient {
	return logClient{trillian.NewTrillianLogClient(conn), tree}
}

// root returns the root of Trillian's tree.
func (c logClient) root(ctx context.Context) (tlog.Tree, error) {
	const what = "reading the root of Trillian's tree"
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	resp, err := c.rpc.GetLatestSignedLogRoot(ctx, &trillian.GetLatestSignedLogRootRequest{LogId: c.tree})
	if err != nil {
		return tlog.Tree{}, explain(what, err)
	}
	return parseRoot(what, resp.GetSignedLogRoot())
}

func parseRoot(what string, signed *trillian.SignedLogRoot) (tlog.Tree, error) {
	var root types.LogRootV1
	if err := root.UnmarshalBinary(signed.GetLogRoot()); err != nil {
		return tlog.Tree{}, fmt.Errorf("%s: %w", what, err)
	}
	// Trillian's PostgreSQL storage makes a failure of its query a root of size 0
	// without a hash; it must not pass for a tree that lost its leaves.
	if len(root.RootHash) != tlog.HashSize || root.TreeSize > 1<<62 {
		return tlog.Tree{}, unavailable(what, fmt.Errorf("it has a hash of %d bytes", len(root.RootHash)))
	}
	return tlog.Tree{N: int64(root.TreeSize), Hash: tlog.Hash(root.RootHash)}, nil
}

// consistency returns the proof that Trillian's tree extends that of a size.
func (c logClient) consistency(ctx context.Context, from, to uint64) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	resp, err := c.rpc.GetConsistencyProof(ctx, &trillian.GetConsistencyProofRequest{
		LogId: c.tree, FirstTreeSize: int64(from), SecondTreeSize: int64(to),
	})
	if err != nil {
		return nil, explain("reading a consistency proof of Trillian's tree", err)
	}
	return resp.GetProof().GetHashes(), nil
}

// leaves returns leaves from an index on, of a range that is within Trillian's tree:
// at least one, and not many more once they have the bytes of limit. What a failure
// leaves unread is read by the next call.
func (c logClient) leaves(ctx context.Context, from, to uint64, limit int) ([][]byte, error) {
	var leaves [][]byte
	bytes, ask := 0, uint64(readFirst)
	for next := from; next < to && bytes < limit; next = from + uint64(len(leaves)) {
		got, err := c.someLeaves(ctx, next, min(to-next, ask))
		if err != nil && len(leaves) > 0 && isTransient(err) {
			break
		}
		if err != nil {
			return nil, err
		}
		leaves = append(leaves, got...)
		for _, leaf := range got {
			bytes += len(leaf)
		}
		ask = min(max(readBytes*uint64(len(leaves))/uint64(max(bytes, 1)), 1), readLeaves)
	}
	return leaves, nil
}

// someLeaves returns at least one leaf, and at most count.
func (c logClient) someLeaves(ctx context.Context, from, count uint64) ([][]byte, error) {
	what := fmt.Sprintf("reading leaf %d from Trillian", from)
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	resp, err := c.rpc.GetLeavesByRange(ctx, &trillian.GetLeavesByRangeRequest{LogId: c.tree, StartIndex: int64(from), Count: int64(count)})
	if err != nil {
		return nil, explain(what, err)
	}
	if len(resp.GetLeaves()) == 0 {
		return nil, unavailable(what, errMissingLeaf)
	}
	leaves := make([][]byte, 0, len(resp.GetLeaves()))
	for i, l := range resp.GetLeaves() {
		if l.GetLeafIndex() != int64(from)+int64(i) || uint64(i) >= count {
			return nil, unavailable(what, fmt.Errorf("answer %d is leaf %d", i, l.GetLeafIndex()))
		}
		leaves = append(leaves, l.GetLeafValue())
	}
	return leaves, nil
}

var errMissingLeaf = errors.New("the tree has no such leaf")

// add has Trillian take leaves from an index on. That one is there already is no
// error, whatever it is: what Trillian has is compared when it is read back.
func (c logClient) add(ctx context.Context, from uint64, leaves [][]byte) error {
	const what = "adding leaves to Trillian"
	req := &trillian.AddSequencedLeavesRequest{LogId: c.tree, Leaves: make([]*trillian.LogLeaf, len(leaves))}
	for i, leaf := range leaves {
		index := from + uint64(i)
		req.Leaves[i] = &trillian.LogLeaf{LeafIndex: int64(index), LeafValue: leaf, LeafIdentityHash: identity(index, leaf)}
	}
	ctx, cancel := context.WithTimeout(ctx, feedTimeout)
	defer cancel()
	resp, err := c.rpc.AddSequencedLeaves(ctx, req)
	if err != nil {
		return explain(what, err)
	}
	if n := len(resp.GetResults()); n != len(leaves) {
		return unavailable(what, fmt.Errorf("it answered about %d of %d", n, len(leaves)))
	}
	for i, r := range resp.GetResults() {
		switch s := r.GetStatus(); codes.Code(s.GetCode()) {
		case codes.OK, codes.AlreadyExists, codes.FailedPrecondition:
		default:
			return explain(fmt.Sprintf("adding leaf %d to Trillian", from+uint64(i)), status.ErrorProto(s))
		}
	}
	return nil
}

// identity returns the hash by which Trillian recognises a leaf that it has. The
// index is in it, because Trillian takes one leaf of an identity, and a log may have
// equal leaves.
func identity(index uint64, leaf []byte) []byte {
	h := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, index), rfc6962.DefaultHasher.HashLeaf(leaf)...))
	return bytes.Clone(h[:])
}

// explain makes of an error of a call what Trillian's methods promise. A log server
// passes on the errors of its database as UNKNOWN or INTERNAL, also that it has just
// been restarted; so only what says that the request itself is wrong does not pass.
func explain(what string, err error) error {
	switch status.Code(err) {
	case codes.NotFound, codes.FailedPrecondition, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented:
		return fmt.Errorf("%s: %w: check the tree in Trillian, and the address of its log server", what, err)
	case codes.InvalidArgument, codes.OutOfRange, codes.AlreadyExists:
		return fmt.Errorf("%s: %w", what, err)
	}
	return unavailable(what, err)
}

func unavailable(what string, err error) error {
	return &reason.Error{
		Reason:     reason.StorageUnavailable,
		Message:    fmt.Sprintf("%s: %v", what, err),
		RetryAfter: retryAfter,
		Cause:      err,
	}
}

// isTransient reports whether an error of any of the log's storages may pass.
func isTransient(err error) bool { return reason.Is(err, reason.StorageUnavailable) }
