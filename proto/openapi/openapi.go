// Package openapi holds the OpenAPI 2.0 description of the ledger's REST API,
// generated from the comments and HTTP annotations of proto/cairn/v1. It is
// data only, so that a server can hand it out without a file on disk.
package openapi

import _ "embed"

// JSON is the document, as cairn.swagger.json holds it. Callers must not modify
// it.
//
//go:embed cairn.swagger.json
var JSON []byte
