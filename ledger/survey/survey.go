// Package survey keeps a table of what a log says, for those who look rather than
// ask: which packages there are, who obtained them by building and who did not, how
// they stand by a policy that the ledger's operator names, what they are made from,
// and how the log and its witnesses' cosignatures grew.
//
// It follows the log, and judges an artifact again when somebody whom the policy
// hears logs something about it or its ancestry. Requests only read the table. The
// table can be deleted: it follows from the log.
//
// Invariants:
//   - A verdict is that of `cairn verify` by the policy. Until an artifact is judged,
//     after an error, and where no policy names rebuilders, it is unproven or untried,
//     never good.
//   - Who is no rebuilder of the policy changes no verdict, and displaces nothing that
//     a rebuilder of it said. What others say is kept apart, as unheard.
//   - Texts in it are as their signers wrote them, within bounds: who shows them must
//     make them fit to be shown.
//   - A question costs a bounded number of rows, whatever the log holds.
package survey

import "errors"

// ErrNotFound is returned for packages, artifacts and keys that the log does not have.
var ErrNotFound = errors.New("not in the log")
