// Package debian takes files from Debian by name, and makes root file systems
// of its packages.
//
// Everything that comes from an archive comes through apt, with the sources,
// proxies and keys of the machine, in a private directory: the machine's own
// package state is neither read nor changed. No host is named here.
//
// Invariants:
//   - apt's verification is never turned off or weakened. A repository that apt
//     cannot verify gives nothing.
//   - A root file system is a function of the packages' bytes and of the
//     architecture alone: sorted, with time zero, no maintainer script run.
//   - Two packages that do not agree on a path are an error, never an order.
//   - A lock has one text: Parse accepts what Format writes and nothing else.
package debian
