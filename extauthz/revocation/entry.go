package revocation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/credence-mesh/credence/policy"
)

// Entry is one revocation and where it is from.
type Entry struct {
	policy.Revocation
	// Created is when it was acknowledged; zero for one of a manifest.
	Created time.Time
	// Manifest: it is of a RevocationList.
	Manifest bool
}

// Classes of errors.
var (
	// ErrInvalid: the revocation is none.
	ErrInvalid = errors.New("no revocation")
	// ErrFull: there are as many as can be kept. Nothing is forgotten for a new one.
	ErrFull = errors.New("no room for another revocation")
	// ErrStore: it could not be kept, so it is not in force.
	ErrStore = errors.New("the revocation can't be kept")
	// ErrUnknown: there is none of that id.
	ErrUnknown = errors.New("no such revocation")
	// ErrManifest: it is of a manifest, and ends with it.
	ErrManifest = errors.New("the revocation is of a manifest")
	// ErrCorrupt: what is kept can't be read.
	ErrCorrupt = errors.New("the kept revocations can't be read")
)

const (
	// maxField bounds each field in bytes.
	maxField = 1024
	maxYear  = 9999
)

// validate refuses what names nothing: it would revoke every credential. As in manifests, IssuedBefore alone is not enough.
func validate(r *policy.Revocation) error {
	if r.TokenID == "" && r.Subject == "" && r.Client == "" && r.Issuer == "" {
		return fmt.Errorf("%w: it names nothing that is revoked: give a jti, a subject, a client or an issuer", ErrInvalid)
	}
	for _, f := range [...]struct{ name, value string }{
		{"jti", r.TokenID}, {"subject", r.Subject}, {"client", r.Client}, {"issuer", r.Issuer}, {"reason", r.Reason},
	} {
		switch {
		case len(f.value) > maxField:
			return fmt.Errorf("%w: its %s has more than %d bytes", ErrInvalid, f.name, maxField)
		case !utf8.ValidString(f.value):
			return fmt.Errorf("%w: its %s is not UTF-8", ErrInvalid, f.name)
		case strings.TrimSpace(f.value) == "" && f.value != "":
			return fmt.Errorf("%w: its %s is blank", ErrInvalid, f.name)
		}
	}
	// A year of five digits has no JSON: the entry could neither be kept nor listed.
	if year := r.IssuedBefore.UTC().Year(); !r.IssuedBefore.IsZero() && (year < 1970 || year > maxYear) {
		return fmt.Errorf("%w: its time of issue is not between the years 1970 and %d", ErrInvalid, maxYear)
	}
	if strings.ContainsFunc(r.Reason, unicode.IsControl) {
		return fmt.Errorf("%w: its reason has control characters", ErrInvalid)
	}
	return nil
}

// what is revoked, whatever the id.
type what struct {
	tokenID, subject, client, issuer string
	issuedBefore                     int64
}

func whatOf(r *policy.Revocation) what {
	w := what{tokenID: r.TokenID, subject: r.Subject, client: r.Client, issuer: r.Issuer}
	if !r.IssuedBefore.IsZero() {
		w.issuedBefore = r.IssuedBefore.UnixNano()
	}
	return w
}

const recordVersion = 1

// record is an Entry as it is kept.
type record struct {
	Version    int               `json:"version"`
	Created    time.Time         `json:"created"`
	Revocation policy.Revocation `json:"revocation"`
}

func encode(e *Entry) ([]byte, error) {
	return json.Marshal(record{Version: recordVersion, Created: e.Created, Revocation: e.Revocation})
}

// decode refuses what it does not understand: a revocation that is read as less than it says lets somebody in.
func decode(value []byte) (Entry, error) {
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(value, &version); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if version.Version != recordVersion {
		return Entry{}, fmt.Errorf("%w: one has format %d and this credence knows %d: use the version that wrote it", ErrCorrupt, version.Version, recordVersion)
	}
	var r record
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if r.Revocation.ID == "" {
		return Entry{}, fmt.Errorf("%w: one has no id", ErrCorrupt)
	}
	if err := validate(&r.Revocation); err != nil {
		return Entry{}, fmt.Errorf("%w: %s: %w", ErrCorrupt, r.Revocation.ID, err)
	}
	return Entry{Revocation: r.Revocation, Created: r.Created}, nil
}
