package web

import (
	"net/http"

	"github.com/cairnlog/cairn/ledger/reason"
)

// What is being written by others; each moves to a file of its own.
var errUnwritten = reason.Errorf(reason.InternalError, "this page is not written yet")
