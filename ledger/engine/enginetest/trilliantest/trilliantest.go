// Package trilliantest is a Trillian in memory, for tests: the calls of its log
// server that package engine makes, over gRPC, and a signer. It is honest: the tree
// is transparency-dev's, and leaves are taken as Trillian v1.8.0 takes them. Faults
// are those that it is told to have.
package trilliantest

import (
	"context"
	"errors"
	"net"
	"path"
	"slices"
	"sync"
	"testing"

	"github.com/google/trillian"
	"github.com/google/trillian/types"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/cairnlog/cairn/ledger/engine"
)

// Server is a log server and signer with one tree.
type Server struct {
	trillian.UnimplementedTrillianLogServer
	trillian.UnimplementedTrillianAdminServer

	mu         sync.Mutex
	leaves     []*trillian.LogLeaf // by index; those beyond the size are not integrated
	identities map[string]bool
	size       uint64
	nodes      map[compact.NodeID][]byte
	held       bool // the signer
	fail       func(method string) error
	root       func(root *types.LogRootV1)
	leaf       func(leaf *trillian.LogLeaf)
}

// Tree is the id of the server's tree.
const Tree = 42

// Start starts a server, and returns a connection to it.
func Start(t testing.TB) (*Server, *grpc.ClientConn) {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	s := serve(t, listener)
	conn, err := engine.DialTrillian("passthrough:///trillian", nil, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return listener.DialContext(ctx)
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // nothing is under way
	return s, conn
}

// Listen starts a server on loopback, for other processes, and returns its address.
func Listen(t testing.TB) (*Server, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, listener), listener.Addr().String()
}

func serve(t testing.TB, listener net.Listener) *Server {
	s := &Server{identities: make(map[string]bool), nodes: make(map[compact.NodeID][]byte)}
	server := grpc.NewServer(grpc.UnaryInterceptor(s.intercept), grpc.MaxRecvMsgSize(16<<20))
	trillian.RegisterTrillianLogServer(server, s)
	trillian.RegisterTrillianAdminServer(server, s)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("Trillian's server: %v", err)
		}
	})
	return s
}

// Fail has each call ask f, by the name of its method, whether to fail; it may be
// nil. The error must be one of package status. f may be called concurrently.
func (s *Server) Fail(f func(method string) error) { s.set(func() { s.fail = f }) }

// Hold stops the signer, or has it go on.
func (s *Server) Hold(held bool) {
	s.set(func() {
		s.held = held
		s.integrate(uint64(len(s.leaves)))
	})
}

// Integrate has the signer, which must be held, integrate leaves up to a size; there
// must be as many.
func (s *Server) Integrate(size uint64) {
	s.set(func() {
		s.held = false
		s.integrate(size)
		s.held = true
	})
}

// ForgeRoot changes every root that is answered.
func (s *Server) ForgeRoot(f func(root *types.LogRootV1)) { s.set(func() { s.root = f }) }

// ForgeLeaf changes every leaf that is answered, but not the tree.
func (s *Server) ForgeLeaf(f func(leaf *trillian.LogLeaf)) { s.set(func() { s.leaf = f }) }

// Restore makes the server's database what it was when the tree had a size, as an
// older backup is.
func (s *Server) Restore(size uint64) {
	s.set(func() {
		for _, l := range s.leaves[size:] {
			delete(s.identities, string(l.LeafIdentityHash))
		}
		s.leaves = s.leaves[:size]
		s.size = size
	})
}

// Fed returns how many leaves there are, integrated or not.
func (s *Server) Fed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.leaves)
}

// Leaves returns the leaves of the tree.
func (s *Server) Leaves() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var leaves [][]byte
	for _, l := range s.leaves[:s.size] {
		leaves = append(leaves, l.LeafValue)
	}
	return leaves
}

func (s *Server) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// intercept runs one call at a time, unless it is to fail.
func (s *Server) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	s.mu.Lock()
	fail := s.fail
	s.mu.Unlock()
	if fail != nil {
		if err := fail(path.Base(info.FullMethod)); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return handler(ctx, req)
}

// integrate is the signer's work.
func (s *Server) integrate(size uint64) {
	if s.held || size <= s.size {
		return
	}
	ids := compact.RangeNodes(0, s.size, nil)
	hashes := make([][]byte, len(ids))
	for i, id := range ids {
		hashes[i] = s.nodes[id]
	}
	r, err := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewRange(0, s.size, hashes)
	if err != nil {
		panic(err)
	}
	for _, l := range s.leaves[s.size:size] {
		if err := r.Append(rfc6962.DefaultHasher.HashLeaf(l.LeafValue), func(id compact.NodeID, hash []byte) { s.nodes[id] = hash }); err != nil {
			panic(err)
		}
	}
	s.size = size
}

