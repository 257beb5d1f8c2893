package admin_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/extauthz/revocation"
	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/policy"
)

// revoked is a set of revocations that answers as it is told to.
type revoked struct {
	entries []revocation.Entry
	err     error
	removed string
}

func (r *revoked) Add(_ context.Context, n policy.Revocation) (revocation.Entry, error) {
	if r.err != nil {
		return revocation.Entry{}, r.err
	}
	n.ID = "r-1"
	e := revocation.Entry{Revocation: n, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	r.entries = append(r.entries, e)
	return e, nil
}

func (r *revoked) Remove(_ context.Context, id string) error { r.removed = id; return r.err }
func (r *revoked) List() []revocation.Entry                  { return r.entries }

func api(r *revoked) http.Handler { return admin.API(admin.Sources{Status: full, Revocations: r}) }

// TestRevocationShape holds the names that scripts read and write: they may be added to, never changed.
func TestRevocationShape(t *testing.T) {
	r := &revoked{entries: []revocation.Entry{{Revocation: policy.Revocation{ID: "default/lost/0", Subject: "bob", Reason: "left"}, Manifest: true}}}
	const body = `{"tokenID":"t","subject":"s","client":"c","issuer":"i","issuedBefore":"2026-01-01T00:00:00Z","reason":"why"}`
	w := httptest.NewRecorder()
	api(r).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/v1/revocations", strings.NewReader(body)))
	const one = `{"id":"r-1","tokenID":"t","subject":"s","client":"c","issuer":"i","issuedBefore":"2026-01-01T00:00:00Z","reason":"why","source":"command","created":"2026-01-02T03:04:05Z"}`
	if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusCreated || got != one {
		t.Errorf("%d %s", w.Code, got)
	}
	code, got := get(t, api(r), "GET", "/v1/revocations")
	want := `{"revocations":[{"id":"default/lost/0","subject":"bob","reason":"left","source":"manifest"},` + one + `]}`
	if diff := cmp.Diff(want, strings.TrimSpace(got)); diff != "" || code != http.StatusOK {
		t.Errorf("%d (-want +got):\n%s", code, diff)
	}
	if code, _ := get(t, admin.API(admin.Sources{Status: full}), "GET", "/v1/revocations"); code != http.StatusNotFound {
		t.Errorf("without revocations: %d", code)
	}
}

// A body that is not understood as a whole revokes nothing: it might have meant less, or more.
func TestRevocationBodyIsStrict(t *testing.T) {
	for _, body := range []string{
		``, `[]`, `{"subject":"a"`, `{"subject":"a"} {}`, `{"sub":"a"}`, `{"subject":["a"]}`, `{"subject":"a","issuedBefore":"now"}`, `{"subject":"a","id":"r-1"}`,
		`{"subject":"` + strings.Repeat("a", 70<<10) + `"}`,
	} {
		r := &revoked{}
		w := httptest.NewRecorder()
		api(r).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/v1/revocations", strings.NewReader(body)))
		if w.Code != http.StatusBadRequest || len(r.entries) != 0 {
			t.Errorf("%.40s: %d, %d entries", body, w.Code, len(r.entries))
		}
	}
}

func TestRevocationErrors(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
	}{
		{revocation.ErrInvalid, 400}, {revocation.ErrUnknown, 404}, {revocation.ErrManifest, 409}, {revocation.ErrFull, 507}, {revocation.ErrStore, 503}, {io.ErrUnexpectedEOF, 503},
	} {
		r := &revoked{err: tt.err}
		for _, method := range []string{"POST", "DELETE"} {
			path := "/v1/revocations"
			if method == "DELETE" {
				path += "/default/lost/0"
			}
			w := httptest.NewRecorder()
			api(r).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(`{"subject":"a"}`)))
			if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.err.Error()) {
				t.Errorf("%s with %v: %d %s", method, tt.err, w.Code, w.Body)
			}
		}
		if r.removed != "default/lost/0" {
			t.Errorf("removed %q", r.removed)
		}
	}
}

func TestRevocationClient(t *testing.T) {
	r := &revoked{}
	socket := serve(t, api(r))
	n := admin.NewRevocation{Subject: "alice", IssuedBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Reason: "lost"}
	made, err := admin.Revoke(t.Context(), socket, n)
	if err != nil {
		t.Fatal(err)
	}
	list, err := admin.ListRevocations(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]admin.Revocation{made}, list); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if err := admin.Unrevoke(t.Context(), socket, "a/b c"); err != nil || r.removed != "a/b c" {
		t.Errorf("undone %q: %v", r.removed, err)
	}
	r.err = revocation.ErrFull
	if _, err := admin.Revoke(t.Context(), socket, n); !errors.Is(err, admin.ErrRefused) || !strings.Contains(err.Error(), revocation.ErrFull.Error()) {
		t.Errorf("refused: %v", err)
	}
	lost := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	if _, err := admin.Revoke(t.Context(), lost, n); err == nil || errors.Is(err, admin.ErrRefused) {
		t.Errorf("no answer: %v", err)
	}
}
