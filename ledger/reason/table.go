package reason

// The reasons, in the order of table.
const (
	EnvelopeTooLarge     Reason = "ENVELOPE_TOO_LARGE"
	TooManySubjects      Reason = "TOO_MANY_SUBJECTS"
	TooManyOutputs       Reason = "TOO_MANY_OUTPUTS"
	TooManyKeys          Reason = "TOO_MANY_KEYS"
	TooManyMaterials     Reason = "TOO_MANY_MATERIALS"
	FormatUnknown        Reason = "FORMAT_UNKNOWN"
	EnvelopeMalformed    Reason = "ENVELOPE_MALFORMED"
	PayloadTypeUnknown   Reason = "PAYLOAD_TYPE_UNKNOWN"
	PayloadNotStatement  Reason = "PAYLOAD_NOT_STATEMENT"
	SubjectMissing       Reason = "SUBJECT_MISSING"
	SubjectWithoutDigest Reason = "SUBJECT_WITHOUT_DIGEST"
	DigestInvalid        Reason = "DIGEST_INVALID"
	PurlInvalid          Reason = "PURL_INVALID"
	PredicateInvalid     Reason = "PREDICATE_INVALID"
	DocumentInvalid      Reason = "DOCUMENT_INVALID"
	EnrolmentInvalid     Reason = "ENROLMENT_INVALID"
	RevocationInvalid    Reason = "REVOCATION_INVALID"
	SignatureMissing     Reason = "SIGNATURE_MISSING"
	SignatureInvalid     Reason = "SIGNATURE_INVALID"
	SignatureTooWeak     Reason = "SIGNATURE_TOO_WEAK"
	KeyUnsupported       Reason = "KEY_UNSUPPORTED"
	KeyNotValid          Reason = "KEY_NOT_VALID"
	KeyNotEnrolled       Reason = "KEY_NOT_ENROLLED"
	KeyRevoked           Reason = "KEY_REVOKED"
	CertificateUntrusted Reason = "CERTIFICATE_UNTRUSTED"
	RevokerNotAuthorised Reason = "REVOKER_NOT_AUTHORISED"
	KeyUnsettled         Reason = "KEY_UNSETTLED"
	RateLimited          Reason = "RATE_LIMITED"
	Overloaded           Reason = "OVERLOADED"
	StorageUnavailable   Reason = "STORAGE_UNAVAILABLE"
	LedgerHalted         Reason = "LEDGER_HALTED"
	ShuttingDown         Reason = "SHUTTING_DOWN"
	PublicationDelayed   Reason = "PUBLICATION_DELAYED"
	DeadlinePassed       Reason = "DEADLINE_PASSED"
	ArgumentInvalid      Reason = "ARGUMENT_INVALID"
	SizeOutOfRange       Reason = "SIZE_OUT_OF_RANGE"
	EntryNotFound        Reason = "ENTRY_NOT_FOUND"
	AttestationNotFound  Reason = "ATTESTATION_NOT_FOUND"
	KeyNotFound          Reason = "KEY_NOT_FOUND"
	NothingPublished     Reason = "NOTHING_PUBLISHED"
	BuildsAbsent         Reason = "BUILDS_ABSENT"
	BuildNotFound        Reason = "BUILD_NOT_FOUND"
	BuildEnded           Reason = "BUILD_ENDED"
	LeaseLost            Reason = "LEASE_LOST"
	TokenRefused         Reason = "TOKEN_REFUSED"
	RekorAbsent          Reason = "REKOR_ABSENT"
	MirrorOnly           Reason = "MIRROR_ONLY"
	InternalError        Reason = "INTERNAL_ERROR"
)

