// Package cairnv1 is the ledger's API, generated from the .proto files beside
// it: the messages, the gRPC service, and the gateway that serves the service
// as REST. docs/api.md is the same API for people.
//
// Only servers, clients and commands import it. The packages that verify
// (ledger/leaf, attest, policy, verify, checkpoint) do not, so that a verifier
// stays small enough to read.
package cairnv1
