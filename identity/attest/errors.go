package attest

import "errors"

// Errors of this package and of those who decide by it.
var (
	// ErrNotReady: what identities there are is not known yet. Answered with Unavailable: clients try again.
	ErrNotReady = errors.New("not ready: the first complete configuration has not been read yet")
	// ErrGone: the process has ended.
	ErrGone = errors.New("the process has ended")
	// ErrChanged: the process is not what it was when it connected, or changed while it was looked at.
	ErrChanged = errors.New("the process has changed")
	// ErrNoProcess: the request didn't come over a connection of Credentials.
	ErrNoProcess = errors.New("no attested process")
)

// NotEntitledError says that a process gets no identity, and why. Answered with PermissionDenied: clients take it as final.
type NotEntitledError struct {
	// Reason is for the operator: what was attested, the nearest Workload and the selector that is missing.
	Reason string
}

// Error returns "no identity issued: " and the reason.
func (e *NotEntitledError) Error() string { return "no identity issued: " + e.Reason }
