package authserver

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// lifetime of a token.
const lifetime = 10 * time.Minute

// grant is what the server knows of one token.
type grant struct {
	subject, client, scope, audience string
	issued, expires                  time.Time
}

// Server keeps its tokens in memory, by their hash. Safe for concurrent use.
type Server struct {
	issuer, client, secret string

	mu     sync.Mutex
	grants map[[sha256.Size]byte]grant
}

// New makes a Server that calls itself issuer, and answers the client with that secret about tokens, and nobody else.
func New(issuer, client, secret string) *Server {
	return &Server{issuer: issuer, client: client, secret: secret, grants: map[[sha256.Size]byte]grant{}}
}

// Handler serves POST /token, /introspect and /revoke.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /introspect", s.introspect)
	mux.HandleFunc("POST /revoke", s.revoke)
	return mux
}

// token gives one to whoever asks: sub, client_id, scope and audience are what the form says. A real server would have somebody sign in.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	g := grant{
		subject: r.PostFormValue("sub"), client: r.PostFormValue("client_id"), scope: r.PostFormValue("scope"), audience: r.PostFormValue("audience"),
		issued: now, expires: now.Add(lifetime),
	}
	if g.client == "" || g.audience == "" {
		reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_request"})
		return
	}
	raw := rand.Text()
	s.mu.Lock()
	s.grants[sha256.Sum256([]byte(raw))] = g
	s.mu.Unlock()
	reply(w, http.StatusOK, map[string]any{"access_token": raw, "token_type": "Bearer", "expires_in": int(lifetime.Seconds()), "scope": g.scope})
}

// introspect is RFC 7662 §2. A caller that does not say who it is learns nothing: else everybody could try tokens.
func (s *Server) introspect(w http.ResponseWriter, r *http.Request) {
	if !s.knows(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="introspection"`)
		reply(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	s.mu.Lock()
	g, ok := s.grants[sha256.Sum256([]byte(r.PostFormValue("token")))]
	s.mu.Unlock()
	if !ok || !time.Now().Before(g.expires) {
		reply(w, http.StatusOK, map[string]any{"active": false})
		return
	}
	answer := map[string]any{
		"active": true, "iss": s.issuer, "client_id": g.client, "aud": g.audience, "scope": g.scope, "token_type": "Bearer",
		"iat": g.issued.Unix(), "exp": g.expires.Unix(),
	}
	if g.subject != "" { // else the token is the client's own
		answer["sub"] = g.subject
	}
	reply(w, http.StatusOK, answer)
}

// revoke is RFC 7009 §2: whoever has a token may end it.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	delete(s.grants, sha256.Sum256([]byte(r.PostFormValue("token"))))
	s.mu.Unlock()
	w.WriteHeader(http.StatusOK)
}

// knows tells whether r comes from the client (RFC 6749 §2.3.1: both parts are encoded as in a form).
func (s *Server) knows(r *http.Request) bool {
	id, secret, ok := r.BasicAuth()
	id, err1 := url.QueryUnescape(id)
	secret, err2 := url.QueryUnescape(secret)
	same := subtle.ConstantTimeCompare([]byte(id+"\n"+secret), []byte(s.client+"\n"+s.secret)) == 1
	return ok && err1 == nil && err2 == nil && same && !strings.Contains(id, "\n")
}

func reply(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client went away: nothing to do
}