// AddSequencedLeaves implements Trillian's.
func (s *Server) AddSequencedLeaves(_ context.Context, req *trillian.AddSequencedLeavesRequest) (*trillian.AddSequencedLeavesResponse, error) {
	resp := &trillian.AddSequencedLeavesResponse{}
	for i, l := range req.Leaves {
		if len(l.LeafValue) == 0 || l.LeafIndex != req.Leaves[0].LeafIndex+int64(i) || len(l.LeafIdentityHash) != 32 {
			return nil, status.Errorf(codes.InvalidArgument, "leaf %d is not as it must be", i)
		}
		if l.LeafIndex > int64(len(s.leaves)) {
			return nil, status.Errorf(codes.InvalidArgument, "leaf %d leaves a gap, which Trillian allows and engine must not make", l.LeafIndex)
		}
		result := &trillian.QueuedLogLeaf{Status: status.New(codes.OK, "").Proto()}
		switch {
		case s.identities[string(l.LeafIdentityHash)]:
			result.Status = status.New(codes.FailedPrecondition, "conflicting LeafIdentityHash").Proto()
		case l.LeafIndex < int64(len(s.leaves)):
			result.Status = status.New(codes.FailedPrecondition, "conflicting LeafIndex").Proto()
		default:
			s.leaves = append(s.leaves, l)
			s.identities[string(l.LeafIdentityHash)] = true
		}
		resp.Results = append(resp.Results, result)
	}
	s.integrate(uint64(len(s.leaves)))
	return resp, nil
}

// GetLatestSignedLogRoot implements Trillian's.
func (s *Server) GetLatestSignedLogRoot(context.Context, *trillian.GetLatestSignedLogRootRequest) (*trillian.GetLatestSignedLogRootResponse, error) {
	root := types.LogRootV1{TreeSize: s.size, RootHash: rfc6962.DefaultHasher.EmptyRoot()}
	if ids := compact.RangeNodes(0, s.size, nil); len(ids) > 0 {
		root.RootHash = s.nodes[ids[len(ids)-1]]
		for _, id := range slices.Backward(ids[:len(ids)-1]) {
			root.RootHash = rfc6962.DefaultHasher.HashChildren(s.nodes[id], root.RootHash)
		}
	}
	if s.root != nil {
		s.root(&root)
	}
	b, err := root.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return &trillian.GetLatestSignedLogRootResponse{SignedLogRoot: &trillian.SignedLogRoot{LogRoot: b}}, nil
}

// GetConsistencyProof implements Trillian's.
func (s *Server) GetConsistencyProof(_ context.Context, req *trillian.GetConsistencyProofRequest) (*trillian.GetConsistencyProofResponse, error) {
	nodes, err := proof.Consistency(uint64(req.FirstTreeSize), uint64(req.SecondTreeSize))
	if err != nil || uint64(req.SecondTreeSize) > s.size {
		return nil, status.Errorf(codes.InvalidArgument, "sizes %d and %d: %v", req.FirstTreeSize, req.SecondTreeSize, err)
	}
	hashes := make([][]byte, len(nodes.IDs))
	for i, id := range nodes.IDs {
		hashes[i] = s.nodes[id]
	}
	hashes, err = nodes.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
	return &trillian.GetConsistencyProofResponse{Proof: &trillian.Proof{Hashes: hashes}}, err
}

// GetLeavesByRange implements Trillian's: it answers with leaves that are not
// integrated, too.
func (s *Server) GetLeavesByRange(_ context.Context, req *trillian.GetLeavesByRangeRequest) (*trillian.GetLeavesByRangeResponse, error) {
	resp := &trillian.GetLeavesByRangeResponse{}
	if req.Count <= 0 || req.StartIndex < 0 {
		return nil, status.Error(codes.InvalidArgument, "the range is not one")
	}
	if req.StartIndex >= int64(s.size) {
		return resp, nil
	}
	for _, l := range s.leaves[req.StartIndex:min(int64(len(s.leaves)), req.StartIndex+req.Count)] {
		answer := &trillian.LogLeaf{LeafIndex: l.LeafIndex, LeafValue: slices.Clone(l.LeafValue)}
		if s.leaf != nil {
			s.leaf(answer)
		}
		resp.Leaves = append(resp.Leaves, answer)
	}
	return resp, nil
}

// CreateTree implements Trillian's: every tree is the same.
func (s *Server) CreateTree(_ context.Context, req *trillian.CreateTreeRequest) (*trillian.Tree, error) {
	if req.Tree.TreeType != trillian.TreeType_PREORDERED_LOG || req.Tree.TreeState != trillian.TreeState_ACTIVE {
		return nil, status.Error(codes.InvalidArgument, "the tree is not an active PREORDERED_LOG")
	}
	req.Tree.TreeId = Tree
	return req.Tree, nil
}

// InitLog implements Trillian's.
func (s *Server) InitLog(context.Context, *trillian.InitLogRequest) (*trillian.InitLogResponse, error) {
	return &trillian.InitLogResponse{}, nil
}
