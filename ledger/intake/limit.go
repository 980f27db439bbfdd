package intake

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
)

// Limits is how fast keys and addresses may submit.
type Limits struct {
	PerKey     Rate `yaml:"perKey"`
	PerAddress Rate `yaml:"perAddress"`
}

// Rate is a token bucket. The zero Rate does not limit.
type Rate struct {
	PerSecond float64 `yaml:"perSecond"` // submissions that the bucket gains a second
	Burst     int     `yaml:"burst"`     // submissions that it holds
}

// trackedBuckets bounds the memory of the limits. Whoever is forgotten starts
// with a full bucket again.
const trackedBuckets = 1 << 16

type limiters struct {
	keys, addresses *buckets
}

func newLimiters(l Limits) *limiters {
	return &limiters{keys: newBuckets(l.PerKey), addresses: newBuckets(l.PerAddress)}
}

func (l *limiters) allowAddress(addr string) error {
	return l.addresses.allow("address", networkOf(addr))
}

// networkOf returns whom an address belongs to: whoever has one of IPv6 has all of
// its /64.
func networkOf(addr string) string {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Unmap().Is4() {
		return addr
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return addr
	}
	return p.String()
}

// allowKeys is asked about what would be a new entry alone: anybody may submit
// again what a key signed, and copies of an OpenPGP key, and must not use up what
// the key may.
func (l *limiters) allowKeys(att *attest.Attestation) error {
	if att.Leaf.Format == attest.FormatOpenPGPKey {
		return nil
	}
	for _, k := range att.Keys {
		if err := l.keys.allow("key", string(k.Fingerprint)); err != nil {
			return err
		}
	}
	return nil
}

// buckets is one token bucket for each of many names.
type buckets struct {
	rate Rate
	mu   sync.Mutex // makes look-up and creation one step
	lru  *lru.Cache[string, *rate.Limiter]
}

func newBuckets(r Rate) *buckets {
	if r.PerSecond <= 0 {
		return nil
	}
	cache, err := lru.New[string, *rate.Limiter](trackedBuckets)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &buckets{rate: r, lru: cache}
}

func (b *buckets) allow(what, name string) error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	l, ok := b.lru.Get(name)
	if !ok {
		l = rate.NewLimiter(rate.Limit(b.rate.PerSecond), max(1, b.rate.Burst))
		b.lru.Add(name, l)
	}
	b.mu.Unlock()
	r := l.Reserve()
	delay := r.Delay()
	if delay == 0 {
		return nil
	}
	r.Cancel()
	return &reason.Error{
		Reason:     reason.RateLimited,
		Message:    fmt.Sprintf("%s %s submits faster than %g a second", what, name, b.rate.PerSecond),
		RetryAfter: delay.Round(time.Second) + time.Second,
	}
}
