package verify

import (
	"slices"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// takeMaterial finds the keys that are one: an OpenPGP key and a PEM key, or two
// OpenPGP keys, that sign with the same key material. A signer has what it needs
// for both, so that they are one rebuilder, whatever they are called.
func (ev *Evidence) takeMaterial(entries []verified) {
	group := make(map[leaf.Fingerprint]leaf.Fingerprint) // towards the name of the group
	root := func(fp leaf.Fingerprint) leaf.Fingerprint {
		for group[fp] != "" && group[fp] != fp {
			fp = group[fp]
		}
		return fp
	}
	signs := make(map[leaf.Fingerprint]leaf.Fingerprint) // by the material, one key that has it
	seen := make(map[leaf.Fingerprint]bool)
	for i := range entries {
		for _, k := range entries[i].Keys {
			seen[k.Fingerprint] = true
			for _, spki := range k.SPKIs() {
				if other, ok := signs[spki]; ok {
					a, b := root(other), root(k.Fingerprint)
					group[max(a, b)] = min(a, b)
				} else {
					signs[spki] = k.Fingerprint
				}
			}
		}
	}
	members := make(map[leaf.Fingerprint][]leaf.Fingerprint)
	for fp := range seen {
		members[root(fp)] = append(members[root(fp)], fp)
	}
	ev.same = make(map[leaf.Fingerprint][]leaf.Fingerprint)
	for _, list := range members {
		if len(list) < 2 {
			continue
		}
		slices.Sort(list)
		for _, fp := range list {
			ev.same[fp] = list
		}
	}
}

// sameAs returns the key that a heard key counts as: the first that is heard of
// those with its key material.
func (g *graph) sameAs(key leaf.Fingerprint) leaf.Fingerprint {
	for _, fp := range g.ev.same[key] {
		if _, ok := g.by.voter(fp); ok {
			return fp
		}
	}
	return key
}
