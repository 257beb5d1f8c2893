package condition

import (
	"errors"
	"iter"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Input is what one evaluation sees. It is only read.
type Input struct {
	// Method, Scheme, Host (lower case, without port), Query (without "?") and IP are of the request.
	Method, Scheme, Host, Query, IP string
	// Segments of the canonical path, decoded; Slash: it ends with one, and has a segment.
	Segments []string
	Slash    bool
	// OneReading: request.path is an error where a segment is empty or holds a slash: other readers may see another path. Segments are exact.
	OneReading bool
	// Params are the values of the path's variables.
	Params map[string]string
	// Headers are name (in lower case) and value of every line; nil: none.
	Headers iter.Seq2[string, string]
	// Time of the request.
	Time time.Time
	// Peer is a SPIFFE ID, empty: none.
	Peer string
	// User is nil where there is none.
	User *User

	// made is what was put together already: who calls has as many segments, headers and parameters as he likes, and a loop over them asks each
	// time.
	made made
}

type made struct {
	path           string
	headers, query map[string][]string
	pathErr        error
	queryErr       error
	hasPath        bool
}

// User is who the credential speaks for; zero values are what it does not say.
type User struct {
	Subject, Issuer, Client, Credential, ACR, TokenID string
	Service                                           bool
	Scopes, Roles, Groups                             []string
	AuthTime, IssuedAt, Expires                       time.Time
	// Claims are decoded JSON: nil, bool, string, Number, []any, map[string]any.
	Claims map[string]any
}

// Number is a number of decoded JSON. Exact is an int64 where it is whole, and else a float64; an error where neither can hold it.
type Number interface {
	Exact() (any, error)
}

// Names of the variables, and of their types.
const (
	varRequest = "request"
	varUser    = "user"
	varPeer    = "peer"
	varToken   = "token"
)

// path of the request, as people write it.
func (in *Input) path() (string, error) {
	if !in.made.hasPath {
		in.made.path, in.made.pathErr = in.joinPath()
		in.made.hasPath = true
	}
	return in.made.path, in.made.pathErr
}

func (in *Input) joinPath() (string, error) {
	if in.OneReading && slices.ContainsFunc(in.Segments, func(s string) bool { return s == "" || strings.ContainsAny(s, `/\`) }) {
		return "", errors.New("the path can be read in several ways: compare request.segments")
	}
	path := "/" + strings.Join(in.Segments, "/")
	if in.Slash && len(in.Segments) > 0 {
		path += "/"
	}
	return path, nil
}

func (in *Input) headers() map[string][]string {
	if in.made.headers != nil {
		return in.made.headers
	}
	out := map[string][]string{}
	in.made.headers = out
	if in.Headers != nil {
		for name, value := range in.Headers {
			out[name] = append(out[name], value)
		}
	}
	return out
}

// query by name. One that two servers could read as two different ones (";" separates to some) is an error, as one that is not encoded well.
func (in *Input) query() (map[string][]string, error) {
	if in.made.query == nil && in.made.queryErr == nil {
		in.made.query, in.made.queryErr = in.parseQuery()
	}
	return in.made.query, in.made.queryErr
}

func (in *Input) parseQuery() (map[string][]string, error) {
	out := map[string][]string{}
	if strings.Contains(in.Query, ";") {
		return nil, errors.New("the query holds a semicolon, which servers read in two ways")
	}
	for pair := range strings.SplitSeq(in.Query, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(k)
		if err != nil {
			return nil, errors.New("the query is not encoded well")
		}
		value, err := url.QueryUnescape(v)
		if err != nil {
			return nil, errors.New("the query is not encoded well")
		}
		out[name] = append(out[name], value)
	}
	return out, nil
}

// peer is the caller's ID by its parts; namespace is empty where it is not of the form /ns/NAME/….
func (in *Input) peer() (id spiffeid.ID, namespace string, ok bool) {
	id, err := spiffeid.FromString(in.Peer)
	if err != nil {
		return spiffeid.ID{}, "", false
	}
	if rest, found := strings.CutPrefix(id.Path(), "/ns/"); found {
		namespace, _, _ = strings.Cut(rest, "/")
	}
	return id, namespace, true
}
