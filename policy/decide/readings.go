package decide

import (
	"iter"
	"strings"
)

// reading is a path as one reader takes it.
type reading struct {
	segments []string
	slash    bool
	// host is what the reader takes for the host; empty: that of the request.
	host string
}

// as is f as that reader takes it.
func (r *reading) as(f *Facts) Facts {
	g := *f
	g.Segments, g.Slash = r.segments, r.slash
	if r.host != "" {
		g.Host = r.host
	}
	return g
}

// readings are the other paths that some upstream makes of the path of f where "//" and escaped slashes are kept: escaped slashes as
// slashes, empty segments merged, what follows "//" taken for an authority (RFC 3986 §3.2) and with it for the host, in whatever order. A deny rule holds for all
// of them: what it forbids must not be reached by another spelling. None for paths that everybody reads alike.
func readings(f *Facts) iter.Seq[reading] {
	return func(yield func(reading) bool) {
		odd, separators := false, ""
		for _, s := range f.Segments {
			odd = odd || s == ""
			for _, c := range [...]string{"/", `\`} {
				if strings.Contains(s, c) && !strings.Contains(separators, c) {
					separators += c
				}
			}
		}
		if !odd && separators == "" {
			return
		}
		tokens := f.Segments
		if f.Slash {
			tokens = append(append(make([]string, 0, len(tokens)+1), tokens...), "")
		}
		for _, form := range splits(tokens, separators) {
			for _, path := range withoutAuthority(form) {
				for _, tokens := range splits(path.tokens, separators) {
					if !path.yield(tokens, yield) || !path.yield(merge(tokens), yield) {
						return
					}
				}
			}
		}
	}
}

// splits are tokens as they are, and cut at what separates them to some readers.
func splits(tokens []string, separators string) [][]string {
	out := [][]string{tokens}
	for i := range separators {
		out = append(out, split(tokens, separators[i:i+1]))
	}
	if len(separators) > 1 {
		out = append(out, split(tokens, separators))
	}
	return out
}

// cut is a path by its tokens, and the host of the authority that was taken off it, if any.
type cut struct {
	tokens []string
	host   string
}

// yield gives the reading of tokens with the request's own host, and with the one that was taken off.
func (c *cut) yield(tokens []string, yield func(reading) bool) bool {
	r := read(tokens)
	if !yield(r) {
		return false
	}
	if r.host = c.host; r.host == "" {
		return true
	}
	return yield(r)
}

// withoutAuthority are the tokens, and where they begin with "//" what is left of them for readers that take the next one for an
// authority: the very next, or the first that is not empty.
func withoutAuthority(tokens []string) []cut {
	out := []cut{{tokens: tokens}}
	if len(tokens) < 2 || tokens[0] != "" {
		return out
	}
	out = append(out, cut{tokens[2:], hostOf(tokens[1])})
	for i, t := range tokens[1:] {
		if t != "" && i > 0 {
			return append(out, cut{tokens[i+2:], hostOf(t)})
		}
		if t != "" {
			break
		}
	}
	return out
}

// hostOf is the host of an authority (RFC 3986 §3.2), as rules compare it: in lower case, without user, port and a dot at the end.
func hostOf(authority string) string {
	host := authority[strings.LastIndexByte(authority, '@')+1:]
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// split cuts every token at each of the separators.
func split(tokens []string, separators string) []string {
	out := make([]string, 0, len(tokens)+1)
	for _, t := range tokens {
		for {
			i := strings.IndexAny(t, separators)
			if i < 0 {
				break
			}
			out = append(out, t[:i])
			t = t[i+1:]
		}
		out = append(out, t)
	}
	return out
}

// merge leaves empty tokens out, but for the last: it says that the path ends with a slash.
func merge(tokens []string) []string {
	out := make([]string, 0, len(tokens))
	for i, t := range tokens {
		if t != "" || i == len(tokens)-1 && len(out) > 0 {
			out = append(out, t)
		}
	}
	return out
}

func read(tokens []string) reading {
	if n := len(tokens); n > 0 && tokens[n-1] == "" {
		return reading{segments: tokens[:n-1], slash: n > 1}
	}
	return reading{segments: tokens}
}
