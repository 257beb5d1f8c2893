package txn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Header that carries the token.
const Header = "Txn-Token"

const (
	typ      = "txntoken+jwt"
	maxToken = 4 << 10
	maxLife  = 300 * time.Second
	leeway   = 5 * time.Second
)

// Classes of failure of Verify; every error is one of them.
var (
	// ErrMissing: the request has no token.
	ErrMissing = errors.New("no Txn-Token")
	// ErrInvalid: the token is not good: 401.
	ErrInvalid = errors.New("the Txn-Token is not valid")
	// ErrUnavailable: the keys could not be read: 503.
	ErrUnavailable = errors.New("the keys of Txn-Tokens are not known")
)

// Facts are what a token says.
type Facts struct {
	// Subject is one name for one user, stable, and no name of a person. Issuer and User are the iss and sub of the user's own credential.
	Subject, Issuer, User string
	// Service: it speaks for a service, not for a user.
	Service bool
	// Client is the OAuth client, Requester the SPIFFE ID of the workload that asked for the token, Transaction the id of the call chain.
	Client, Requester, Transaction string
	Scopes, Roles, Groups          []string
	ACR                            string
	Expires                        time.Time
	// Claims are those of the user's credential that somebody behind asks for, as encoding/json decodes them.
	Claims map[string]any
}

// HasScope tells whether the token was given scope.
func (f *Facts) HasScope(scope string) bool { return slices.Contains(f.Scopes, scope) }

// Option of New.
type Option func(*Tokens)

// WithIssuer names the iss, where the Mesh has another than https://credence.TRUSTDOMAIN.
func WithIssuer(iss string) Option { return func(t *Tokens) { t.issuer = iss } }

// WithClient has keys read by c. Redirects are not followed.
func WithClient(c *http.Client) Option {
	return func(t *Tokens) {
		own := *c
		own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		t.keys.client = &own
	}
}

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option { return func(t *Tokens) { t.keys.now = now } }

// Tokens verifies the tokens of one trust domain. Safe for concurrent use.
type Tokens struct {
	issuer, audience string
	keys             *keys
}

// New verifies by the keys at jwksURL, which are read when the first token comes, and again when one has another key.
func New(jwksURL, trustDomain string, options ...Option) *Tokens {
	t := &Tokens{issuer: "https://credence." + trustDomain, audience: "spiffe://" + trustDomain, keys: &keys{url: jwksURL, now: time.Now}}
	for _, o := range append([]Option{WithClient(&http.Client{Timeout: fetchFor})}, options...) {
		o(t)
	}
	return t
}

// Verify is VerifyToken of the one token that r carries. More than one is ErrInvalid.
func (t *Tokens) Verify(r *http.Request) (*Facts, error) {
	switch values := r.Header.Values(Header); len(values) {
	case 0:
		return nil, ErrMissing
	case 1:
		return t.VerifyToken(r.Context(), values[0])
	default:
		return nil, fmt.Errorf("%w: %d of them", ErrInvalid, len(values))
	}
}

// claims of a token. Types are checked while it is decoded.
type claims struct {
	jwt.RegisteredClaims
	Scope       string `json:"scope"`
	Requester   string `json:"req_wl"`
	Transaction string `json:"txn"`
	Client      string `json:"azp"`
	Context     struct {
		Issuer  string         `json:"u_iss"`
		User    string         `json:"u_sub"`
		Service bool           `json:"service"`
		ACR     string         `json:"acr"`
		Roles   []string       `json:"roles"`
		Groups  []string       `json:"groups"`
		Claims  map[string]any `json:"claims"`
	} `json:"tctx"`
}

// VerifyToken checks form, typ, algorithm, key, signature, issuer, audience, times and requester of a token.
func (t *Tokens) VerifyToken(ctx context.Context, raw string) (*Facts, error) {
	if len(raw) > maxToken {
		return nil, fmt.Errorf("%w: over %d bytes", ErrInvalid, maxToken)
	}
	var c claims
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithStrictDecoding(), jwt.WithIssuer(t.issuer), jwt.WithAudience(t.audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(t.keys.now))
	_, err := parser.ParseWithClaims(raw, &c, func(token *jwt.Token) (any, error) {
		kid, ok := token.Header["kid"].(string)
		if _, critical := token.Header["crit"]; !ok || kid == "" || critical || token.Header["typ"] != typ {
			return nil, fmt.Errorf("%w: it is no %s with a kid", ErrInvalid, typ)
		}
		return t.keys.get(ctx, kid)
	})
	switch {
	case errors.Is(err, ErrUnavailable):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	case len(c.Audience) != 1 || c.IssuedAt == nil || c.Subject == "" || c.Transaction == "" || c.Context.User == "":
		return nil, fmt.Errorf("%w: a claim is missing, or aud has others", ErrInvalid)
	case c.ExpiresAt.Sub(c.IssuedAt.Time) > maxLife:
		return nil, fmt.Errorf("%w: it lives longer than %s", ErrInvalid, maxLife)
	case !strings.HasPrefix(c.Requester, t.audience+"/"):
		return nil, fmt.Errorf("%w: req_wl is not of this trust domain", ErrInvalid)
	}
	return &Facts{
		Subject: c.Subject, Issuer: c.Context.Issuer, User: c.Context.User, Service: c.Context.Service, Client: c.Client, Requester: c.Requester,
		Transaction: c.Transaction, Scopes: strings.Fields(c.Scope), Roles: c.Context.Roles, Groups: c.Context.Groups, ACR: c.Context.ACR,
		Expires: c.ExpiresAt.Time, Claims: c.Context.Claims,
	}, nil
}
