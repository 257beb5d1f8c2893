package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/credence-mesh/credence/extauthz/revocation"
	"github.com/credence-mesh/credence/policy"
)

// Revocation is one that is in force, as the API tells it. Of the fields from TokenID to IssuedBefore all that are set must be true of a credential.
type Revocation struct {
	ID           string    `json:"id"`
	TokenID      string    `json:"tokenID,omitempty"`
	Subject      string    `json:"subject,omitempty"`
	Client       string    `json:"client,omitempty"`
	Issuer       string    `json:"issuer,omitempty"`
	IssuedBefore time.Time `json:"issuedBefore,omitzero"`
	Reason       string    `json:"reason,omitempty"`
	// Source is "command" or "manifest".
	Source string `json:"source"`
	// Created is when it was acknowledged; Until is when it is forgotten, because nothing that it covers can live then. Absent: until it is undone.
	Created time.Time `json:"created,omitzero"`
	Until   time.Time `json:"until,omitzero"`
}

// NewRevocation is the body of POST /v1/revocations.
type NewRevocation struct {
	TokenID      string    `json:"tokenID,omitempty"`
	Subject      string    `json:"subject,omitempty"`
	Client       string    `json:"client,omitempty"`
	Issuer       string    `json:"issuer,omitempty"`
	IssuedBefore time.Time `json:"issuedBefore,omitzero"`
	Reason       string    `json:"reason,omitempty"`
}

// RevocationList is the answer of GET /v1/revocations.
type RevocationList struct {
	Revocations []Revocation `json:"revocations"`
}

// Revocations is what the API reads and changes.
type Revocations interface {
	Add(ctx context.Context, r policy.Revocation) (revocation.Entry, error)
	Remove(ctx context.Context, id string) error
	List() []revocation.Entry
}

var _ Revocations = (*revocation.Set)(nil)

// maxBody bounds what a client sends: every field at its longest, escaped.
const maxBody = 64 << 10

// serveRevocations adds POST, GET and DELETE of revocations. What a 201 or 204 says has happened on disk and in force.
func serveRevocations(mux *http.ServeMux, from Revocations) {
	mux.HandleFunc("GET /v1/revocations", func(w http.ResponseWriter, _ *http.Request) {
		out := RevocationList{Revocations: []Revocation{}}
		for _, e := range from.List() {
			out.Revocations = append(out.Revocations, told(&e))
		}
		object(w, http.StatusOK, out)
	})
	mux.HandleFunc("POST /v1/revocations", func(w http.ResponseWriter, r *http.Request) {
		n, err := readRevocation(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			text(w, http.StatusBadRequest, "the body is no revocation: "+err.Error())
			return
		}
		e, err := from.Add(r.Context(), policy.Revocation{
			TokenID: n.TokenID, Subject: n.Subject, Client: n.Client, Issuer: n.Issuer, IssuedBefore: n.IssuedBefore, Reason: n.Reason,
		})
		if err != nil {
			text(w, revocationStatus(err), err.Error())
			return
		}
		object(w, http.StatusCreated, told(&e))
	})
	mux.HandleFunc("DELETE /v1/revocations/{id...}", func(w http.ResponseWriter, r *http.Request) {
		if err := from.Remove(r.Context(), r.PathValue("id")); err != nil {
			text(w, revocationStatus(err), err.Error())
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// readRevocation refuses fields that it does not know: to leave one out would revoke more, or less, than was meant.
func readRevocation(body io.Reader) (NewRevocation, error) {
	var n NewRevocation
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&n); err != nil {
		return n, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return n, errors.New("something follows it")
	}
	return n, nil
}

func told(e *revocation.Entry) Revocation {
	source := "command"
	if e.Manifest {
		source = "manifest"
	}
	return Revocation{
		ID: e.ID, TokenID: e.TokenID, Subject: e.Subject, Client: e.Client, Issuer: e.Issuer, IssuedBefore: e.IssuedBefore, Reason: e.Reason,
		Source: source, Created: e.Created, Until: e.Until,
	}
}

func revocationStatus(err error) int {
	switch {
	case errors.Is(err, revocation.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, revocation.ErrUnknown):
		return http.StatusNotFound
	case errors.Is(err, revocation.ErrManifest):
		return http.StatusConflict
	case errors.Is(err, revocation.ErrFull):
		return http.StatusInsufficientStorage
	}
	return http.StatusServiceUnavailable
}

func object(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone, then
}

// ErrRefused says that the product has answered, and does not do what it was asked for; the message says why.
var ErrRefused = errors.New("refused")

// Revoke asks the product behind the socket for a revocation. With a nil error it is on disk, and every request from now on is judged by it.
// With ErrRefused it is not in force; with any other error nobody can tell: ask ListRevocations.
func Revoke(ctx context.Context, socket string, n NewRevocation) (Revocation, error) {
	body, err := json.Marshal(n)
	if err != nil {
		return Revocation{}, err
	}
	var out Revocation
	return out, exchange(ctx, socket, call{http.MethodPost, "/v1/revocations", body, http.StatusCreated}, &out)
}

// ListRevocations asks the product behind the socket for all that is revoked.
func ListRevocations(ctx context.Context, socket string) ([]Revocation, error) {
	var out RevocationList
	err := exchange(ctx, socket, call{http.MethodGet, "/v1/revocations", nil, http.StatusOK}, &out)
	return out.Revocations, err
}

// Unrevoke ends a revocation by its id. Its errors are those of Revoke.
func Unrevoke(ctx context.Context, socket, id string) error {
	return exchange(ctx, socket, call{http.MethodDelete, "/v1/revocations/" + url.PathEscape(id), nil, http.StatusNoContent}, nil)
}

// call is one request to the API and the status that it is meant to have.
type call struct {
	method, path string
	body         []byte
	want         int
}

func exchange(ctx context.Context, socket string, c call, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, c.method, "http://admin"+c.path, bytes.NewReader(c.body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != c.want {
		why, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		if err != nil {
			return err
		}
		return fmt.Errorf("%w: %s", ErrRefused, strings.TrimSpace(string(why)))
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