var table = []Row{
	{EnvelopeTooLarge, ResourceExhausted, 413, ExitUsage,
		"The attestation is larger than the ledger takes.",
		"Keep logs and files out of the statement: give their digests as byproducts."},
	{TooManySubjects, ResourceExhausted, 413, ExitUsage,
		"The statement has more subjects than the ledger takes.",
		"Attest in several statements."},
	{TooManyOutputs, ResourceExhausted, 413, ExitUsage,
		"The reproduction has more outputs than the ledger takes.",
		"Attest in several statements."},
	{TooManyKeys, ResourceExhausted, 413, ExitUsage,
		"The envelope has more signatures than the ledger takes.",
		"Submit envelopes with fewer signatures each."},
	{TooManyMaterials, ResourceExhausted, 413, ExitUsage,
		"The statement has more resolved dependencies than the ledger takes.",
		"Attest in several statements."},
	{FormatUnknown, InvalidArgument, 400, ExitUsage,
		"The bytes are in no format that the ledger knows.",
		"Submit a DSSE envelope: a JSON object with payloadType, payload and signatures."},
	{EnvelopeMalformed, InvalidArgument, 400, ExitUsage,
		"The envelope does not parse: bad JSON, a duplicate member, bad base64, a wrong type.",
		"Correct the envelope; `cairn attest` writes good ones."},
	{PayloadTypeUnknown, InvalidArgument, 400, ExitUsage,
		"The envelope's payloadType is not one that the ledger logs.",
		"Use application/vnd.in-toto+json, or the enrol, endorse and revoke types of docs/formats.md."},
	{PayloadNotStatement, InvalidArgument, 400, ExitUsage,
		"The payload is not an in-toto Statement v1.",
		"Make the payload a Statement whose _type is https://in-toto.io/Statement/v1."},
	{SubjectMissing, InvalidArgument, 400, ExitUsage,
		"The statement has no subject.",
		"Name what the statement is about, with its digest."},
	{SubjectWithoutDigest, InvalidArgument, 400, ExitUsage,
		"A subject or output has neither a sha256 nor a sha512 digest.",
		"Give each a sha256 digest; weaker digests cannot identify it."},
	{DigestInvalid, InvalidArgument, 400, ExitUsage,
		"A digest is not lower-case hex of its algorithm's length.",
		"Write digests in lower-case hex."},
	{PurlInvalid, InvalidArgument, 400, ExitUsage,
		"A package URL does not parse.",
		"Write it as the purl specification says: pkg:type/namespace/name@version?qualifiers."},
	{PredicateInvalid, InvalidArgument, 400, ExitUsage,
		"The predicate does not parse, lacks a required field or contradicts itself.",
		"Compare it with docs/formats.md."},
	{DocumentInvalid, InvalidArgument, 400, ExitUsage,
		"What was signed with OpenPGP is not as its format has it, or contradicts itself.",
		"Compare it with the page of its format in docs/formats; what a program wrote is signed as it is."},
	{EnrolmentInvalid, InvalidArgument, 400, ExitUsage,
		"The enrolment's payload is not as specified, or not signed by the key in it alone; or an endorsement's, or not by one other key.",
		"Enrol with `cairn enrol --key KEY --operator URI`, endorse with `cairn endorse --key KEY --operator URI PUBLIC-KEY`."},
	{RevocationInvalid, InvalidArgument, 400, ExitUsage,
		"The revocation's payload is not as specified.",
		"Compare it with docs/formats.md."},
	{SignatureMissing, InvalidArgument, 400, ExitUsage,
		"The envelope has no signature.",
		"Sign it."},
	{SignatureInvalid, InvalidArgument, 400, ExitNo,
		"A signature does not verify.",
		"Sign the envelope's pre-authentication encoding again with the named key; every signature must verify."},
	{SignatureTooWeak, InvalidArgument, 400, ExitNo,
		"A signature is of a kind that can be forged: over MD5 or SHA-1, or by a DSA key.",
		"Sign again with a better digest: in gpg, with --digest-algo SHA512."},
	{KeyUnsupported, InvalidArgument, 400, ExitUsage,
		"The key is of a kind that the ledger does not take, or has nothing that may sign.",
		"Use Ed25519, ECDSA P-256, or an OpenPGP key of RSA, ECDSA or EdDSA with its self-signatures."},
	{KeyNotValid, FailedPrecondition, 400, ExitNo,
		"The OpenPGP key might not sign at the time at which the signature was made: it had expired, was revoked, or is for other uses.",
		"Sign with a valid key; if its owner has extended the key, enrol it as it is now."},
	{KeyNotEnrolled, FailedPrecondition, 400, ExitNo,
		"No enrolled key made this signature.",
		"Enrol the key first: `cairn enrol --key KEY --operator URI`, then submit again."},
	{KeyRevoked, FailedPrecondition, 400, ExitNo,
		"The key was revoked in this log, or its last endorsement withdrawn; what it signed before stays valid at its time.",
		"Sign with another enrolled key. A key whose endorsement was withdrawn may enrol itself, or be endorsed again."},
	{CertificateUntrusted, FailedPrecondition, 400, ExitNo,
		"No trusted root of the ledger vouches for the certificate in the Sigstore bundle.",
		"Ask the ledger's operator for which Sigstore instances it has a trusted root, or sign with an enrolled key."},
	{RevokerNotAuthorised, PermissionDenied, 403, ExitNo,
		"The revocation is signed by a key that may not revoke the one named.",
		"Sign it with the key itself or, while that has not enrolled itself, with a key whose endorsement of it stands."},
	{KeyUnsettled, Unavailable, 503, ExitNotAsked,
		"Other entries say something about a key of the attestation, and are not published yet.",
		"Wait as long as Retry-After says, then try again: a retry is safe."},
	{RateLimited, ResourceExhausted, 429, ExitNotAsked,
		"This key or address submits faster than the ledger's rules allow.",
		"Wait as long as Retry-After says, then try again."},
	{Overloaded, Unavailable, 503, ExitNotAsked,
		"The ledger has as much work queued as it takes.",
		"Wait as long as Retry-After says, then try again: a retry is safe."},
	{StorageUnavailable, Unavailable, 503, ExitNotAsked,
		"Storage that several front ends share, as the database, does not answer or restarts.",
		"Wait as long as Retry-After says, then try again: a retry is safe, and answers with the index of an entry that was placed."},
	{LedgerHalted, Unavailable, 503, ExitNotAsked,
		"The ledger stopped writing because its storage failed or contradicted its signed past.",
		"Tell the operator; an entry that was acknowledged is not lost."},
	{ShuttingDown, Unavailable, 503, ExitNotAsked,
		"The ledger is shutting down.",
		"Try again: a retry is safe."},
	{PublicationDelayed, Unavailable, 503, ExitNotAsked,
		"The entry is durable at the index in the message, but no checkpoint that covers it was published in time.",
		"Try again later for the proof: the retry answers with the same index."},
	{DeadlinePassed, DeadlineExceeded, 504, ExitNotAsked,
		"The request was not done by its deadline.",
		"Try again: a retry is safe."},
	{ArgumentInvalid, InvalidArgument, 400, ExitUsage,
		"A parameter of the request is missing or malformed.",
		"Compare the request with docs/api.md."},
	{SizeOutOfRange, InvalidArgument, 400, ExitUsage,
		"A tree size or index is outside the published tree.",
		"Ask for the checkpoint to learn the published size."},
	{EntryNotFound, NotFound, 404, ExitUnproven,
		"There is no such entry in the published log.",
		"Check the index or leaf hash; a new entry is published within seconds."},
	{AttestationNotFound, NotFound, 404, ExitUnproven,
		"The ledger holds no attestation with these bytes.",
		"Give the SHA-256 of the attestation exactly as it was submitted."},
	{KeyNotFound, NotFound, 404, ExitUnproven,
		"No key with this fingerprint is enrolled.",
		"Check the fingerprint; `cairn keygen` and `openssl pkey -pubout -outform DER | sha256sum` show it."},
	{NothingPublished, Unavailable, 503, ExitNotAsked,
		"The log has no published checkpoint yet.",
		"Try again: the ledger is starting or waits for its witnesses."},
	{BuildsAbsent, Unimplemented, 501, ExitNotAsked,
		"This ledger keeps no queue of builds.",
		"Ask another ledger, or tell the operator to configure `builds`."},
	{BuildNotFound, NotFound, 404, ExitUnproven,
		"There is no such build in the queue, or it ended so long ago that it was deleted.",
		"List the builds: `cairn builds list`."},
	{BuildEnded, FailedPrecondition, 400, ExitNo,
		"The build is done or has failed, and stays so.",
		"Queue it again if it is wanted again."},
	{LeaseLost, FailedPrecondition, 400, ExitNo,
		"The worker does not hold the build any more: its lease ran out, or the build was cancelled.",
		"Stop, and lease another build; what was not logged is built again by whoever leases this one."},
	{TokenRefused, Unauthenticated, 401, ExitNo,
		"The request carries no token, or one that the ledger does not know.",
		"Give the file with a token that the ledger's operator made: `--token FILE`, or CAIRN_TOKEN."},
	{RekorAbsent, Unimplemented, 501, ExitNotAsked,
		"This ledger is no Rekor log.",
		"Ask another ledger, or tell the operator to configure `rekor`."},
	{MirrorOnly, Unimplemented, 501, ExitUsage,
		"What was asked is a mirror of a ledger: it takes nothing, and has no builds.",
		"Name the ledger itself, with --ledger URL."},
	{InternalError, Internal, 500, ExitNotAsked,
		"The ledger failed in a way it did not expect.",
		"Try again; if it stays, report it with the request id."},
}
