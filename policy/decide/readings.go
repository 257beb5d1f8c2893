package decide

import "strings"

// reading is a path as one reader takes it.
type reading struct {
	segments []string
	slash    bool
}

// readings are the other paths that some upstream makes of the path of f where "//" and escaped slashes are kept: escaped slashes as
// slashes, empty segments merged, what follows "//" taken for an authority (RFC 3986 §3.2). A deny rule holds for all of them: what it
// forbids must not be reached by another spelling. None for paths that everybody reads alike.
func readings(f *Facts) []reading {
	odd, backslash := false, false
	for _, s := range f.Segments {
		if strings.IndexByte(s, '\\') >= 0 {
			odd, backslash = true, true
		} else if s == "" || strings.IndexByte(s, '/') >= 0 {
			odd = true
		}
	}
	if !odd {
		return nil
	}
	tokens := f.Segments
	if f.Slash {
		tokens = append(append(make([]string, 0, len(tokens)+1), tokens...), "")
	}
	forms := [][]string{tokens, split(tokens, "/")}
	if backslash {
		forms = append(forms, split(tokens, `\`), split(tokens, `/\`))
	}
	var out []reading
	for _, form := range forms {
		out = append(out, read(form))
		out = append(out, read(merge(form)))
		if len(form) < 2 || form[0] != "" {
			continue
		}
		out = append(out, read(form[2:]))
		out = append(out, read(merge(form[2:])))
		if m := merge(form); len(m) > 1 {
			out = append(out, read(m[1:]))
		}
	}
	return out
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
		return reading{tokens[:n-1], n > 1}
	}
	return reading{tokens, false}
}
