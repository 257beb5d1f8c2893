package credential

import (
	"errors"
	"fmt"
)

// Classes of failure. Every error of a Verify is exactly one of them (errors.Is).
var (
	// ErrInvalid: the credential is not good, and no later try with the same one can succeed before time, keys or configuration change. The
	// client's fault: 401.
	ErrInvalid = errors.New("credential is not valid")
	// ErrUnavailable: it can't be told whether the credential is good. The client is not at fault: 503.
	ErrUnavailable = errors.New("credential cannot be verified now")
	// ErrLimited: it is not looked at, because too many were that were not good. 429.
	ErrLimited = errors.New("too many credentials were refused")
)

// refusal is the second error in the chain: the code, and words for the log. It never holds a part of a credential.
type refusal struct {
	reason string
	detail string
}

func (r *refusal) Error() string { return r.reason + ": " + r.detail }

// Reason is the stable code of an error of a Verify, for logs and metrics; "" for any other error.
func Reason(err error) string {
	if err == nil {
		return ""
	}
	var r *refusal
	if errors.As(err, &r) {
		return r.reason
	}
	return ""
}

// Detail says for a log, beside the Reason, what an operator can act on. "" for any other error.
func Detail(err error) string {
	if err == nil {
		return ""
	}
	var r *refusal
	if errors.As(err, &r) {
		return r.detail
	}
	return ""
}

// Invalid is an ErrInvalid with its reason, a word, and its detail, which holds nothing of the credential.
func Invalid(reason, format string, args ...any) error {
	return refuse(ErrInvalid, reason, format, args)
}

// Unavailable is an ErrUnavailable; see Invalid.
func Unavailable(reason, format string, args ...any) error {
	return refuse(ErrUnavailable, reason, format, args)
}

// Limited is an ErrLimited; see Invalid.
func Limited(reason, format string, args ...any) error {
	return refuse(ErrLimited, reason, format, args)
}

func refuse(class error, reason, format string, args []any) error {
	return fmt.Errorf("%w: %w", class, &refusal{reason: reason, detail: fmt.Sprintf(format, args...)})
}
